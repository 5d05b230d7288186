# SPDX-License-Identifier: Apache-2.0
"""What the fake model says: made up from image, instruction and history, the same each time.

A few words in the question choose what the answer looks like:

    nothing               nothing fits
    one ... four, many    so many regions, 40 for many
    malformed             one span more, which is none

Without a number a goal finds one to three regions, and a question names none. The trained tasks are
answered in their own form: a grounded caption, a mask list, a letter, a scene graph.
"""

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from samtok_ros.language.prompts import PROMPTS
from samtok_ros.runtime.backend import Question
from samtok_ros.words.answers import NO_TARGET, MaskItem, format_mask_list
from samtok_ros.words.vocabulary import MaskVocabulary

VOCABULARY = MaskVocabulary()
_NUMBERS = {'one': 1, 'two': 2, 'three': 3, 'four': 4, 'many': 40}
_COLOURS = ('red', 'green', 'blue', 'yellow', 'orange', 'purple', 'black', 'white')


def pieces_of_answer(image_rgb: np.ndarray, question: Question, flood: str) -> Iterator[str]:
    """Return the answer piece by piece, each as long as a token.

    Args:
        image_rgb: (H, W, 3) uint8; another image gives another answer.
        question: another instruction or history gives another answer too.
        flood: 'none', or what the answer never stops to be full of: 'text', 'masks', 'malformed'.
    """
    return _pieces(_flood(flood) if flood != 'none' else [_answer_text(image_rgb, question)])


def _answer_text(image_rgb: np.ndarray, question: Question) -> str:
    text = question.phrase or ''.join(
        part if isinstance(part, str) else '' for part in question.instruction)
    words = text.lower().replace('?', ' ').split()
    if 'nothing' in words:
        return NO_TARGET
    digest = hashlib.sha256(np.ascontiguousarray(image_rgb).tobytes() + repr(
        (question.instruction, question.history)).encode(errors='replace')).digest()
    number = next((_NUMBERS[word] for word in words if word in _NUMBERS), 0)
    say, usual_count = (_mask_list, 1 + digest[0] % 3) if question.phrase else _form_of(text)
    count = number or usual_count
    codes = np.frombuffer(hashlib.shake_256(digest).digest(2 * count), np.uint8).reshape(-1, 2)
    malformed = f' {_malformed_span(7)}' if 'malformed' in words else ''
    return say(codes.tolist(), text, digest) + malformed


def _form_of(text: str) -> tuple[Callable[[list[list[int]], str, bytes], str], int]:
    """Return what answers an instruction that is no goal, and how many regions it names."""
    if text in (*PROMPTS['brief_caption'], *PROMPTS['detailed_caption']):
        return _caption, 2
    if text.endswith(PROMPTS['scene_graph']):
        return _scene_graph, 2
    if names := _detected(text):
        return _detections, len(names)
    if '\nOptions:\n' in text:
        return _letter, 0
    return _prose, 0


def _caption(codes: list[list[int]], question: str, digest: bytes) -> str:
    named = ' and'.join(
        f' <|object_ref_start|> {colour} thing <|object_ref_end|> {VOCABULARY.codes_to_words(pair)}'
        for colour, pair in zip(itertools.cycle(_COLOURS), codes))
    return f'It shows{named}.'


def _detected(question: str) -> list[str]:
    """Return the names in a detection prompt; none when it is another question."""
    begin, end = PROMPTS['categories'][0].split('{names}')
    if not (question.startswith(f'{begin}["') and question.endswith(f'"]{end}')):
        return []
    return question[len(begin) + 2:-len(end) - 2].split('", "')


def _detections(codes: list[list[int]], question: str, digest: bytes) -> str:
    names = [name.replace('<', '< ') for name in _detected(question)]
    return format_mask_list([MaskItem((first, second), name) for (first, second), name in zip(
        codes, itertools.cycle(names))])


def _scene_graph(codes: list[list[int]], question: str, digest: bytes) -> str:
    ends = [{'mask_2d': VOCABULARY.codes_to_words(pair), 'label': f'{colour} thing'}
            for colour, pair in zip(itertools.cycle(_COLOURS), codes)]
    triplets = [json.dumps({'subject': first, 'predicate': 'beside', 'object': second})
                for first, second in itertools.pairwise(ends)]
    return '```json\n[' + ',\n'.join(triplets) + ']\n```'


def _letter(codes: list[list[int]], question: str, digest: bytes) -> str:
    letters = re.findall(r'^([A-Z])\. ', question.partition('\nOptions:\n')[2], re.MULTILINE)
    return letters[digest[1] % len(letters)] if letters else 'A'


def _mask_list(codes: list[list[int]], goal: str, digest: bytes) -> str:
    label = goal.replace('<|', '< |')[:200]
    return format_mask_list([MaskItem((first, second), label) for first, second in codes])


def _prose(codes: list[list[int]], question: str, digest: bytes) -> str:
    spans = [VOCABULARY.codes_to_words(pair) for pair in codes]
    named = f' I mean {" and ".join(spans)}.' if spans else ''
    return f'It is {_COLOURS[digest[1] % len(_COLOURS)]}.{named}'


def _flood(kind: str) -> Iterator[str]:
    """Never end; only a limit or a cancel does."""
    for number in itertools.count():
        code = number % VOCABULARY.codebook_size
        if kind == 'text':
            yield f' and {number}'
        else:
            yield ' ' + (_malformed_span(code) if kind == 'malformed'
                         else VOCABULARY.codes_to_words((code, code)))


def _malformed_span(code: int) -> str:
    return f'{VOCABULARY.start_word}{VOCABULARY.word(0, code)}{VOCABULARY.end_word}'


def _pieces(texts: Iterable[str]) -> Iterator[str]:
    """Cut texts as a text tokenizer would: markers whole, the rest in words."""
    for text in texts:
        cut = text.replace('<|', '\0<|').replace('|>', '|>\0').replace(' ', '\0 ').split('\0')
        yield from filter(None, cut)
