# SPDX-License-Identifier: Apache-2.0
"""A ROS domain per test, nodes in child processes, and a peer that plays camera and planner."""

import array
import os
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from contextlib import contextmanager

import numpy as np
import pytest

# Before the first context: tests must not hear other machines.
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
# Where tests run in the background of a script it is ignored, and in our child processes too.
signal.signal(signal.SIGINT, signal.default_int_handler)

rclpy = pytest.importorskip('rclpy', reason='ROS 2 (rclpy) is not installed')
pytest.importorskip('samtok_ros.msg', reason='the messages of samtok_ros are not built here')

from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from lifecycle_msgs.srv import ChangeState, GetState  # noqa: E402
from node_process import NodeProcess  # noqa: E402
from rclpy.action import ActionClient  # noqa: E402
from rclpy.context import Context  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from waiting import DEADLINE_S, wait_until  # noqa: E402

from samtok_ros.interface.ros_names import CALLS, NODES  # noqa: E402
from samtok_ros.msg import Goal, MaskWords, RegionMasks  # noqa: E402

ASK_AGAIN_S = 3.0
CLIENT_PATIENCE_S = 15.0
DOMAINS = range(215, 233)
SERVERS = {call.name: call.server for call in CALLS}
FAKE = {'model.backend': 'fake', 'autostart': True}
REPLAY = {'input.every_frame': True, 'input.reliability': 'reliable', 'input.depth': 1000,
          'words.wait_s': 60.0, **FAKE}
SECOND_NS = 1_000_000_000
START_NS = 1_700_000_000 * SECOND_NS + 123_456_789

CONFIGURE, CLEANUP, ACTIVATE, DEACTIVATE = 1, 2, 3, 4
UNCONFIGURED_SHUTDOWN, ACTIVE_SHUTDOWN = 5, 7


def reliable(depth=1000):
    return QoSProfile(depth=depth, reliability=QoSReliabilityPolicy.RELIABLE)


def best_effort(depth=1):
    return QoSProfile(depth=depth, reliability=QoSReliabilityPolicy.BEST_EFFORT)


def latched():
    return QoSProfile(depth=1, reliability=QoSReliabilityPolicy.RELIABLE,
                      durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)


def stamp_ns(message):
    return message.header.stamp.sec * SECOND_NS + message.header.stamp.nanosec


def is_answer(masks):
    """Say whether masks are a complete answer about their very image, and not tracked ones."""
    return masks.complete and masks.origin == RegionMasks.ANSWERED


def set_stamp(header, ns):
    header.stamp.sec, header.stamp.nanosec = divmod(ns, SECOND_NS)


def pixels(seed=0, height=48, width=64):
    """(height, width, 3) uint8 noise; another seed is another picture."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def image_message(ns, image_rgb, encoding='rgb8', padding=0):
    """An image message as a camera sends it; `padding` bytes follow each row."""
    height, width = image_rgb.shape[:2]
    rows = {'rgb8': image_rgb, 'bgr8': image_rgb[..., ::-1], 'mono8': image_rgb[..., :1]}.get(
        encoding, image_rgb)
    rows = np.ascontiguousarray(rows).reshape(height, -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    message = Image(height=height, width=width, encoding=encoding, step=rows.shape[1])
    message.header.frame_id = 'camera_color_optical_frame'
    set_stamp(message.header, ns)
    message.data = array.array('B', rows.tobytes())
    return message


class Received:
    """Messages of one subscription, in order of arrival."""

    def __init__(self, topic):
        self.topic = topic
        self.messages = []

    def wait(self, matches=lambda message: True, count=1, timeout_s=DEADLINE_S):
        """Wait for `count` matching messages and return them; one alone when count is 1."""
        found = wait_until(
            lambda: (hits := [m for m in list(self.messages) if matches(m)])[count - 1:] and hits,
            lambda: f'{count} messages on {self.topic}, {len(self.messages)} came', timeout_s)
        return found[0] if count == 1 else found


class SentGoal:
    """One goal of an action, as its client sees it."""

    def __init__(self, peer, client, goal):
        self.feedback = []
        self._peer = peer
        self._handle = self._get(lambda: client.send_goal_async(
            goal, feedback_callback=lambda message: self.feedback.append(message.feedback)))
        self.accepted = self._handle.accepted
        if self.accepted:
            self._result = peer.in_executor(self._handle.get_result_async)

    @property
    def ended(self):
        return self._result.done()

    def wait(self):
        """Wait for the result; return (status, result)."""
        assert self.accepted
        wait_until(self._result.done, 'the result of the goal')
        response = self._result.result()
        return response.status, response.result

    def wait_for_feedback(self, matches=lambda feedback: True):
        return wait_until(lambda: next(filter(matches, list(self.feedback)), None),
                          lambda: f'feedback that matches; came: {self.feedback}')

    def cancel(self):
        """Cancel and wait for the answer; True when the server took it."""
        return bool(self._get(self._handle.cancel_goal_async).goals_canceling)

    def _get(self, ask):
        future = self._peer.in_executor(ask)
        wait_until(future.done, 'an answer of the action server')
        return future.result()


class Peer:
    """A node of the test process, spun in a thread."""

    def __init__(self, context, name='peer'):
        self.node = rclpy.create_node(name, context=context, namespace='samtok')
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self.node)
        self._ending = False
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()
        self.diagnostics = {}
        self.listening = Counter()
        self.node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 100)

    def _spin(self):
        while not self._ending:
            self._executor.spin_once(0.1)

    def close(self):
        # An executor that is shut down while it spins may fail on what it has given away.
        self._ending = True
        self._thread.join()
        self._executor.shutdown()
        self.node.destroy_node()

    def describe(self):
        """Return lines that say whom it is connected to, and where its thread is."""
        found = [(f'{one.topic_name} from', one.get_publisher_count())
                 for one in self.node.subscriptions]
        found += [(f'{one.topic_name} to', one.get_subscription_count())
                  for one in self.node.publishers]
        frame = sys._current_frames().get(self._thread.ident)
        return [*(f'{name} {count}' for name, count in found),
                *(traceback.format_stack(frame) if frame else ['its thread has ended'])]

    def listen(self, message_type, topic, qos=None):
        received = Received(topic)
        self.listening[topic] += 1
        received.subscription = self.node.create_subscription(
            message_type, topic, received.messages.append, qos or reliable())
        return received

    def publisher(self, message_type, topic, qos=None, wait=True):
        publisher = self.node.create_publisher(message_type, topic, qos or reliable())
        if wait:
            wait_until(publisher.get_subscription_count, f'a subscription on {topic}')
        return publisher

    @contextmanager
    def client(self, service_type, name, timeout_s=DEADLINE_S):
        """Yield a client that sees its server.

        Two participants in one process, on a busy machine, may miss for good that a client of one
        and a server of the other match; ends that are created later do match.
        """
        until_s = time.monotonic() + timeout_s
        client = self.node.create_client(service_type, name)
        try:
            while not client.wait_for_service(CLIENT_PATIENCE_S):
                assert time.monotonic() < until_s, f'no service {name}'
                self.node.destroy_client(client)
                client = self.node.create_client(service_type, name)
            yield client
        finally:
            self.node.destroy_client(client)

    def call(self, service_type, name, timeout_s=DEADLINE_S, **fields):
        with self.client(service_type, name, timeout_s) as client:
            if service_type is not GetState:
                first = name.split('/')[0]
                self.settle(first if first in NODES else SERVERS.get(first, ''))
            future = client.call_async(service_type.Request(**fields))
            wait_until(future.done, f'answer of {name}', timeout_s)
            return future.result()

    def settle(self, node, timeout_s=DEADLINE_S):
        """Wait until a node knows everything that was created here before.

        A server drops its answer, and feedback, when it has not discovered who asked, which takes
        long on a busy machine. Endpoints are announced in order: who answers the newest client
        knows the older ones. This question may be lost too; it is asked again.
        """
        if not node:
            return None
        with self.client(GetState, f'{node}/get_state', timeout_s) as client:
            asked = []

            def answered():
                if not asked or time.monotonic() - asked[-1][0] > ASK_AGAIN_S:
                    asked.append((time.monotonic(), client.call_async(GetState.Request())))
                return next((future for _, future in asked if future.done()), None)

            return wait_until(answered, f'answer of {node}', timeout_s).result()

    def action(self, action_type, name):
        """Return a function that sends goals of an action; it takes the fields of a goal."""
        client = ActionClient(self.node, action_type, name)
        assert client.wait_for_server(DEADLINE_S), f'no action {name}'
        self.settle(SERVERS.get(name, ''))
        return lambda **fields: SentGoal(self, client, action_type.Goal(**fields))

    def in_executor(self, work):
        """Do something in the thread that spins, and return what it returns.

        An action client must ask where answers are taken, or one that comes fast is lost.
        """
        task = self._executor.create_task(work)
        wait_until(task.done, 'a turn in the executor')
        return task.result()

    def state(self, node, timeout_s=DEADLINE_S):
        return self.settle(node, timeout_s).current_state.label

    def change(self, node, transition):
        request = ChangeState.Request()
        request.transition.id = transition
        return self.call(ChangeState, f'{node}/change_state', transition=request.transition).success

    def begin_change(self, node, transition):
        """Ask for a transition without waiting for its end; the node is known to answer."""
        client = self.node.create_client(ChangeState, f'{node}/change_state')
        assert client.wait_for_service(DEADLINE_S)
        self.settle(node)
        request = ChangeState.Request()
        request.transition.id = transition
        return client.call_async(request)

    def health(self, node, part, matches=lambda status: True, timeout_s=DEADLINE_S):
        """Wait for a diagnostic status that matches; return (level, message, values)."""
        key = f'samtok/{node}: {part}'
        return wait_until(
            lambda: (found := self.diagnostics.get(key)) and matches(found) and found,
            lambda: f'status {key} that matches; last is {self.diagnostics.get(key)}', timeout_s)

    def value(self, node, part, name, matches):
        """Wait until a value in diagnostics matches."""
        return self.health(node, part, lambda found: matches(found[2].get(name, '')))[2][name]

    def _on_diagnostics(self, message):
        for status in message.status:
            self.diagnostics[status.name] = (
                status.level[0], status.message, {v.key: v.value for v in status.values})


class World:
    """One domain with a peer and the programs under test."""

    def __init__(self, domain, folder):
        self.domain = domain
        self.folder = folder
        self.programs = []
        self._context = Context()
        rclpy.init(context=self._context, domain_id=domain)
        self.peer = Peer(self._context)

    def start(self, program='perception', parameters=None, ros_args=()):
        path = self.folder / f'{program}_{len(self.programs)}.log'
        started = NodeProcess(program, FAKE if parameters is None else parameters, list(ros_args),
                              self.domain, path)
        self.programs.append(started)
        return started

    def close(self):
        """End the programs; each must end cleanly, without a traceback."""
        try:
            for program in self.programs:
                status = program.stop()
                log = program.log()
                assert status == 0, f'exit status {status}:\n{log}'
                assert 'Traceback' not in log, log
        finally:
            for program in self.programs:
                program.kill()
            self.peer.close()
            self._context.try_shutdown()


class Scene:
    """The usual set-up: outputs listened to, inputs connected, nodes active."""

    def __init__(self, world, split=False, image_qos=None, image_type=Image, image_topic='image'):
        self.peer = peer = world.peer
        peer.diagnostics.clear()
        self.words = peer.listen(MaskWords, 'mask_words')
        self.masks = peer.listen(RegionMasks, 'masks')
        self.target = peer.listen(Image, 'target/mask', latched())
        self.images = peer.publisher(image_type, image_topic, image_qos)
        self.goals = peer.publisher(Goal, 'goal')
        takers = ('grounding', 'mask_tokenizer') if split else ('grounding',)
        # What comes before both ends know each other is lost, so both are asked.
        wait_until(lambda: self.images.get_subscription_count() >= len(takers), 'takers of images')
        writers = peer.node.count_publishers(image_topic)
        for node in takers:
            peer.value(node, 'input', 'matched_publishers',
                       lambda count: count.isdigit() and int(count) >= writers)
        # The mask tokenizer reads words too. Scenes before this one still listen to all of it.
        outputs = {'mask_words': ('grounding', 1), 'masks': ('mask_tokenizer', 0),
                   'target/mask': ('mask_tokenizer', 0)}
        for topic, (node, others) in outputs.items():
            readers = peer.listening[topic] + others
            peer.value(node, 'output', f'/samtok/{topic}',
                       lambda text, readers=readers: text[:1].isdigit() and (
                           int(text.split()[0]) >= readers))
        for received in (self.words, self.masks, self.target):
            wait_until(received.subscription.get_publisher_count, f'publisher {received.topic}')
        self._goal_count = int(peer.value('grounding', 'inference', 'goals', str.isdigit))

    def set_goal(self, text, ns=0):
        """Publish a goal and wait until the node has taken it."""
        goal = Goal(text=text)
        set_stamp(goal.header, ns)
        self.goals.publish(goal)
        self._goal_count += 1
        wanted = str(self._goal_count)
        self.peer.value('grounding', 'inference', 'goals', lambda value: value == wanted)

    def show(self, ns=START_NS, seed=0, **form):
        self.images.publish(image_message(ns, pixels(seed), **form))

    def answer(self, ns=START_NS, goal=None):
        """Wait for the complete words of an image."""
        return self.words.wait(lambda m: m.complete and stamp_ns(m) == ns
                               and goal in (None, m.goal))

    def masks_of(self, ns=START_NS):
        """Wait for the complete masks of the answer about an image."""
        return self.masks.wait(lambda m: is_answer(m) and stamp_ns(m) == ns)


@contextmanager
def own_domain():
    """Reserve a domain id that no test running beside this one uses.

    They are those above the ports that Linux gives out itself: no demo runs there, as it takes one
    up to 100, and seldom a robot.
    """
    try:
        from domain_coordinator import domain_id
    except ImportError:
        yield DOMAINS[os.getpid() % len(DOMAINS)]
        return
    with domain_id(iter(DOMAINS).__next__) as domain:
        yield domain
