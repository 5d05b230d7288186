# SPDX-License-Identifier: Apache-2.0
"""Trains the byte-level text tokenizer of the small vision-language model.

It is a byte-level BPE with Qwen's chat markers, so that a model built on it uses the same classes
and files as the published ones. Mask words are never part of a text piece: they are taken out of
the training texts and added afterwards, as ordinary tokens at the very end.
"""

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from samtok_ros.words.vocabulary import MaskVocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD_TOKEN = '<|endoftext|>'
END_OF_TURN = '<|im_end|>'
CHAT_MARKERS = (
    PAD_TOKEN,
    '<|im_start|>',
    END_OF_TURN,
    '<|object_ref_start|>',
    '<|object_ref_end|>',
    '<|vision_start|>',
    '<|vision_end|>',
    '<|image_pad|>',
    '<|video_pad|>',
)

# The fixed parts of a mask list. Kept together by the pre-tokenizer they become one token each,
# where words and punctuation cut apart would cost ten: a third of the steps of a short answer.
MASK_LIST_LAYOUT = (
    '```json\n[{"mask_2d": "',
    '", "label": "',
    '"},\n{"mask_2d": "',
    '"}]\n```',
)

# And those of a scene graph.
SCENE_GRAPH_LAYOUT = (
    '```json\n[{"subject": {"mask_2d": "',
    '"}, "predicate": "',
    '", "object": {"mask_2d": "',
    '"}},\n{"subject": {"mask_2d": "',
    '"}}]\n```',
)
_LAYOUT = (*SCENE_GRAPH_LAYOUT, *MASK_LIST_LAYOUT)

# Seen this often in training whatever the texts are, as every question and mask list needs them.
_ALWAYS_LEARNT = (*_LAYOUT, 'user\n', 'assistant\n', 'No target.')
_ALWAYS_LEARNT_COUNT = 1000

# One optional blank before a word, single digits, runs of signs, line ends, other blanks.
_WORD_PIECES = r' ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|[\r\n]+|[^\S\r\n]+'

_MARKER = re.compile(r'<\|[a-z0-9_]+\|>')


def train_text_tokenizer(
    texts: Iterable[str], vocab_size: int, vocabulary: MaskVocabulary | None = None
) -> 'PreTrainedTokenizerFast':
    """Train a text tokenizer and add the chat markers and mask words.

    Token ids are, in this order: bytes and merged pieces, chat markers (special), mask words
    (ordinary, contiguous, last). The same texts give the same tokenizer.

    Args:
        texts: sample texts; markers and mask words in them are ignored.
        vocab_size: pieces to aim for, the 256 bytes included, markers and mask words not.
        vocabulary: the mask words to add; the published 256 x 2 when left out.
    Returns:
        A tokenizer of len(bytes and pieces) + 9 markers + all mask words.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.decoder = decoders.ByteLevel()
    pattern = '|'.join([*map(re.escape, _LAYOUT), _WORD_PIECES])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), behavior='isolated'),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=1,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator(_without_markers(texts), trainer)
    return _with_added_tokens(tokenizer, vocabulary or MaskVocabulary())


def _without_markers(texts: Iterable[str]) -> Iterator[str]:
    """Yield the stretches of text between markers and mask words, and the pieces always learnt."""
    for text in _ALWAYS_LEARNT:
        yield from [text] * _ALWAYS_LEARNT_COUNT
    for text in texts:
        yield from filter(None, _MARKER.split(text))


def _with_added_tokens(tokenizer, vocabulary: MaskVocabulary) -> 'PreTrainedTokenizerFast':
    from tokenizers import AddedToken
    from transformers import PreTrainedTokenizerFast

    tokenizer.add_special_tokens([AddedToken(m, special=True, normalized=False)
                                  for m in CHAT_MARKERS])
    tokenizer.add_tokens([AddedToken(word, special=False, normalized=False)
                          for word in vocabulary.words])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END_OF_TURN,
        pad_token=PAD_TOKEN,
        extra_special_tokens=[m for m in CHAT_MARKERS if m not in (PAD_TOKEN, END_OF_TURN)],
        clean_up_tokenization_spaces=False,
    )
