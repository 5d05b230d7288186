# SPDX-License-Identifier: Apache-2.0
"""Bring the nodes up, play a camera bag and goals to them, record what they answer.

Run by `samtok demo` as a process of its own, with the file of a ReplayPlan as argument.
"""

import heapq
import logging
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import rclpy
from rclpy.duration import Duration
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.serialization import serialize_message

from samtok_ros.demo.bag_file import BagReader, open_bag
from samtok_ros.demo.camera_bag import (
    COLOUR_INFO_TOPIC,
    COLOUR_SUFFIX,
    COLOUR_TOPIC,
    DEPTH_SUFFIX,
    DEPTH_TOPIC,
)
from samtok_ros.demo.goals import DemoGoal, load_goals
from samtok_ros.demo.replay_clock import ReplayClock
from samtok_ros.demo.replay_plan import ReplayPlan
from samtok_ros.errors import SamtokError
from samtok_ros.msg import Goal
from samtok_ros.nodes.conversions import ns_to_stamp
from samtok_ros.nodes.demo_bring_up import Diagnostics, start_nodes, wait_until
from samtok_ros.nodes.demo_player import BagPlayer
from samtok_ros.nodes.demo_recorder import OUTPUTS, Recorder
from samtok_ros.nodes.managed_node import NAMESPACE
from samtok_ros.nodes.publishers import results_qos

logger = logging.getLogger('samtok_ros.demo')

_NODES = ('lifting', 'mask_tokenizer', 'grounding')
# Where a node is to hear something before the first image comes: node, what, its diagnostic value.
_HEARD = (('grounding', 'images', 'matched_publishers'),
          ('lifting', 'masks', 'masks_matched_publishers'),
          ('lifting', 'depth images', 'depth_matched_publishers'),
          ('lifting', 'calibration', 'camera_info_matched_publishers'))
# Who publishes what is recorded, and how many listen to it when all do: the recorder and nodes.
_LISTENERS = {'mask_words': ('grounding', 2), 'masks': ('mask_tokenizer', 2),
              'target/points': ('lifting', 1), 'target/box': ('lifting', 1)}
_CONNECT_WAIT_S = 60.0
_ACK_WAIT_S = 10
# Half the time between two images: enough for an image to arrive before the goal that is asked
# about it, so that the goal is not answered on the image before.
_GOAL_DELAY_NS = 50_000_000
_LAST_IMAGE_WAIT_S = 3.0


class Replay:
    """One replay: everything between the bag and the results.

    Args:
        node: spun in another thread.
        plan: what to replay.
        bag: the open camera bag.
        recorder: records the answers.
        clock: time in the bag.
    """

    def __init__(self, node: Node, plan: ReplayPlan, bag: BagReader, recorder: Recorder,
                 clock: ReplayClock) -> None:
        self._plan = plan
        self._bag = bag
        self._recorder = recorder
        self._clock = clock
        self._goals = load_goals(Path(plan.goals))
        self._player = BagPlayer(node, dict(bag.topics), clock, lossless=plan.every_frame)
        self._goal_publisher = node.create_publisher(Goal, 'goal', results_qos())
        self._shown: list[int] = []

    def connect(self, diagnostics: Diagnostics) -> None:
        """Wait until everybody hears everybody.

        Raises:
            DeviceError: not in time.
        """
        topics = (COLOUR_TOPIC + COLOUR_SUFFIX, DEPTH_TOPIC + DEPTH_SUFFIX, COLOUR_INFO_TOPIC)
        missing: list[str] = []

        def connected() -> bool:
            # So that the nodes know what time it is when the first image comes.
            self._player.publish_clock()
            # Both ends are asked: a reader loses what comes before it knows the writer.
            missing[:] = [what for what, is_there in (
                *((f'a subscription on {topic}', self._player.listeners(topic))
                  for topic in topics),
                ('a subscription on the goal', self._goal_publisher.get_subscription_count()),
                *((f'{what} at the node {node}',
                   diagnostics.value(node, 'input', name) not in ('', '0'))
                  for node, what, name in _HEARD),
                *((topic, self._is_recorded(diagnostics, topic)) for topic in OUTPUTS)
            ) if not is_there]
            return not missing

        wait_until(connected, lambda: f'connected: {", ".join(missing)}', _CONNECT_WAIT_S)

    def _is_recorded(self, diagnostics: Diagnostics, topic: str) -> bool:
        subscription = self._recorder.subscriptions[topic]
        node, least = _LISTENERS.get(topic, ('mask_tokenizer', 1))
        listeners = diagnostics.value(node, 'output', subscription.topic_name).split(' ')[0]
        return (subscription.get_publisher_count() > 0 and listeners.isdigit()
                and int(listeners) >= least)

    def run(self) -> None:
        """Play the whole bag and wait for the answers."""
        if self._plan.every_frame:
            # Their stamps say for which images they hold.
            for goal in self._goals:
                self._publish_goal(goal)
            self._goal_publisher.wait_for_all_acked(Duration(seconds=_ACK_WAIT_S))
        self._clock.run()
        for _, _, event in heapq.merge(self._messages(), self._goal_events()):
            event()
        if self._plan.every_frame:
            self._wait_for_every_answer()
        else:
            last = self._shown[-1]
            self._recorder.wait_for(lambda: last in self._recorder.answered(len(self._goals)),
                                    _LAST_IMAGE_WAIT_S)
        # Overlays and targets in 3D are made behind the masks, and only of the newest ones.
        newest = max(self._recorder.stamps('target/mask'), default=None)
        self._recorder.wait_for(lambda: newest is None or newest in self._recorder.stamps(
            'target/box', 'target/points', 'overlay/compressed'), _LAST_IMAGE_WAIT_S)
        self._clock.hold()

    def _messages(self) -> Iterator[tuple]:
        for index, message in enumerate(self._bag.messages()):
            yield message.time_ns, index + 1, lambda message=message: self._play(message)

    def _goal_events(self) -> Iterator[tuple]:
        """Yield when each goal is asked and when it ends, which comes before the next image."""
        if self._plan.every_frame:
            return
        for goal in self._goals:
            yield (goal.start_ns + _GOAL_DELAY_NS, 0,
                   lambda goal=goal: self._ask(goal, goal.start_ns + _GOAL_DELAY_NS))
            yield goal.end_ns, 0, lambda goal=goal: self._finish(goal)

    def _play(self, message) -> None:
        self._player.play(message)
        if message.topic == COLOUR_INFO_TOPIC:
            self._recorder.write(message.topic, message.message_type, message.time_ns, message.data)
            self._shown.append(message.time_ns)

    def _ask(self, goal: DemoGoal, when_ns: int) -> None:
        self._player.sleep_until(when_ns)
        self._publish_goal(goal)

    def _publish_goal(self, goal: DemoGoal) -> None:
        message = Goal(text=goal.text)
        message.header.stamp = ns_to_stamp(goal.start_ns)
        self._goal_publisher.publish(message)
        self._recorder.write(self._goal_publisher.topic_name, 'samtok_ros/msg/Goal',
                             goal.start_ns, serialize_message(message))

    def _finish(self, goal: DemoGoal) -> None:
        """Let the camera stand still until the goal has one answer: no machine is too slow."""
        self._player.sleep_until(goal.end_ns)
        goal_id = 1 + self._goals.index(goal)

        def done() -> bool:
            return any(goal.start_ns <= stamp < goal.end_ns
                       for stamp in self._recorder.answered(goal_id))

        if not done():
            self._clock.hold()
            if not self._recorder.wait_for(done, self._plan.answer_wait_s):
                logger.warning('no answer within %.0f s: %s', self._plan.answer_wait_s, goal.text)
            self._clock.run()

    def _wait_for_every_answer(self) -> None:
        wanted = {(goal_id, stamp) for goal_id, goal in enumerate(self._goals, start=1)
                  for stamp in self._shown if goal.start_ns <= stamp < goal.end_ns}

        def missing() -> set[tuple[int, int]]:
            there = self._recorder.stamps('target/mask', 'target/points', 'target/box')
            return {(goal_id, stamp) for goal_id, stamp in wanted
                    if stamp not in there & self._recorder.answered(goal_id)}

        if not self._recorder.wait_for(lambda: not missing(), self._plan.answer_wait_s):
            logger.warning('%d images have no answer', len(missing()))


def replay(plan: ReplayPlan) -> None:
    """Bring up the nodes, replay, record.

    Raises:
        SamtokError: a file is damaged, a node refused, or something did not come in time.
    """
    with ExitStack() as stack:
        bag = stack.enter_context(open_bag(Path(plan.bag)))
        first = next(bag.messages(), None)
        clock = ReplayClock(first.time_ns if first else 0, plan.rate)
        node = stack.enter_context(_spinning_node())
        diagnostics = Diagnostics(node)
        recorder = stack.enter_context(Recorder(node, Path(plan.result), clock))
        run = Replay(node, plan, bag, recorder, clock)
        start_nodes(node, _NODES, plan.start_wait_s)
        run.connect(diagnostics)
        logger.info('playing')
        run.run()
        logger.info('done')


@contextmanager
def _spinning_node() -> Iterator[Node]:
    rclpy.init()
    node = rclpy.create_node('demo', namespace=NAMESPACE)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    done = threading.Event()
    thread = threading.Thread(target=_spin, args=(executor, done), daemon=True)
    thread.start()
    try:
        yield node
    finally:
        # A spinning thread that outlives the middleware would abort the process, and an executor
        # must not be shut down while a thread still spins it.
        done.set()
        thread.join()
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()


def _spin(executor: SingleThreadedExecutor, done: threading.Event) -> None:
    with suppress(ExternalShutdownException):  # Ctrl-C ends the middleware under our feet.
        while not done.is_set():
            executor.spin_once(timeout_sec=0.1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Replay the plan whose file is named; return the exit status."""
    logging.basicConfig(level=logging.INFO, format='%(message)s', stream=sys.stderr)
    path, = sys.argv[1:2] if arguments is None else arguments
    try:
        replay(ReplayPlan.load(Path(path)))
    except SamtokError as error:
        logger.error('error: %s', error)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())
