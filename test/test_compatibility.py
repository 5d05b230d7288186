# SPDX-License-Identifier: Apache-2.0
"""Pairing as in the official demo, its odd results included."""
import numpy as np
import pytest
from PIL import Image

from samtok_ros.cli.files import load_image, load_mask
from samtok_ros.cli.main import main
from samtok_ros.cli.spans import read_words, read_words_by_order
from samtok_ros.errors import ConfigError
from samtok_ros.regions import NO_CODE
from samtok_ros.tokenizer.mask_tokenizer import MaskTokenizer
from samtok_ros.tokenizer.records import DecodeOptions
from samtok_ros.words.compatibility import pair_by_order
from samtok_ros.words.vocabulary import MaskVocabulary

LETTERS = {'S': '<|mt_start|>', 'E': '<|mt_end|>', 'a': '<|mt_0230|>', 'b': '<|mt_0345|>',
           'c': '<|mt_0007|>', 'x': '<|mt_0600|>'}


def spell(short):
    return ''.join(LETTERS.get(letter, letter) for letter in short)


CASES = [
    ('no mask', [], 'no words'),
    ('SabE', [(230, 89)], 'well formed'),
    ('ab', [(230, 89)], 'even: start and end words do not matter'),
    ('SaE ScE', [(230, NO_CODE)], 'even: two damaged spans become one pair'),
    ('SaE SabE ScE', [(230, NO_CODE), (345, NO_CODE)], 'even: every pair behind shifts'),
    ('SabcE', [(230, 89)], 'odd: words behind the second are dropped'),
    ('SabE SaE', [(230, 89), (230, NO_CODE)], 'odd: missing second word'),
    ('SabE Sa', [(230, 89), (230, NO_CODE)], 'odd: missing second word and end word'),
    ('SabE Sa, SabE', [(230, 89), (230, NO_CODE), (230, 89)], 'odd: the same in the middle'),
    ('SabE a', [(230, 89)], 'odd: a stray word is ignored after repair'),
    ('SxbE', [(600, 89)], 'the first number is not checked'),
    ('SaxE', [(230, NO_CODE)], 'the second number is'),
    ('SacE', [(230, NO_CODE)], 'a second word of the first level is no code'),
]


@pytest.mark.parametrize(('short', 'pairs', 'why'), CASES, ids=[c[2] for c in CASES])
def test_pair_by_order_when_text_of_table_then_pairs_of_the_demo(short, pairs, why):
    assert pair_by_order(spell(short)) == pairs


@pytest.fixture(scope='module')
def picture(tmp_path_factory, image_rgb):
    path = tmp_path_factory.mktemp('compatible') / 'scene.png'
    Image.fromarray(image_rgb).save(path)
    return path


def decoded(picture, model_dir, out, *arguments):
    """Run `samtok decode`; return its status and the masks it wrote."""
    status = main(['decode', str(picture), *arguments, '--model', str(model_dir), '--out',
                   str(out)])
    return status, [load_mask(path, (240, 320)) for path in sorted(out.glob('*.png'))]


def test_decode_when_compatible_draws_what_the_demo_draws(picture, tiny_model_dir, tmp_path):
    tokenizer = MaskTokenizer.load(tiny_model_dir)
    features = tokenizer.embed_image(load_image(picture))
    low = '--logit-threshold=-5'  # random weights draw nothing above 0.5
    options = DecodeOptions(logit_threshold=-5.0)
    for way, codes in (('--compatible', [[230, 0], [230, 89]]), ('--by-order', [[230, NO_CODE]])):
        text = spell('SaE SabE') if way == '--compatible' else spell('SaE')
        status, masks = decoded(picture, tiny_model_dir, tmp_path / way, text, way, low)
        assert status == 0
        expected = tokenizer.decode(features, np.array(codes), options).masks
        np.testing.assert_array_equal(masks, expected)


def test_decode_when_strict_refuses_what_the_demo_guesses(
    picture, tiny_model_dir, tmp_path, capsys
):
    assert decoded(picture, tiny_model_dir, tmp_path / 'out', spell('SaE'))[0] == 2
    assert 'malformed span' in capsys.readouterr().err
    for way in ('--compatible', '--by-order'):
        assert decoded(picture, tiny_model_dir, tmp_path / 'out', 'none', way)[0] == 2
        assert 'there are no mask words' in capsys.readouterr().err


def test_words_when_well_formed_are_read_alike_in_either_way():
    text = f'the mug {spell("SabE")} and {spell("SabE")}'
    vocabulary = MaskVocabulary()
    assert read_words(text, vocabulary) == read_words_by_order(text, vocabulary)


def test_words_when_not_in_pairs_cannot_be_read_by_order():
    with pytest.raises(ConfigError, match='3 levels'):
        read_words_by_order(spell('SabE'), MaskVocabulary(codebook_depth=3))
