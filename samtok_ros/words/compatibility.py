# SPDX-License-Identifier: Apache-2.0
"""Repair and pairing of damaged spans as the official demo does it, to reproduce its results.

`samtok decode --compatible` reads words this way, and draws NO_CODE as entry 0 as the demo does.
Two damaged spans can cancel out here and shift every pair behind them. Use span_parser for
everything but comparisons with published numbers.
"""

import re

from samtok_ros.regions import NO_CODE
from samtok_ros.words.vocabulary import MaskVocabulary

_CODE_WORD = re.compile(r'<\|mt_([0-9]{4})\|>')
_STRICT_SPAN = re.compile(r'<\|mt_start\|><\|mt_([0-9]{4})\|><\|mt_([0-9]{4})\|><\|mt_end\|>')
_REPAIRS = (
    # Words behind the second one are dropped.
    (r'(<\|mt_start\|>(?:<\|mt_[0-9]{4}\|>){2})(?:<\|mt_[0-9]{4}\|>)+<\|mt_end\|>',
     r'\1<|mt_end|>'),
    # A missing second word becomes the number 9999, which stands for no code.
    (r'(<\|mt_start\|><\|mt_[0-9]{4}\|>)<\|mt_end\|>', r'\1<|mt_9999|><|mt_end|>'),
    # The same where the end word is missing too.
    (r'(<\|mt_start\|><\|mt_[0-9]{4}\|>)(?!<\|mt_)', r'\1<|mt_9999|><|mt_end|>'),
)


def pair_by_order(text: str, codebook_size: int = MaskVocabulary.codebook_size) -> list[
    tuple[int, int]
]:
    """Return the pairs of codes that the official demo reads from an answer.

    An even number of words is paired in order of appearance, whatever the start and end words
    look like. Only an odd number leads to repairs, and then only well-formed spans count.

    Args:
        text: the answer; vocabularies of two levels only.
        codebook_size: K.
    Returns:
        (first, second) per mask. The first is the number of its word, unchecked, so it may be K or
        more; the second is NO_CODE if its word is not of the second level.
    Source: samtok-spec 2.4.
    """
    numbers = [int(number) for number in _CODE_WORD.findall(text)]
    pairs = list(zip(numbers[::2], numbers[1::2], strict=False))
    if len(numbers) % 2:
        for pattern, replacement in _REPAIRS:
            text = re.sub(pattern, replacement, text)
        pairs = [(int(first), int(second)) for first, second in _STRICT_SPAN.findall(text)]
    return [
        (first, second - codebook_size if second in range(codebook_size, 2 * codebook_size)
         else NO_CODE)
        for first, second in pairs
    ]
