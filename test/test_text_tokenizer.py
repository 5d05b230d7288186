# SPDX-License-Identifier: Apache-2.0
"""The small text tokenizer: order of ids, round trips, no mask word inside a text piece."""

import pytest

from samtok_ros.language.text_tokenizer import (
    CHAT_MARKERS,
    MASK_LIST_LAYOUT,
    train_text_tokenizer,
)
from samtok_ros.words.vocabulary import MaskVocabulary

SPAN = '<|mt_start|><|mt_0230|><|mt_0345|><|mt_end|>'


@pytest.fixture(scope='module')
def tokenizer():
    texts = [f'the red mug {SPAN} the red mug', f'<|im_start|>mask {SPAN}{SPAN}']
    return train_text_tokenizer(texts * 20, 400)


def test_ids_when_trained_then_pieces_markers_mask_words(tokenizer):
    words = MaskVocabulary().words
    ids = tokenizer.convert_tokens_to_ids([*CHAT_MARKERS, *words])
    assert ids == list(range(len(tokenizer) - len(ids), len(tokenizer)))
    assert len(words) == 514
    assert set(tokenizer.all_special_tokens) == set(CHAT_MARKERS)


def test_pieces_when_texts_hold_mask_words_then_none_is_learnt(tokenizer):
    added = tokenizer.get_added_vocab()
    pieces = [piece for piece in tokenizer.get_vocab() if piece not in added]
    assert not [piece for piece in pieces if '<|' in piece or 'mt_' in piece]


@pytest.mark.parametrize('text', [
    'the red mug', SPAN, f'{SPAN}{SPAN} ', 'Zebra  \n\n 42 «é» 🍎\t', '```json\n[{"mask_2d": "',
    f'```json\n[{{"mask_2d": "{SPAN}", "label": "a "}},'
    f'\n{{"mask_2d": "{SPAN}", "label": "b"}}]\n```',
])
def test_decode_when_encoded_then_same_text(tokenizer, text):
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_mask_list_when_encoded_then_layout_costs_one_token_each(tokenizer):
    head, label, _, tail = MASK_LIST_LAYOUT
    ids = tokenizer(f'{head}{SPAN}{label}the red mug{tail}').input_ids
    assert [tokenizer.decode([i]) for i in ids] == [
        head, '<|mt_start|>', '<|mt_0230|>', '<|mt_0345|>', '<|mt_end|>', label,
        'the', ' red', ' mug', tail]


def test_decode_when_special_tokens_are_skipped_then_mask_words_stay(tokenizer):
    ids = tokenizer(f'{SPAN}<|im_end|>').input_ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == SPAN


def test_train_when_repeated_then_same_tokenizer(tokenizer):
    again = train_text_tokenizer(['one two'] * 3, 300)
    same = train_text_tokenizer(['one two'] * 3, 300)
    assert again.get_vocab() == same.get_vocab()
