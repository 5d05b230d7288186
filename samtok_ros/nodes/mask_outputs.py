# SPDX-License-Identifier: Apache-2.0
"""What the mask tokenizer node publishes: exact masks, and views of them for others.

The exact masks and the target always go out. Views are made only while somebody subscribes.
"""

import traceback
from dataclasses import dataclass

import numpy as np
from sensor_msgs.msg import CompressedImage, Image

from samtok_ros.errors import SamtokError
from samtok_ros.masks.label_image import label_image
from samtok_ros.masks.overlay import draw_regions
from samtok_ros.msg import RegionMasks
from samtok_ros.nodes.conversions import (
    jpeg_to_message,
    labels_to_image,
    mask_to_image,
    result_to_masks,
)
from samtok_ros.nodes.lifecycle import PerceptionNode
from samtok_ros.nodes.publishers import (
    OutputPublisher,
    OutputSet,
    latched_qos,
    picture_qos,
    results_qos,
)
from samtok_ros.nodes.vision_messages import (
    LabelTable,
    label_table,
    to_detections,
    to_label_info,
    vision_types,
)
from samtok_ros.runtime.compressed import encode_jpeg
from samtok_ros.runtime.frame_cache import Frame
from samtok_ros.runtime.mask_decoding import best_region
from samtok_ros.runtime.painter import Painter
from samtok_ros.runtime.records import FrameResult, Origin, Status
from samtok_ros.runtime.staleness import stale_text

_SAYS_WHAT_IS_THERE = (Status.OK, Status.NO_TARGET, Status.TRUNCATED)


@dataclass(frozen=True, eq=False)
class _Picture:
    """What an overlay is painted from; image_rgb is (H, W, 3) uint8."""

    result: FrameResult
    image_rgb: np.ndarray


class MaskOutputs:
    """The publishers of a mask tokenizer node, from configure to cleanup."""

    def __init__(self, node: PerceptionNode) -> None:
        """Create the publishers; silent while the node is inactive.

        Raises:
            ConfigError: QoS overrides of one cannot be used.
        """
        self._node = node
        self._outputs = OutputSet(node.create_output)
        self._masks = self._outputs.add(RegionMasks, 'masks', results_qos())
        self._target = self._outputs.add(Image, 'target/mask', latched_qos())
        self._labels = self._outputs.add(Image, 'label_image', picture_qos())
        self._vision = vision_types()
        self._detections: OutputPublisher | None = None
        self._label_info: OutputPublisher | None = None
        self._table: LabelTable | None = None
        self._painter = Painter(self._paint, self._not_painted)
        if self._vision is None:
            node.get_logger().info('vision_msgs is not installed: detections and label_info are '
                                   'not published')
        else:
            self._label_info = self._outputs.add(self._vision.LabelInfo, 'label_info',
                                                 latched_qos())
            self._detections = self._outputs.add(self._vision.Detection2DArray, 'detections',
                                                 results_qos())
        self._overlay = self._outputs.add(CompressedImage, 'overlay/compressed', picture_qos())

    @property
    def all(self) -> tuple[OutputPublisher, ...]:
        """The publishers that there are."""
        return tuple(self._outputs)

    def open(self) -> None:
        """Start to paint."""
        self._painter.open()

    def close(self) -> bool:
        """Paint no more; False when the painter is still busy."""
        return self._painter.close()

    def destroy(self) -> None:
        """End the publishers."""
        self._outputs.destroy()

    def publish(self, result: FrameResult, frame: Frame, with_views: bool = True) -> None:
        """Publish regions; for the worker thread.

        Args:
            result: with masks.
            frame: that they belong to.
            with_views: False leaves out all but the exact masks: newer ones are out already.
        """
        self._masks.publish(result_to_masks(result))
        if not result.complete or not with_views:
            return
        if result.status in _SAYS_WHAT_IS_THERE or result.origin is Origin.TRACKED:
            self._publish_target(result)
            self._publish_labels(result)
            self._publish_detections(result)
        if self._overlay.subscribers:
            self._hand_to_painter(result, frame)

    def _publish_target(self, result: FrameResult) -> None:
        stale = stale_text(result.stamp_ns, self._node.ros_now_ns(),
                           self._node.settings.target.max_age_s)
        if stale:
            self._node.statistics.count('targets_stale')
            self._node.problems.report('target_stale', f'target is not published: {stale}')
            return
        target = best_region(result.regions)
        self._target.publish(mask_to_image(result, target and target.mask))
        self._node.statistics.tick('targets_out')

    def _publish_labels(self, result: FrameResult) -> None:
        if self._label_info is not None:
            table = label_table(result.regions)
            # Open-vocabulary names change from answer to answer; whoever is latched to an old table
            # would give the numbers of this image the names of another.
            if table != self._table:
                self._table = table
                self._label_info.publish(to_label_info(result, table, self._vision))
        if self._labels.subscribers:
            with self._node.statistics.measure('label_image'):
                labels = label_image(result.regions, result.size)
            self._labels.publish(labels_to_image(result, labels))
            self._node.statistics.tick('labels_out')

    def _publish_detections(self, result: FrameResult) -> None:
        if self._detections is not None and self._detections.subscribers:
            self._detections.publish(to_detections(result, self._vision))
            self._node.statistics.tick('detections_out')

    def _hand_to_painter(self, result: FrameResult, frame: Frame) -> None:
        try:
            image_rgb = frame.image_rgb()
        except SamtokError as error:
            self._not_painted(error)
            return
        self._painter.put(_Picture(result, image_rgb))

    def _paint(self, picture: _Picture) -> None:
        with self._node.statistics.measure('overlay'):
            drawn = draw_regions(picture.image_rgb, picture.result.regions)
            jpeg = encode_jpeg(drawn, self._node.settings.overlay.jpeg_quality)
        self._overlay.publish(jpeg_to_message(picture.result, jpeg))
        self._node.statistics.tick('overlays_out')

    def _not_painted(self, error: Exception) -> None:
        detail = '' if isinstance(error, SamtokError) else ''.join(
            traceback.format_exception(error))
        self._node.problems.report('overlay_failed', f'no overlay of an image: {error}', detail)
