# SPDX-License-Identifier: Apache-2.0
"""Questions as token ids: what is learnt of them, how much each token counts, where to look."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from samtok_ros.training.code_targets import CodeTargets
from samtok_ros.training.question import Question
from samtok_ros.training.texts import About, SpanOf, Text, spans_in
from samtok_ros.words.vocabulary import MaskTokenIds, MaskVocabulary

PREFIX_TEXT = '<|im_start|>user\n<|vision_start|>'
PREFIX_END = '<|vision_end|>'
TURN_CHANGE = '<|im_end|>\n<|im_start|>assistant\n'
END_OF_TURN = '<|im_end|>'
NEXT_TURN = '<|im_end|>\n<|im_start|>user\n'
_LIST_TURNS = ('"},\n{"mask_2d": "', '"}]\n```', '"}},\n{"subject": {"mask_2d": "', '"}}]\n```')
_LIST_FAMILIES = ('single', 'several', 'categories', 'relative', 'rounds')


@dataclass(frozen=True)
class LossWeights:
    """Weights of the answer's tokens.

    Attributes:
        decision: tokens after which answers differ: the first one, and the one after a label.
        first_word, second_word: mask words.
        reply: words of a region answer.
        layout: tokens that follow from those before: brackets, labels, the end.
    """

    decision: float = 1.0
    first_word: float = 1.5
    second_word: float = 0.4
    reply: float = 1.0
    layout: float = 0.15


class QuestionWriter:
    """Writes questions as token ids, with weights and targets."""

    def __init__(self, text_tokenizer, targets: CodeTargets, weights: LossWeights):
        """Look up the ids of all markers.

        Args:
            text_tokenizer: a fast tokenizer with mask words.
            targets: soft targets of mask words.
            weights: of the answer's tokens.
        """
        self._backend = text_tokenizer.backend_tokenizer
        self._targets = targets
        self._weights = weights
        self.vocabulary = MaskVocabulary()
        self.ids = MaskTokenIds.from_text_tokenizer(text_tokenizer, self.vocabulary)
        self.pad_id = text_tokenizer.pad_token_id
        self.end_id = text_tokenizer.convert_tokens_to_ids(END_OF_TURN)
        # What may follow an item: another one, or the end of the list.
        self._list_turns = {self.token_ids(text)[0] for text in _LIST_TURNS}

    def vocabulary_ids(self) -> dict[str, int]:
        """Return the id of every token by its text."""
        return self._backend.get_vocab(with_added_tokens=True)

    def token_ids(self, text: str) -> list[int]:
        """Tokenize text that holds markers and mask words."""
        return self._backend.encode(text, add_special_tokens=False).ids

    def text(self, token_ids: Sequence[int]) -> str:
        """Return the text of token ids, markers and mask words included."""
        return self._backend.decode(list(token_ids), skip_special_tokens=False)

    def prompt_ids(self, question: Question, codes: np.ndarray) -> list[int]:
        """Token ids from behind the image up to where the answer starts.

        Args:
            question: to write.
            codes: (13, D) true codes by object id.
        """
        return self._write_prompt(question, codes).token_ids

    def write(self, question: Question, codes: np.ndarray, rng: np.random.Generator,
              ) -> 'WrittenQuestion':
        """Write a question with its answer."""
        spoken = {number for text in (question.reply, *(reply for _, reply in question.earlier))
                  for number in spans_in(text)}
        spans = {number: self._targets.draw(codes[number], rng) for number in sorted(spoken)}
        chosen = {number: span.codes for number, span in spans.items()}
        # What the model said in an earlier round comes back with the very words it was said in.
        prompt = self._write_prompt(question, {**dict(enumerate(codes)), **chosen}
                                    if question.earlier else codes)
        answer = self._write_text((*question.reply, END_OF_TURN), chosen)
        start = len(prompt.token_ids)
        written = WrittenQuestion(prompt.token_ids + answer.token_ids,
                                  [0.0] * start + self._answer_weights(answer))
        written.looks += [(place, [number]) for first, number in prompt.spans
                          for place in (first + 1, first + self._depth + 1)]
        # The place that decides what to answer should see what the answer is about.
        objects = self._whole_answer(question)
        if objects:
            written.looks.append((start - 1, objects))
        for first, last, numbers in answer.abouts:
            written.looks += [(start + place - 1, list(numbers)) for place in range(first, last)]
        for first, number in answer.spans:
            place = start + first + 1
            for level, distribution in enumerate(spans[number].distributions):
                written.words.append((place + level, level, distribution))
            # From the opening of the item to the first word: these predict the span.
            written.looks += [(place - k, [number]) for k in range(3)]
        return written

    def _write_prompt(self, question: Question, codes: Mapping | np.ndarray) -> 'WrittenText':
        rounds = [part for instruction, reply in question.earlier
                  for part in (*instruction, TURN_CHANGE, *reply, NEXT_TURN)]
        return self._write_text((*rounds, *question.instruction, TURN_CHANGE), codes)

    def _whole_answer(self, question: Question) -> list[int]:
        """Return the objects that an answer as a whole is about: those it names, or the first."""
        first = next((part for part in question.reply if isinstance(part, About)), None)
        if first is not None and question.family not in _LIST_FAMILIES:
            return list(first.object_ids)
        return list(dict.fromkeys(question.targets))

    @property
    def _depth(self) -> int:
        return self.vocabulary.codebook_depth

    def _write_text(self, text: Text, codes: Mapping | np.ndarray) -> 'WrittenText':
        """Tokenize stretches between spans; what stands in one stretch is tokenized together."""
        written = WrittenText()
        stretch: list[str | About] = []
        for part in (*text, None):
            if part is not None and not isinstance(part, SpanOf):
                stretch.append(part)
                continue
            self._write_stretch(stretch, written)
            stretch = []
            if part is not None:
                written.spans.append((len(written.token_ids), part.object_id))
                span = tuple(int(code) for code in codes[part.object_id])
                written.token_ids += self.token_ids(self.vocabulary.codes_to_words(span))
        return written

    def _write_stretch(self, parts: Sequence[str | About], written: 'WrittenText') -> None:
        texts = [part if isinstance(part, str) else part.text for part in parts]
        encoding = self._backend.encode(''.join(texts), add_special_tokens=False)
        base, start = len(written.token_ids), 0
        for part, text in zip(parts, texts, strict=True):
            end = start + len(text)
            places = [place for place, (left, right) in enumerate(encoding.offsets)
                      if left < end and right > start]
            if isinstance(part, About) and places:
                written.abouts.append((base + places[0], base + places[-1] + 1, part.object_ids))
            start = end
        written.token_ids += encoding.ids

    def _answer_weights(self, answer: 'WrittenText') -> list[float]:
        """Weight each token of an answer by how much it decides."""
        how = self._weights
        weights = [how.decision if token in self._list_turns else how.layout
                   for token in answer.token_ids]
        weights[0] = how.decision
        for first, last, _ in answer.abouts:
            weights[first:last] = [how.reply] * (last - first)
        for first, _ in answer.spans:
            weights[first + 1] = how.first_word
            weights[first + 2:first + self._depth + 1] = [how.second_word] * (self._depth - 1)
        return weights


@dataclass
class WrittenText:
    """A text as token ids.

    Attributes:
        token_ids: of everything.
        spans: place of the start word and object of each span.
        abouts: first and one past the last place, and the objects, of each stretch about them.
    """

    token_ids: list[int] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)
    abouts: list[tuple[int, int, tuple[int, ...]]] = field(default_factory=list)


@dataclass
class WrittenQuestion:
    """One question as token ids; places count from its first token."""

    token_ids: list[int]
    weights: list[float]
    words: list[tuple[int, int, np.ndarray]] = field(default_factory=list)
    looks: list[tuple[int, list[int]]] = field(default_factory=list)
