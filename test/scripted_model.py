# SPDX-License-Identifier: Apache-2.0
"""A model whose answers are written by hand."""
from types import SimpleNamespace

import numpy as np

from samtok_ros.language.generation import Finished, SpanClosed
from samtok_ros.words.span_parser import SpanParser
from samtok_ros.words.vocabulary import MaskVocabulary

VOCABULARY = MaskVocabulary()


class PerfectTokenizer:
    """Remembers every mask it is shown; the second code is its number."""

    tokenizer_id = 'perfect@0'
    config = SimpleNamespace(codebook_size=256, codebook_depth=2)

    def __init__(self):
        self.masks, self.embedded = [], 0

    def embed_image(self, image_rgb):
        self.embedded += 1
        return image_rgb

    def encode(self, features, masks):
        self.masks += list(masks)
        first = len(self.masks) - len(masks)
        return np.array([(0, first + number) for number in range(len(masks))])

    def decode(self, features, codes):
        masks = np.stack([self.masks[code] for _, code in codes])
        return SimpleNamespace(masks=masks, scores=np.ones(len(masks), np.float32))


class ScriptedModel:
    """Answers by heart; a text of the instruction that is not in the script is a mistake."""

    vocabulary = VOCABULARY

    def __init__(self, script):
        self.script, self.heard, self.remembered = script, [], ()

    def generate(self, image_rgb, instruction, limits=None, should_stop=None, *, history=(),
                 image_key=None):
        self.heard.append(instruction)
        self.remembered = history or self.remembered
        said = self.script[''.join(
            part if isinstance(part, str) else f'<{part.codes[1]}>' for part in instruction)]
        text, reason = (said, 'stop') if isinstance(said, str) else said
        for span in SpanParser(VOCABULARY).parse(text).spans:
            yield SpanClosed(span.codes, 0.9, span.start)
        yield Finished(text, reason, 3)


def listed(*numbers):
    """Write the answer that names masks by their order of encoding, from 0."""
    spans = [VOCABULARY.codes_to_words((0, number)) for number in numbers]
    items = ',\n'.join(f'{{"mask_2d": "{span}", "label": "it"}}' for span in spans)
    return f'```json\n[{items}]\n```'
