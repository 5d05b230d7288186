# SPDX-License-Identifier: Apache-2.0
"""What an image costs on its way: filling and reading messages, and the way between two processes.

Run by `samtok bench transport` as a process of its own. Writes a list of rows as JSON: what was
measured, the size of the image, and figures in milliseconds.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from samtok_ros.nodes.conversions import (
    byte_array,
    compressed_to_frame,
    image_to_frame,
    ns_to_stamp,
)
from samtok_ros.nodes.raw_subscription import RawSubscription
from samtok_ros.runtime.compressed import encode_jpeg
from samtok_ros.runtime.problems import ProblemLog

SIZES = ((480, 640), (720, 1280))
FORMS = ('raw best_effort', 'raw reliable', 'jpeg best_effort')
_MAX_PIXELS = 20e6
_REPEATS = 21
_RATE_HZ = 30.0
_CONNECT_S, _SETTLE_S = 20.0, 2.0
_Row = dict[str, object]


def _picture(size_hw: tuple[int, int]) -> np.ndarray:
    """Return (H, W, 3) uint8 with edges and shades, which a JPEG encoder has work with."""
    rows, columns = np.indices(size_hw)
    return np.stack([rows // 3 % 256, columns // 5 % 256, (rows // 40 + columns // 40) % 2 * 200],
                    axis=2).astype(np.uint8)


def _median_ms(action: Callable[[], object], repeats: int = _REPEATS) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def conversion_rows(size_hw: tuple[int, int]) -> list[_Row]:
    """Time the ways to put pixels into a message and to get them out of it."""
    picture = _picture(size_hw)
    message = _image_message(picture)
    ways: dict[str, tuple[Callable[[], object], int]] = {
        'fill data: array of bytes (ours)': (
            lambda: Image(data=byte_array(picture)), _REPEATS),
        'fill data: bytes': (lambda: Image(data=picture.tobytes()), _REPEATS),
        'fill data: element by element': (lambda: Image(data=picture.ravel()), 1),
        'read pixels: view (ours)': (
            lambda: image_to_frame(message, _MAX_PIXELS).image_rgb(), _REPEATS),
    }
    if find_spec('cv_bridge'):
        from cv_bridge import CvBridge
        bridge = CvBridge()
        ways['read pixels: cv_bridge'] = (lambda: bridge.imgmsg_to_cv2(message, 'rgb8'), _REPEATS)
    if find_spec('rosbags.image'):
        from rosbags.image import message_to_cvimage
        ways['read pixels: rosbags-image'] = (
            lambda: message_to_cvimage(message, 'rgb8'), _REPEATS)
    return [{'what': name, 'size': _size_text(size_hw), 'p50_ms': _median_ms(way, repeats)}
            for name, (way, repeats) in ways.items()]


def transport_row(form: str, size_hw: tuple[int, int], count: int) -> _Row:
    """Receive images of another process as the nodes do, and time them from stamp to frame."""
    node = rclpy.create_node('bench_transport')
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    ages: list[float] = []
    subscription = _subscribe(node, form, ages)
    camera = subprocess.Popen([sys.executable, '-P', '-m', __name__ if __name__ != '__main__' else
                               'samtok_ros.nodes.bench_transport', 'camera', form,
                               *map(str, size_hw), str(count)])
    start_cpu, end_s = time.process_time(), None
    while end_s is None or (time.monotonic() < end_s and len(ages) < count):
        executor.spin_once(0.05)
        if end_s is None and camera.poll() is not None:
            end_s = time.monotonic() + _SETTLE_S
    cpu_ms = 1000 * (time.process_time() - start_cpu)
    subscription.destroy()
    executor.shutdown()
    node.destroy_node()
    row: _Row = {'what': f'from process to process: {form}', 'size': _size_text(size_hw),
                 'sent': count, 'arrived': len(ages)}
    if ages:
        p95 = sorted(ages)[max(0, -(-len(ages) * 95 // 100) - 1)]
        row |= {'p50_ms': statistics.median(ages), 'p95_ms': p95,
                'receiver_cpu_ms': cpu_ms / len(ages)}
    return row


def _subscribe(node: Node, form: str, ages: list[float]) -> RawSubscription:
    def on_image(message: Image | CompressedImage) -> None:
        frame = (image_to_frame if isinstance(message, Image) else compressed_to_frame)(
            message, _MAX_PIXELS)
        frame.image_rgb()
        ages.append((time.time_ns() - frame.stamp_ns) / 1e6)

    kind, topic = _kind_of(form)
    return RawSubscription(node, kind, topic, on_image, _qos_of(form),
                           node.default_callback_group, ProblemLog(node.get_logger().warning),
                           'bad_image')


def play_camera(form: str, size_hw: tuple[int, int], count: int) -> None:
    """Publish so many images at the rate of a camera, stamped with the time of publishing."""
    node = rclpy.create_node('bench_camera')
    kind, topic = _kind_of(form)
    publisher = node.create_publisher(kind, topic, _qos_of(form))
    message = _image_message(_picture(size_hw)) if kind is Image else CompressedImage(
        format='jpeg', data=byte_array(np.frombuffer(
            encode_jpeg(_picture(size_hw), 90), np.uint8)))
    until_s = time.monotonic() + _CONNECT_S
    while not publisher.get_subscription_count() and time.monotonic() < until_s:
        time.sleep(0.05)
    time.sleep(0.5)  # The reader must know the writer, too.
    due_s = time.monotonic()
    for _ in range(count):
        time.sleep(max(0.0, due_s - time.monotonic()))
        due_s += 1 / _RATE_HZ
        message.header.stamp = ns_to_stamp(time.time_ns())
        publisher.publish(message)
    time.sleep(0.5)  # What is still on its way must not be called back.
    node.destroy_node()


def _kind_of(form: str) -> tuple[type, str]:
    return (Image, 'image') if form.startswith('raw') else (CompressedImage, 'image/compressed')


def _qos_of(form: str) -> QoSProfile:
    reliability = QoSReliabilityPolicy[form.split()[-1].upper()]
    return QoSProfile(depth=5 if form.endswith('reliable') else 1, reliability=reliability)


def _image_message(picture: np.ndarray) -> Image:
    height, width = picture.shape[:2]
    message = Image(height=height, width=width, encoding='rgb8', step=3 * width,
                    data=byte_array(picture))
    message.header.stamp = ns_to_stamp(time.time_ns())
    return message


def _size_text(size_hw: tuple[int, int]) -> str:
    return f'{size_hw[1]}x{size_hw[0]}'


def main(arguments: Sequence[str]) -> int:
    """Measure and write JSON to standard output, or play the camera for such a measurement."""
    rclpy.init()
    if arguments[0] == 'camera':
        form, height, width, count = arguments[1:]
        play_camera(form, (int(height), int(width)), int(count))
        rclpy.try_shutdown()
        return 0
    count = int(arguments[0])
    rows = [row for size in SIZES for row in conversion_rows(size)]
    rows += [transport_row(form, size, count) for size in SIZES for form in FORMS]
    sys.stdout.write(json.dumps(rows))
    rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
