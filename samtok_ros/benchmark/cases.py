# SPDX-License-Identifier: Apache-2.0
"""The work that is timed, for one number of masks and one size of image."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from samtok_ros.benchmark.agreement import (
    choices_differ,
    codes_differ,
    index_differs,
    masks_differ,
    texts_differ,
)
from samtok_ros.benchmark.interleave import Case, Comparison, Outcome, Share
from samtok_ros.benchmark.published_language import PublishedLanguageModel
from samtok_ros.benchmark.published_masks import PublishedMaskTokenizer
from samtok_ros.benchmark.script import mask_list, script_of
from samtok_ros.benchmark.sides import (
    FIRST_MASK,
    FIRST_WORD,
    Found,
    OurSide,
    PublishedSide,
    Said,
)
from samtok_ros.benchmark.subjects import Subject
from samtok_ros.evaluation.synthetic_network import synthetic_image
from samtok_ros.runtime.backend import MaskModel
from samtok_ros.tokenizer.mask_tokenizer import DecodedMasks, MaskTokenizer

_SAID_OF_A_REGION = 'It is red.'


@dataclass(frozen=True)
class Inputs:
    """One image that no side has seen, and the masks that are looked for in it.

    Attributes:
        number: of the repetition.
        image_rgb: (H, W, 3) uint8.
        masks: (N, H, W) bool.
        features: of the image, by our mask tokenizer.
        codes: (N, D) int64 of the masks.
        script: tokens of the answer that names them; empty where nothing is said.
    """

    number: int
    image_rgb: np.ndarray
    masks: np.ndarray
    features: object
    codes: np.ndarray
    script: list[int]


class Bench:
    """Both sides on one subject, and the cases that can be made of them.

    Args:
        subject: what is measured.
        clock: seconds; on a GPU one that waits for the device first.
    """

    def __init__(self, subject: Subject, clock: Callable[[], float]) -> None:
        self._subject = subject
        short, language = subject.dtype != 'float32', subject.language
        published = ours = None
        if language is not None:
            published = PublishedLanguageModel(language.model, language.processor,
                                               subject.network.config.codebook_size, clock)
            ours = language.ours
        self.published = {
            name: PublishedSide(PublishedMaskTokenizer(subject.network, once, short), published,
                                clock)
            for name, once in (('A', False), ('A2', True))}
        self.ours = OurSide(subject.masks, ours, clock)
        # In short numbers rounding hides small mistakes: the same weights are compared in float32
        # too. Without the copies of A, whose memory could be too much there.
        self._exact = None if not short else (
            PublishedMaskTokenizer(subject.network, True, False),
            MaskTokenizer(subject.network, subject.masks.tokenizer_id, subject.device))

    def decode(self, masks: int, size_hw: tuple[int, int]) -> Case:
        """Codes to masks: an image that was not seen before, and one whose features are kept."""
        def published(name: str) -> Callable[[Inputs], Outcome]:
            tokenizer = self.published[name].masks
            return lambda inputs: Outcome(tokenizer.decode(inputs.image_rgb, inputs.codes))

        ours = self._subject.masks
        variants = {
            'A': published('A'), 'A2': published('A2'),
            'B': lambda inputs: Outcome(
                ours.decode(ours.embed_image(inputs.image_rgb), inputs.codes)),
            'B hot': lambda inputs: Outcome(ours.decode(inputs.features, inputs.codes))}
        return Case(masks, size_hw, self._prepare(masks, size_hw), variants, self._decode_differs, (
            Comparison('cold', {'A': 'A', 'A2': 'A2', 'B': 'B'}),
            Comparison('hot', {'A': 'A', 'A2': 'A2', 'B': 'B hot'})))

    def find(self, masks: int, size_hw: tuple[int, int]) -> Case:
        """A goal to masks, with the model that speaks; and the moment of the first mask."""
        variants = {name: lambda inputs, side=side: Outcome(
                        side.find(inputs.image_rgb, inputs.script))
                    for name, side in self.published.items()}
        variants['B'] = lambda inputs: self.ours.find(inputs.image_rgb, inputs.script)
        sides = {'A': 'A', 'A2': 'A2', 'B': 'B'}
        return Case(masks, size_hw, self._prepare(masks, size_hw), variants, self._found_differs,
                    (Comparison('goal', sides), Comparison(FIRST_MASK, sides, FIRST_MASK)))

    def follow_up(self, size_hw: tuple[int, int]) -> Case:
        """A question about an image whose goal was answered before."""
        vocabulary, script = self._subject.vocabulary, self._script(_SAID_OF_A_REGION)
        prepare = self._prepare(1, size_hw)

        def prepare_with_goal(number: int) -> Inputs:
            inputs = prepare(number)
            self.ours.find(inputs.image_rgb, inputs.script, number)
            return inputs

        published = self.published['A']
        variants = {
            'A': lambda inputs: published.ask(inputs.image_rgb, inputs.codes[0], vocabulary,
                                              script),
            'B': lambda inputs: self.ours.ask(inputs.image_rgb, inputs.codes[0], script,
                                              inputs.number)}
        sides = {'A': 'A', 'B': 'B'}
        return Case(1, size_hw, prepare_with_goal, variants, lambda _, outcomes: list(
            self._said_differs('A', outcomes['A'].result, outcomes['B'].result)), (
            Comparison('follow-up', sides), Comparison(FIRST_WORD, sides, FIRST_WORD)))

    def messages(self, masks: int, size_hw: tuple[int, int], path) -> Case:
        """A serialised image to serialised masks, through the conversions of the nodes.

        Args:
            masks: N.
            size_hw: of the image.
            path: MessagePath of nodes/bench_messages.py.
        """
        def published(side: PublishedSide) -> Callable[[tuple[Inputs, bytes]], Outcome]:
            def run(inputs: tuple[Inputs, bytes]) -> Outcome:
                frame = path.image_in(inputs[1])
                found = side.find(frame.image_rgb(), inputs[0].script)
                path.masks_out(frame, found.codes, found.masks != 0)
                return Outcome(found)
            return run

        def ours(inputs: tuple[Inputs, bytes]) -> Outcome:
            frame = path.image_in(inputs[1])
            outcome = self.ours.find(frame.image_rgb(), inputs[0].script)
            found = outcome.result
            path.words_through(frame, found.codes, found.said.text)
            path.masks_out(frame, found.codes, found.masks)
            return outcome

        prepare = self._prepare(masks, size_hw)

        def prepare_message(number: int) -> tuple[Inputs, bytes]:
            inputs = prepare(number)
            return inputs, path.image_message(inputs.image_rgb, number + 1)

        return Case(masks, size_hw, prepare_message,
                    {'A': published(self.published['A']), 'B': ours},
                    lambda inputs, outcomes: self._found_differs(inputs[0], outcomes),
                    (Comparison('messages', {'A': 'A', 'B': 'B'}),))

    def _prepare(self, masks: int, size_hw: tuple[int, int]) -> Callable[[int], Inputs]:
        def prepare(number: int) -> Inputs:
            image_rgb = synthetic_image(*size_hw, key=number)
            wanted = ellipses(masks, size_hw)
            features = self._subject.masks.embed_image(image_rgb)
            codes = self._subject.masks.encode(features, wanted)
            text = mask_list(codes, self._subject.vocabulary)
            script = self._script(text) if self._subject.language else []
            return Inputs(number, image_rgb, wanted, features, codes, script)

        return prepare

    def _script(self, text: str) -> list[int]:
        tokenizer = self._subject.language.processor.tokenizer
        return script_of(text, tokenizer, tokenizer.eos_token_id)

    def _decode_differs(
        self, inputs: Inputs, outcomes: Mapping[str, Outcome],
    ) -> list[str | Share]:
        dtype = self._subject.dtype
        ours: DecodedMasks = outcomes['B'].result
        found = [*self._exact_differs(inputs),
                 *masks_differ('B hot', outcomes['B hot'].result.masks, ours.masks, dtype)]
        index = _index(self._subject.masks, inputs.features, inputs.codes)
        for name in ('A', 'A2'):
            theirs = outcomes[name].result
            codes = self.published[name].masks.encode(theirs.maps, inputs.masks)
            found += codes_differ(name, codes, inputs.codes, dtype)
            found += masks_differ(name, theirs.masks, ours.masks, dtype)
            if index is not None:
                found += index_differs(name, theirs.index, index, dtype)
        return found

    def _exact_differs(self, inputs: Inputs) -> Iterator[str | Share]:
        """Compare in float32, once per case, what is timed in another format."""
        if self._exact is None or inputs.number:
            return
        published, ours = self._exact
        features = ours.embed_image(inputs.image_rgb)
        codes = ours.encode(features, inputs.masks)
        theirs = published.decode(inputs.image_rgb, codes)
        name = 'A2 in float32'
        yield from codes_differ(name, published.encode(theirs.maps, inputs.masks), codes)
        yield from masks_differ(name, theirs.masks, ours.decode(features, codes).masks)
        yield from index_differs(name, theirs.index, _index(ours, features, codes))

    def _found_differs(
        self, inputs: Inputs, outcomes: Mapping[str, Outcome],
    ) -> list[str | Share]:
        ours = outcomes['B'].result
        found = [*self._exact_differs(inputs),
                 *codes_differ('the script', inputs.codes, ours.codes)]
        for name in self.published.keys() & outcomes.keys():
            found += self._one_differs(name, outcomes[name].result, ours)
        return found

    def _one_differs(self, name: str, theirs: Found, ours: Found) -> Iterator[str | Share]:
        yield from self._said_differs(name, theirs.said, ours.said)
        yield from codes_differ(name, theirs.codes, ours.codes)
        yield from masks_differ(name, theirs.masks, ours.masks, self._subject.dtype)

    def _said_differs(self, name: str, theirs: Said, ours: Said) -> Iterator[str | Share]:
        ids = self._subject.language.ours.token_ids
        yield from texts_differ(name, theirs.text, ours.text)
        yield from choices_differ(name, theirs.choices, ours.choices,
                                  range(ids.start_id, ids.end_id + 1),
                                  self._subject.language.dtype)


def _index(masks: MaskModel, features: object, codes: np.ndarray) -> np.ndarray | None:
    """Return our choice among the candidates, of backends that tell."""
    if not isinstance(masks, MaskTokenizer):
        return None
    return masks.candidates(features, codes).scores.argmax(dim=1).cpu().numpy()


def ellipses(count: int, size_hw: tuple[int, int]) -> np.ndarray:
    """Return (N, H, W) bool masks of ellipses of different places and shapes."""
    height, width = size_hw
    rng = np.random.default_rng(count)
    y, x = np.mgrid[0:height, 0:width]
    masks = np.empty((count, height, width), np.bool_)
    for mask in masks:
        centre_y, centre_x = rng.uniform(0.2, 0.8, 2) * size_hw
        radius_y, radius_x = rng.uniform(0.06, 0.18, 2) * min(size_hw)
        mask[...] = ((y - centre_y) / radius_y) ** 2 + ((x - centre_x) / radius_x) ** 2 <= 1
    return masks

