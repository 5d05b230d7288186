# SPDX-License-Identifier: Apache-2.0
"""The grounding node: images and a standing goal in, mask words out."""

from collections.abc import Mapping

from samtok_ros.msg import Goal, MaskWords
from samtok_ros.nodes.conversions import goal_text, has_markers, result_to_words, stamp_to_ns
from samtok_ros.nodes.health import Health
from samtok_ros.nodes.image_input import ImageInput
from samtok_ros.nodes.lifecycle import PerceptionNode
from samtok_ros.nodes.managed_node import INTERRUPT_S
from samtok_ros.nodes.parts import inference_health, model_health, output_health, words_health
from samtok_ros.nodes.publishers import OutputPublisher, results_qos
from samtok_ros.nodes.raw_subscription import RawSubscription
from samtok_ros.nodes.request_servers import RequestServers
from samtok_ros.nodes.spin import run
from samtok_ros.runtime.backend import GroundingModel, make_backend
from samtok_ros.runtime.frame_cache import Frame
from samtok_ros.runtime.grounding_stream import GroundingStream
from samtok_ros.runtime.records import FrameResult
from samtok_ros.runtime.shared import SharedRuntime
from samtok_ros.runtime.withdrawal import Withdrawal


class GroundingNode(PerceptionNode):
    """Grounds the standing goal in the newest image, again and again, and answers requests."""

    def __init__(self, runtime: SharedRuntime) -> None:
        super().__init__('grounding', runtime)
        self._stream = GroundingStream(runtime.worker, runtime.frames, self._publish_result,
                                       self.problems, self.statistics, self.ros_now_ns)
        self._withdrawal = Withdrawal(self._publish_result, runtime.frames)
        self._requests = RequestServers(self, self._clear_goal)
        self._model: GroundingModel | None = None
        self._words: OutputPublisher | None = None
        self._goals: RawSubscription | None = None
        self._images: ImageInput | None = None

    def set_up(self) -> None:
        """Load the vision-language model and create the outputs and the goal input."""
        self._model = make_backend(self.settings.model, self.settings.fake).load_grounding()
        self.warm_up(self._model.warm_up)
        self._stream.configure(self.settings, self._model)
        self._requests.configure(self._model)
        self._words = self.create_output(MaskWords, 'mask_words', results_qos())
        # Before the images and in their callback group: a goal that was delivered before an image
        # is handled before it.
        self._goals = RawSubscription(self, Goal, 'goal', self._on_goal, results_qos(),
                                      self.inputs, self.problems, 'bad_goal')
        self.get_logger().info(
            f'model {self._model.name} on {self._model.device}, mask tokenizer '
            f'{self._model.tokenizer_id}; {self._goals.topic} -> {self._words.topic}')

    def begin(self) -> None:
        """Take images."""
        if not self.settings.input.every_frame:  # There nobody goes by an answer for long.
            self.runtime.worker.add_stream(self._withdrawal.step)
        self._stream.open()
        self._requests.open()
        # Behind the requests: they take only images that come once they are open for the newest.
        self._images = self.take_images(self._on_frame)
        self.get_logger().info(f'images from {self._images.describe()}')

    def end(self) -> None:
        """Take no more images, and end what is being answered."""
        if self._images is not None:
            self._images.destroy()
            self._images = None
        requests_ended = self._requests.close('the node was deactivated')
        stream_ended = self._stream.close()
        if not (self.runtime.worker.remove_stream(self._withdrawal.step) and stream_ended
                and requests_ended):
            self.get_logger().warning('the model is still busy with one step')

    def tear_down(self) -> None:
        """Free the model and the outputs."""
        self._stream.release()
        self._withdrawal.forget()
        self._requests.release()
        self._model = None
        for part in (self._goals, self._words):
            if part is not None:
                part.destroy()
        self._goals = self._words = None

    def destroy_node(self) -> None:
        """Withdraw everything, the actions included."""
        self._requests.destroy()
        super().destroy_node()

    def settings_changed(self) -> None:
        """See PerceptionNode."""
        self._stream.change_settings(self.settings)
        self._requests.settings_changed()

    def time_jumped_back(self, newest_ns: int) -> None:
        """See PerceptionNode."""
        self._stream.time_jumped_back()
        self._requests.time_jumped_back()

    def interrupt(self) -> None:
        """See PerceptionNode."""
        self._requests.close('the node ends', INTERRUPT_S)

    def parts_health(self) -> Mapping[str, Health]:
        """See PerceptionNode."""
        goal = self._stream.goals.newest()
        return {
            'input': self.input_health(self._images),
            'inference': inference_health(self.statistics, self.problems, {
                'goals': self.statistics.total('goals'),
                'goal_id': goal.goal_id if goal else 0,
                'worker': self.worker_state(),
                'frames_waiting': self._stream.frames_waiting,
                'kept_megabytes': f'{self._model.kept_bytes / 1e6:.1f}',
            }, self.settings.max_rate_hz),
            'output': output_health(self.statistics, self.problems, self._words),
            'words': words_health(self.statistics, self.problems, self._goals),
            'requests': self._requests.health(),
            'model': model_health(self.settings.model, self._model.name, self._model.device,
                                  self._model.tokenizer_id, self._model.facts),
        }

    def _on_goal(self, message: Goal) -> None:
        text = goal_text(message)
        if has_markers(text):
            self.problems.report('goal_with_markers', 'the goal holds mask words or chat markers; '
                                 'they are read as ordinary text')
        if self._stream.goals.holds(text):
            # Behaviour trees say it again and again; the answer must not begin anew each time.
            self.statistics.count('goals')
            return
        goal = self._stream.set_goal(text, stamp_to_ns(message.header.stamp))
        self.statistics.count('goals')
        self.get_logger().info(f'goal {goal.goal_id}: ' + (
            f'{len(text)} characters' if text else 'cleared'))
        self.get_logger().debug(f'goal {goal.goal_id}: {text!r}')
        self.reporter.publish()

    def _clear_goal(self) -> None:
        self._withdrawal.clear(self._stream.goals.last_id)
        self._stream.clear_goal()

    def _on_frame(self, frame: Frame) -> None:
        self.runtime.frame_arrived(frame)
        self._stream.put_frame(frame)

    def _publish_result(self, result: FrameResult) -> None:
        self.statistics.tick('words_out')
        if result.complete:
            self.note_age(result)
        self._withdrawal.note(result)
        self._words.publish(result_to_words(result))


def main() -> int:
    """Run the node until it is told to stop; return the exit status."""
    return run(lambda: [GroundingNode(SharedRuntime())])
