# SPDX-License-Identifier: Apache-2.0
"""An action whose goals the model answers: `ground` and `ask`."""

import time
from typing import Any

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import RCLError, ServerGoalHandle
from rclpy.callback_groups import CallbackGroup

from samtok_ros.errors import SamtokError
from samtok_ros.nodes.lifecycle import PerceptionNode
from samtok_ros.nodes.request_messages import fill_feedback, fill_result, to_request
from samtok_ros.runtime.answering import Answering
from samtok_ros.runtime.goal_queue import GoalQueue
from samtok_ros.runtime.requests import Task
from samtok_ros.runtime.tickets import Ended, Outcome, Progress, Stop, Ticket
from samtok_ros.runtime.worker import Priority

_PREEMPTED = Stop(Ended.ABORTED, 'a newer goal took its place, see actions.policy')
_CANCELLED = Stop(Ended.CANCELLED, 'cancelled by the client')
_CANCEL_ARRIVES_S = 2.0


class GoalTurn:
    """One accepted goal: it waits for its turn, and begins once."""

    def __init__(self, handle: ServerGoalHandle, ticket: Ticket | None, refusal: str) -> None:
        """Wrap a goal.

        Args:
            handle: of the goal.
            ticket: None when it had to be refused after all.
            refusal: why.
        """
        self.handle = handle
        self.ticket = ticket
        self.refusal = refusal

    def begin(self) -> None:
        """See Turn: the goal's callback runs in the executor."""
        try:
            self.handle.execute()
        except RCLError:
            # It was cancelled between the look at its state and the change of it; now it shows.
            self.handle.execute()


class GoalServer:
    """Takes goals of one action; whose turn it is, is the queue's business.

    All servers of a queue must be in the same mutually exclusive callback group: between the look
    whether there is room and the goal in the queue no other goal may come.
    """

    def __init__(
        self, node: PerceptionNode, action_type: Any, task: Task, answering: Answering,
        queue: GoalQueue[GoalTurn], group: CallbackGroup,
    ) -> None:
        """Offer the action under the name of its task."""
        self._node = node
        self._type = action_type
        self._task = task
        self._answering = answering
        self._queue = queue
        self._turns: dict[bytes, GoalTurn] = {}
        self._server = ActionServer(
            node, action_type, task.value, self._execute, callback_group=group,
            goal_callback=self._on_goal, handle_accepted_callback=self._on_accepted,
            cancel_callback=self._on_cancel,
            result_timeout=node.settings.actions.result_timeout_s)

    def destroy(self) -> None:
        """Withdraw the action; the node itself would leave it behind, and clients would see it."""
        self._server.destroy()

    def _on_goal(self, goal: Any) -> GoalResponse:
        try:
            self._answering.check(to_request(self._task, goal))
        except SamtokError as error:
            return self._refuse(str(error))
        if self._queue.is_full:
            return self._refuse(f'{len(self._queue.waiting)} goals wait already. Cancel one, wait, '
                                'or raise actions.queue')
        return GoalResponse.ACCEPT

    def _refuse(self, reason: str) -> GoalResponse:
        # A rejection carries no reason: the log and the diagnostics are the only places for it.
        self._node.statistics.count('requests_refused')
        self._node.problems.report('request_refused', f'goal of {self._task} is rejected: {reason}')
        self._node.reporter.soon()
        return GoalResponse.REJECT

    def _on_accepted(self, handle: ServerGoalHandle) -> None:
        self._node.statistics.count('requests')
        for other in self._queue.displaced_by_new():
            self._end_early(other, _PREEMPTED)
        try:
            request = to_request(self._task, handle.request)
            turn = GoalTurn(handle, self._answering.accept(request, Priority.ACTION), '')
        except SamtokError as error:  # What held a moment ago holds no longer.
            turn = GoalTurn(handle, None, str(error))
        self._node.get_logger().debug(f'goal of {self._task}: {handle.request.text!r}')
        self._turns[_key(handle)] = turn
        self._queue.add(turn)

    def _on_cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        turn = self._turns.get(_key(handle))
        if turn is None:
            return CancelResponse.REJECT
        self._end_early(turn, _CANCELLED)
        return CancelResponse.ACCEPT

    def _end_early(self, turn: GoalTurn, stop: Stop) -> None:
        end_early(turn, stop, self._answering, self._queue)

    def _execute(self, handle: ServerGoalHandle) -> Any:
        """Answer a goal; while its turn lasts, this holds one thread of the executor."""
        turn = self._turns[_key(handle)]
        try:
            outcome = Outcome(Ended.ABORTED, turn.refusal) if turn.ticket is None else (
                self._answering.answer(turn.ticket, lambda progress: self._tell(handle, progress)))
            result = fill_result(self._type.Result(), handle.request.text, outcome)
            self._end(handle, outcome)
            return result
        finally:
            del self._turns[_key(handle)]
            self._queue.finished(turn)

    def _tell(self, handle: ServerGoalHandle, progress: Progress) -> None:
        try:
            handle.publish_feedback(fill_feedback(self._type.Feedback(), progress))
        except RCLError as error:
            self._node.problems.report('publish_failed', f'feedback of {self._task}: {error}')

    def _end(self, handle: ServerGoalHandle, outcome: Outcome) -> None:
        """Bring the goal into its one terminal state."""
        self._node.statistics.count(f'requests_{outcome.ended.name.lower()}')
        if outcome.ended is Ended.ABORTED:
            self._node.problems.report('request_failed',
                                       f'goal of {self._task} is aborted: {outcome.message}')
        if outcome.ended is Ended.SUCCEEDED:
            handle.succeed()
        elif outcome.ended is Ended.CANCELLED and _is_cancelling(handle):
            handle.canceled()
        else:
            handle.abort()


def end_early(
    turn: GoalTurn, stop: Stop, answering: Answering, queue: GoalQueue[GoalTurn],
) -> None:
    """Let a goal end now, whether it waits for its turn or is being answered."""
    if turn.ticket is not None:
        answering.stop(turn.ticket, stop)
    queue.leave(turn)


def _is_cancelling(handle: ServerGoalHandle) -> bool:
    """Wait until the server knows of the cancel: it does a moment after it has told us."""
    until_s = time.monotonic() + _CANCEL_ARRIVES_S
    while not handle.is_cancel_requested and time.monotonic() < until_s:
        time.sleep(0.001)
    return handle.is_cancel_requested


def _key(handle: ServerGoalHandle) -> bytes:
    return bytes(handle.goal_id.uuid)
