# SPDX-License-Identifier: Apache-2.0
"""The mask tokenizer node: images and mask words in, masks out."""

import threading
import time
from collections.abc import Mapping
from dataclasses import replace

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType

from samtok_ros.errors import SamtokError
from samtok_ros.language.instructions import goal_instruction
from samtok_ros.msg import Goal, MaskWords
from samtok_ros.nodes.conversions import goal_text, words_to_result
from samtok_ros.nodes.health import Health, Level
from samtok_ros.nodes.image_input import ImageInput
from samtok_ros.nodes.lifecycle import PerceptionNode
from samtok_ros.nodes.mask_outputs import MaskOutputs
from samtok_ros.nodes.mask_services import MaskServices
from samtok_ros.nodes.parts import (
    inference_health,
    model_health,
    output_health,
    tracking_health,
    words_health,
)
from samtok_ros.nodes.publishers import results_qos
from samtok_ros.nodes.raw_subscription import RawSubscription
from samtok_ros.nodes.spin import run
from samtok_ros.runtime.backend import LoadedMaskModel, make_backend
from samtok_ros.runtime.frame_cache import Frame, stamp_text
from samtok_ros.runtime.mask_access import LocalMaskAccess
from samtok_ros.runtime.mask_decoding import MaskDecoding
from samtok_ros.runtime.records import FrameResult
from samtok_ros.runtime.shared import SharedRuntime
from samtok_ros.runtime.tracking import MaskTracking
from samtok_ros.settings.mask_tokenizer import TrackSettings
from samtok_ros.tracking.policies import make_policy

_EXPIRY_PERIOD_S = 0.1
_END_S = 10.0


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
                                      self.statistics, closes_answers=takes_images)
        self._tracking = MaskTracking(runtime.worker, self._publish_tracked, self.problems,
                                      self.statistics, shares_worker=not takes_images)
        runtime.listen(self._decoding.frame_arrived)
        runtime.listen(self._tracking.frame_arrived)
        self._mask_services = MaskServices(self)
        self._loaded: LoadedMaskModel | None = None
        self._access: LocalMaskAccess | None = None
        self._outputs: MaskOutputs | None = None
        self._last_done_ns = 0
        self._words: RawSubscription | None = None
        self._goals: RawSubscription | None = None
        self._goals_lock = threading.Lock()
        self._images: ImageInput | None = None
        self.create_timer(_EXPIRY_PERIOD_S, self._look_at_what_waits,
                          callback_group=MutuallyExclusiveCallbackGroup(),
                          clock=Clock(clock_type=ClockType.STEADY_TIME))

    def set_up(self) -> None:
        """Load the mask tokenizer and create the outputs."""
        track = self._track_settings()
        self._loaded = make_backend(self.settings.model, self.settings.fake).load_masks(
            video_memory=track.policy == 'memory')
        self._access = LocalMaskAccess(self._loaded, self.runtime.frames, self.statistics)
        self._decoding.configure(self.settings, self._access, self.runtime.frames)
        self._tracking.configure(self.settings, make_policy(track, self._access),
                                 self.runtime.frames)
        self.warm_up(self._loaded.warm_up)
        self._outputs = MaskOutputs(self)
        self.runtime.mask_access = self._access
        self.get_logger().info(
            f'mask tokenizer {self._loaded.model.tokenizer_id} on {self._loaded.device} -> '
            + ', '.join(output.topic for output in self._outputs.all))

    def begin(self) -> None:
        """Take images, words and calls."""
        self._outputs.open()
        self._decoding.open()
        self._tracking.open()
        if self._takes_images:  # else the grounding node of this process does it
            self.runtime.frames.begin_anew()
        self._mask_services.open(self._access)
        self._words = RawSubscription(self, MaskWords, 'mask_words', self._on_words, results_qos(),
                                      self.inputs, self.problems, 'bad_words')
        source = 'the grounding node of this process'
        if self._takes_images:
            self._images = self.take_images(self.runtime.frame_arrived)
            source = self._images.describe()
        self.get_logger().info(f'images from {source}, words from {self._words.topic}')

    def end(self) -> None:
        """Take no more images, words and calls."""
        self._mask_services.close()
        for part in (self._images, self._words):
            if part is not None:
                part.destroy()
        self._images = self._words = None
        with self._goals_lock:
            if self._goals is not None:
                self._goals.destroy()
            self._goals = None
        until_s = time.monotonic() + _END_S
        decoded = self._decoding.close(_END_S)
        if not (self._tracking.close(max(0.0, until_s - time.monotonic())) and decoded):
            self.get_logger().warning('the model is still busy with one step')
        if self._outputs is not None and not self._outputs.close():
            self.get_logger().warning('an overlay is still being painted')

    def tear_down(self) -> None:
        """Free the model and the outputs."""
        self.runtime.mask_access = None
        self._decoding.release()
        self._tracking.release()
        self._loaded = self._access = None
        self.runtime.frames.forget_features()
        if self._outputs is not None:
            self._outputs.destroy()
            self._outputs = None

    def settings_changed(self) -> None:
        """See PerceptionNode."""
        self._decoding.change_settings(self.settings)
        self._tracking.change_settings(self.settings)

    def time_jumped_back(self, newest_ns: int) -> None:
        """See PerceptionNode: later words that wait are of images that will not come any more."""
        self._decoding.forget_after(newest_ns)
        self._tracking.forget()

    def parts_health(self) -> Mapping[str, Health]:
        """See PerceptionNode."""
        outputs, loaded = self._outputs, self._loaded
        if outputs is None or loaded is None:
            return {}  # Cleaned up at this moment, in another thread.
        images = self.input_health(self._images) if self._takes_images else Health(
            Level.OK, 'images come from the grounding node of this process')
        return {
            'input': images,
            'inference': inference_health(self.statistics, self.problems, {
                'worker': self.worker_state(),
                'words_waiting': self._decoding.waiting,
                'calls': self.statistics.total('calls'),
                'calls_failed': self.statistics.total('calls_failed'),
                'last_stamp': stamp_text(self._last_done_ns) if self._last_done_ns else '',
                'frames_cached': len(self.runtime.frames),
                'cache_megabytes': f'{self.runtime.frames.nbytes / 1e6:.1f}'}),
            'output': output_health(self.statistics, self.problems, *outputs.all),
            'words': words_health(self.statistics, self.problems, self._words, self._goals),
            'tracking': tracking_health(self.statistics, self.problems, self._tracking),
            'model': model_health(self.settings.model, loaded.name, loaded.device,
                                  loaded.model.tokenizer_id, loaded.facts),
        }

    def _track_settings(self) -> TrackSettings:
        track = self.settings.track
        # In replay every image is answered, and nothing may depend on how fast the machine is.
        return replace(track, policy='none') if self.settings.input.every_frame else track

    def _look_at_what_waits(self) -> None:
        self._decoding.drop_expired()
        self._tracking.wake_if_rested()

    def _on_words(self, message: MaskWords) -> None:
        words = words_to_result(message)
        # Whether or not their image is here: it need not be for things to be followed no longer.
        self._tracking.words_arrived(words)
        self._decoding.put_words(words)
        self._listen_to_goals()

    def _listen_to_goals(self) -> None:
        # Not before there is something to follow: whoever waits for a subscription before they
        # publish their goal must meet that of the grounding node.
        with self._goals_lock:
            if self._words is not None and self._goals is None and self._tracking.policy:
                self._goals = RawSubscription(self, Goal, 'goal', self._on_goal, results_qos(),
                                              self.inputs, self.problems, 'bad_goal')

    def _on_goal(self, message: Goal) -> None:
        try:
            text = goal_text(message)
            if text:
                goal_instruction(text)
        except SamtokError:
            return  # The grounding node says why it does not take it, and keeps the one before.
        self._tracking.goal_changed(text)

    def _publish_result(self, result: FrameResult, frame: Frame) -> None:
        result = self._tracking.take_answer(result, frame)
        self._outputs.publish(result, frame, not self._tracking.is_outdated(result))
        if result.complete:
            self._last_done_ns = result.stamp_ns
            self.statistics.tick('frames_processed')
            self.note_age(result)
        self._tracking.catch_up(result)

    def _publish_tracked(self, result: FrameResult, frame: Frame) -> None:
        self._outputs.publish(result, frame)
        self.statistics.add_duration('tracked_age', (self.ros_now_ns() - result.stamp_ns) / 1e9)


def main() -> int:
    """Run the node until it is told to stop; return the exit status."""
    return run(lambda: [MaskTokenizerNode(SharedRuntime())])
