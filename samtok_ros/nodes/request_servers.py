# SPDX-License-Identifier: Apache-2.0
"""What others can ask of the grounding node: two actions and two services.

They exist in every lifecycle state, so that a caller always gets an answer; one that cannot be
served is told why, in the response or, for a goal, in the log and the diagnostics.
"""

import threading
from collections.abc import Callable

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from std_srvs.srv import Trigger

from samtok_ros.action import Ask, Ground
from samtok_ros.errors import SamtokError
from samtok_ros.nodes.conversions import MAX_MESSAGE_BYTES, cut_text
from samtok_ros.nodes.goal_server import GoalServer, GoalTurn, end_early
from samtok_ros.nodes.health import Health, Level
from samtok_ros.nodes.lifecycle import PerceptionNode
from samtok_ros.nodes.remote_masks import RemoteMaskTokenizer
from samtok_ros.nodes.request_messages import fill_result, to_request
from samtok_ros.runtime.answering import Answering
from samtok_ros.runtime.backend import GroundingModel
from samtok_ros.runtime.goal_queue import GoalQueue
from samtok_ros.runtime.requests import Task
from samtok_ros.runtime.tickets import Ended, Stop
from samtok_ros.runtime.worker import Priority
from samtok_ros.srv import AskRegion

_MOST_CALLS = 2
"""Calls of ask_region at a time: each holds a thread of the executor for as long as it takes."""

_LATE_PERIOD_S = 0.1
_RECENT_S = 10.0
_COUNTS = ('requests', 'requests_succeeded', 'requests_aborted', 'requests_cancelled',
           'requests_refused')


class RequestServers:
    """`ground`, `ask`, `ask_region` and `clear`."""

    def __init__(self, node: PerceptionNode, clear_goal: Callable[[], None]) -> None:
        """Offer them.

        Args:
            node: the grounding node.
            clear_goal: clears the standing goal.
        """
        self._node = node
        self._clear_goal = clear_goal
        self._remote = RemoteMaskTokenizer(node)
        self._answering = Answering(node.runtime, node.problems, node.statistics,
                                    node.ros_now_ns, self._remote)
        node.runtime.listen(self._answering.frame_arrived)
        self._queue: GoalQueue[GoalTurn] = GoalQueue()
        self._queue.configure(node.settings.actions.policy, node.settings.actions.queue)
        self._free_calls = threading.BoundedSemaphore(_MOST_CALLS)
        goals = MutuallyExclusiveCallbackGroup()
        self._servers = [GoalServer(node, kind, task, self._answering, self._queue, goals)
                         for kind, task in ((Ground, Task.GROUND), (Ask, Task.ASK))]
        node.create_service(AskRegion, 'ask_region', self._ask_region,
                            callback_group=ReentrantCallbackGroup())
        node.create_service(Trigger, 'clear', self._clear,
                            callback_group=MutuallyExclusiveCallbackGroup())
        node.create_timer(_LATE_PERIOD_S, self._end_late,
                          callback_group=MutuallyExclusiveCallbackGroup(),
                          clock=Clock(clock_type=ClockType.STEADY_TIME))

    def configure(self, model: GroundingModel) -> None:
        """Take a loaded model."""
        self._remote.tokenizer_id = model.tokenizer_id
        self._answering.configure(self._node.settings, model)

    def settings_changed(self) -> None:
        """Take changed live settings."""
        self._answering.change_settings(self._node.settings)

    def open(self) -> None:
        """Let requests in."""
        self._answering.open()

    def close(self, reason: str, timeout_s: float = 10.0) -> bool:
        """Let none in and end all; False when the model does not come back to end one."""
        self._end_waiting(reason)
        return self._answering.close(reason, timeout_s)

    def release(self) -> None:
        """Let go of the model and forget all conversations."""
        self._answering.release()

    def destroy(self) -> None:
        """Withdraw what the node does not withdraw by itself."""
        for server in self._servers:
            server.destroy()

    def time_jumped_back(self) -> None:
        """Forget conversations: their stamps may come again with other images."""
        self._answering.forget()

    def health(self) -> Health:
        """Say how many requests there were, and what became of them."""
        node = self._node
        values: dict[str, object] = {name: node.statistics.total(name) for name in _COUNTS}
        values.update(
            requests_waiting=len(self._queue.waiting), policy=node.settings.actions.policy,
            conversations=len(self._answering.conversations),
            last_refusal=node.problems.recent_of(('request_refused',), float('inf')))
        problem = node.problems.recent_of(
            ('request_refused', 'request_failed', 'bad_request'), _RECENT_S)
        if problem:
            return Health(Level.WARN, problem, values)
        return Health(Level.OK, 'taking goals and questions' if node.is_active else 'inactive',
                      values)

    def _ask_region(
        self, request: AskRegion.Request, response: AskRegion.Response,
    ) -> AskRegion.Response:
        if not self._free_calls.acquire(blocking=False):
            return self._refused(response, f'{_MOST_CALLS} calls are being answered already. Call '
                                 'again later, or use the action ask, whose goals wait in line')
        try:
            ticket = self._answering.accept(to_request(Task.ASK, request), Priority.QUESTION,
                                            waits_for_image=False)
            outcome = self._answering.answer(ticket, lambda progress: None)
        except SamtokError as error:
            return self._refused(response, str(error))
        finally:
            self._free_calls.release()
        self._node.statistics.count('requests')
        self._node.statistics.count(f'requests_{outcome.ended.name.lower()}')
        return fill_result(response, request.text, outcome)

    def _refused(self, response: AskRegion.Response, reason: str) -> AskRegion.Response:
        self._node.statistics.count('requests_refused')
        self._node.problems.report('request_refused', f'ask_region is refused: {reason}')
        response.message = cut_text(reason, MAX_MESSAGE_BYTES)
        return response

    def _clear(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._clear_goal()
        conversations = self._answering.forget()
        goals = self._end_waiting('cleared by a call of clear')
        response.success = True
        response.message = (f'the standing goal, {conversations} conversations and {goals} waiting '
                            'goals are cleared')
        return response

    def _end_waiting(self, reason: str) -> int:
        turns = self._queue.waiting
        for turn in turns:
            end_early(turn, Stop(Ended.ABORTED, reason), self._answering, self._queue)
        return len(turns)

    def _end_late(self) -> None:
        for turn in self._queue.waiting:
            if turn.ticket is None or self._answering.stop_if_late(turn.ticket):
                self._queue.leave(turn)
