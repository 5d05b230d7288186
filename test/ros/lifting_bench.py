# SPDX-License-Identifier: Apache-2.0
"""The lifting node alone; the test plays the camera, its driver and the mask tokenizer."""

import array

import numpy as np
from harness import SECOND_NS, best_effort, latched, reliable, set_stamp, stamp_ns
from lifting_scene import SIZE, K, P, looking_down
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from visualization_msgs.msg import MarkerArray

from samtok_ros.masks.rle import mask_to_rle
from samtok_ros.msg import LiftedTarget, RegionMask, RegionMasks
from samtok_ros.nodes.lifting import LiftingNode

FRAME = 'camera_color_optical_frame'
DEPTH_M, MASK = looking_down(noise_m=0.001)


def make_lifting():
    return [LiftingNode()]


def set_header(message, ns, frame=FRAME):
    set_stamp(message.header, ns)
    message.header.frame_id = frame
    return message


def depth_message(ns, depth_m=DEPTH_M, encoding='16UC1', frame=FRAME):
    """A depth image as a driver sends it; NaN becomes 0 in millimetres."""
    pixels = (np.round(np.nan_to_num(depth_m) * 1000).astype('<u2') if encoding == '16UC1'
              else depth_m.astype('<f4'))
    height, width = pixels.shape
    return set_header(Image(height=height, width=width, encoding=encoding,
                            step=pixels.strides[0], data=array.array('B', pixels.tobytes())),
                      ns, frame)


def info_message(ns, k=K, p=P, d=(), frame=FRAME, size=SIZE):
    return set_header(CameraInfo(height=size.height, width=size.width, k=k, p=p, d=list(d),
                                 distortion_model='plumb_bob'), ns, frame)


def region(mask=MASK, number=1, **fields):
    return RegionMask(id=number, area_px=int(mask.sum()),
                      rle=array.array('I', mask_to_rle(mask).tolist()),
                      **({'label': 'the red box', 'score': 0.5, 'mask_score': 0.9} | fields))


def masks_message(ns, *regions, **fields):
    """Complete masks of an image; without regions there is no target in it."""
    message = RegionMasks(**({'height': SIZE.height, 'width': SIZE.width, 'goal': 'the red box',
                              'goal_id': 3, 'complete': True} | fields))
    message.answer_stamp.sec, message.answer_stamp.nanosec = divmod(ns, SECOND_NS)
    set_header(message, ns)
    message.masks = list(regions)
    return message


class LiftingBench:
    """Publishers and subscriptions of a camera and of a planner."""

    def __init__(self, peer, compressed=False):
        self.peer = peer
        self.box = peer.listen(LiftedTarget, 'target/box', latched())
        self.points = peer.listen(PointCloud2, 'target/points', latched())
        self.markers = peer.listen(MarkerArray, 'markers', reliable())
        self.masks = peer.publisher(RegionMasks, 'masks')
        self.depth = (peer.publisher(CompressedImage, 'depth/compressedDepth') if compressed
                      else peer.publisher(Image, 'depth'))
        self.info = peer.publisher(CameraInfo, 'camera_info', best_effort(10))
        self.connect()

    message = staticmethod(masks_message)

    def connect(self):
        """Wait until both ends know each other, or what is sent first is lost.

        The node goes over to what is offered when it sees the publishers, so that comes first.
        """
        if self.depth.topic_name.endswith('depth'):
            self.peer.value('lifting', 'input', 'depth_qos', lambda text: text[:8] == 'reliable')
        for name in ('masks', 'depth', 'camera_info'):
            self.peer.value('lifting', 'input', f'{name}_matched_publishers',
                            lambda count: count not in ('', '0'))
        for topic in ('target/box', 'target/points', 'markers'):
            self.wait_for_listeners(topic)

    def wait_for_listeners(self, topic):
        self.peer.value('lifting', 'output', f'/samtok/{topic}',
                        lambda text: text[:1] not in ('', '0'))

    def show(self, ns, depth=True, info=True):
        """Send depth and calibration of an image; True for the usual ones, None for none."""
        for given, publisher, usual in ((info, self.info, info_message),
                                        (depth, self.depth, depth_message)):
            if given:
                publisher.publish(usual(ns) if given is True else given)

    def say(self, ns, *regions, **fields):
        """Send masks: those given, or the usual one when there are none."""
        self.masks.publish(masks_message(ns, *(regions or [region()]), **fields))

    def box_of(self, ns, matches=lambda message: True):
        return self.box.wait(lambda m: stamp_ns(m) == ns and matches(m))

    def lift(self, ns, *regions, depth=True, info=True, **fields):
        """Show an image, send its masks, and return what became of the target."""
        self.show(ns, depth, info)
        self.say(ns, *regions, **fields)
        return self.box_of(ns)

    def value(self, name, matches):
        return self.peer.value('lifting', 'lifting', name, matches)


def points_of(cloud):
    """Return (N, 3) float32 points of a cloud message, read by its fields alone."""
    assert [(f.name, f.offset, f.datatype, f.count) for f in cloud.fields] == [
        ('x', 0, 7, 1), ('y', 4, 7, 1), ('z', 8, 7, 1)]
    assert cloud.point_step == 12 and cloud.row_step == 12 * cloud.width
    assert not cloud.is_bigendian
    data = np.frombuffer(cloud.data, '<f4')
    assert data.size == 3 * cloud.height * cloud.width
    return data.reshape(-1, 3)
