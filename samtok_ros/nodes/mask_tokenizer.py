# SPDX-License-Identifier: Apache-2.0
"""The mask tokenizer node: images and mask words in, masks out."""

from collections.abc import Mapping

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import CompressedImage, Image

from samtok_ros.masks.overlay import draw_regions
from samtok_ros.msg import MaskWords, RegionMasks
from samtok_ros.nodes.conversions import (
    jpeg_to_message,
    mask_to_image,
    result_to_masks,
    words_to_result,
)
from samtok_ros.nodes.health import Health, Level
from samtok_ros.nodes.image_input import ImageInput
from samtok_ros.nodes.lifecycle import PerceptionNode
from samtok_ros.nodes.parts import inference_health, model_health, output_health, words_health
from samtok_ros.nodes.publishers import OutputPublisher, latched_qos, picture_qos, results_qos
from samtok_ros.nodes.raw_subscription import RawSubscription
from samtok_ros.nodes.spin import run
from samtok_ros.runtime.backend import LoadedMaskModel, make_backend
from samtok_ros.runtime.compressed import encode_jpeg
from samtok_ros.runtime.frame_cache import Frame
from samtok_ros.runtime.mask_decoding import MaskDecoding, best_region
from samtok_ros.runtime.records import FrameResult, Status
from samtok_ros.runtime.shared import SharedRuntime

_HAS_TARGET = (Status.OK, Status.NO_TARGET, Status.TRUNCATED)
_EXPIRY_PERIOD_S = 0.1


class MaskTokenizerNode(PerceptionNode):
    """Decodes mask words on the images they belong to."""

    def __init__(self, runtime: SharedRuntime, takes_images: bool = True) -> None:
        """Create the node.

        Args:
            runtime: shared with the other nodes of the process.
            takes_images: False when another node of the process puts them into the cache.
        """
        super().__init__('mask_tokenizer', runtime)
        self._takes_images = takes_images
        self._decoding = MaskDecoding(runtime.worker, self._publish_result, self.problems,
                                      self.statistics)
        runtime.listen(self._decoding.frame_arrived)
        self._loaded: LoadedMaskModel | None = None
        self._outputs: dict[str, OutputPublisher] = {}
        self._words: RawSubscription | None = None
        self._images: ImageInput | None = None
        self.create_timer(_EXPIRY_PERIOD_S, self._decoding.drop_expired,
                          callback_group=MutuallyExclusiveCallbackGroup(),
                          clock=Clock(clock_type=ClockType.STEADY_TIME))

    def set_up(self) -> None:
        """Load the mask tokenizer and create the outputs."""
        self._loaded = make_backend(self.settings.model, self.settings.fake).load_masks()
        self._decoding.configure(self.settings, self._loaded, self.runtime.frames)
        self._outputs = {
            'masks': self.create_output(RegionMasks, 'masks', results_qos()),
            'target': self.create_output(Image, 'target/mask', latched_qos()),
            'overlay': self.create_output(CompressedImage, 'overlay/compressed', picture_qos()),
        }
        self.get_logger().info(
            f'mask tokenizer {self._loaded.model.tokenizer_id} on {self._loaded.device} -> '
            + ', '.join(output.topic for output in self._outputs.values()))

    def begin(self) -> None:
        """Take images and words."""
        self._decoding.open()
        self._words = RawSubscription(self, MaskWords, 'mask_words', self._on_words, results_qos(),
                                      self.inputs, self.problems, 'bad_words')
        source = 'the grounding node of this process'
        if self._takes_images:
            self._images = ImageInput(self, self.settings.input, self.runtime.frame_arrived,
                                      self.inputs, self.problems, self.statistics)
            source = self._images.describe()
        self.get_logger().info(f'images from {source}, words from {self._words.topic}')

    def end(self) -> None:
        """Take no more images and words."""
        for part in (self._images, self._words):
            if part is not None:
                part.destroy()
        self._images = self._words = None
        if not self._decoding.close():
            self.get_logger().warning('the model is still busy with one step')

    def tear_down(self) -> None:
        """Free the model and the outputs."""
        self._decoding.release()
        self._loaded = None
        for output in self._outputs.values():
            output.destroy()
        self._outputs = {}

    def settings_changed(self) -> None:
        """See PerceptionNode."""
        self._decoding.change_settings(self.settings)

    def parts_health(self) -> Mapping[str, Health]:
        """See PerceptionNode."""
        images = self.input_health(self._images) if self._takes_images else Health(
            Level.OK, 'images come from the grounding node of this process')
        return {
            'input': images,
            'inference': inference_health(self.statistics, self.problems, {
                'words_waiting': self._decoding.waiting,
                'frames_cached': len(self.runtime.frames),
                'cache_megabytes': f'{self.runtime.frames.nbytes / 1e6:.1f}'}),
            'output': output_health(self.statistics, self.problems, *self._outputs.values()),
            'words': words_health(self.statistics, self.problems),
            'model': model_health(self.settings.model, self._loaded.name, self._loaded.device,
                                  self._loaded.model.tokenizer_id),
        }

    def _on_words(self, message: MaskWords) -> None:
        self._decoding.put_words(words_to_result(message))

    def _publish_result(self, result: FrameResult, frame: Frame) -> None:
        self._outputs['masks'].publish(result_to_masks(result))
        if not result.complete:
            return
        self.statistics.tick('frames_processed')
        if result.status in _HAS_TARGET:
            target = best_region(result.regions)
            self._outputs['target'].publish(mask_to_image(result, target and target.mask))
            self.statistics.tick('targets_out')
        self.note_age(result)
        if self._outputs['overlay'].subscribers:
            self._publish_overlay(result, frame)

    def _publish_overlay(self, result: FrameResult, frame: Frame) -> None:
        with self.statistics.measure('overlay'):
            picture = draw_regions(frame.image_rgb(), result.regions)
            jpeg = encode_jpeg(picture, self.settings.overlay.jpeg_quality)
        self._outputs['overlay'].publish(jpeg_to_message(result, jpeg))
        self.statistics.tick('overlays_out')


def main() -> int:
    """Run the node until it is told to stop; return the exit status."""
    return run(lambda: [MaskTokenizerNode(SharedRuntime())])
