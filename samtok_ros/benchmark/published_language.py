# SPDX-License-Identifier: Apache-2.0
"""The language half of the published pipeline: the processor, `generate`, the words paired.

A re-creation from its description, for timing, on the same model object.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from samtok_ros.benchmark.script import ScriptedLogits
from samtok_ros.words.compatibility import pair_by_order

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin

MOST_TOKENS = 512
"""Of one answer, as in the published demo."""


@dataclass(frozen=True)
class PublishedAnswer:
    """What generating gave.

    Attributes:
        text: the answer, mask words in it.
        codes: (N, 2) int64, by the published pairing.
        choices: token that would have been said without the script, by position.
        first_token: moment when the first token was there, on the clock.
    """

    text: str
    codes: np.ndarray
    choices: Mapping[int, int]
    first_token: float


class PublishedLanguageModel:
    """Answers with the processor and the eager `generate` of transformers.

    Args:
        model: of transformers; it is shared with the side it is compared with.
        processor: the one that belongs to it.
        codebook_size: K.
        clock: seconds; on a GPU one that waits for the device first.
    Source: samtok-spec 2.4 and 3.2.
    """

    def __init__(self, model: 'PreTrainedModel', processor: 'ProcessorMixin',
                 codebook_size: int, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._model = model
        self._processor = processor
        self._codebook_size = codebook_size

    def answer(self, image_rgb: np.ndarray, text: str, script: Sequence[int]) -> PublishedAnswer:
        """Answer one turn about an image.

        Args:
            image_rgb: (H, W, 3) uint8.
            text: what is asked, regions in it as mask words.
            script: token ids that are said whatever the model would say; the last one ends the
                turn.
        """
        turn = {'role': 'user', 'content': [{'type': 'image'}, {'type': 'text', 'text': text}]}
        prompt = self._processor.apply_chat_template([turn], tokenize=False,
                                                     add_generation_prompt=True)
        inputs = self._processor(text=[prompt], images=[Image.fromarray(image_rgb)],
                                 return_tensors='pt').to(self._model.device)
        length = inputs['input_ids'].shape[1]
        moments, scripted = _Moments(self._clock), ScriptedLogits(script, length)
        with torch.inference_mode():
            ids = self._model.generate(
                **inputs, max_new_tokens=MOST_TOKENS, do_sample=False, streamer=moments,
                logits_processor=[scripted])
        said = self._processor.batch_decode(ids[:, length:], skip_special_tokens=True)[0]
        pairs = pair_by_order(said, self._codebook_size)
        return PublishedAnswer(said, np.array(pairs, np.int64).reshape(-1, 2), scripted.choices,
                               moments.seen[1])


class _Moments:
    """Notes when `generate` hands out tokens; the first time it is the prompt."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.seen: list[float] = []

    def put(self, _: torch.Tensor) -> None:
        """Note the moment."""
        self.seen.append(self._clock())

    def end(self) -> None:
        """Nothing is left to do."""
