# SPDX-License-Identifier: Apache-2.0
"""The mask tokenizer's network and its door for arrays, with small random weights."""

import hashlib
import json
import re
from copy import deepcopy

import numpy as np
import pytest
import torch
from small_networks import SMALL

from samtok_ros.errors import CheckpointError, ConfigError, DeviceError, ImageError, SpanError
from samtok_ros.image.transforms import resize_to_square
from samtok_ros.regions import NO_CODE
from samtok_ros.tokenizer.checkpoint import save_network
from samtok_ros.tokenizer.config import MaskTokenizerConfig
from samtok_ros.tokenizer.mask_tokenizer import MaskTokenizer
from samtok_ros.tokenizer.network import MaskTokenizerNetwork
from samtok_ros.tokenizer.records import DecodeOptions


@pytest.fixture(scope='module')
def network():
    torch.manual_seed(7)
    network = MaskTokenizerNetwork(SMALL)
    sam = network.sam
    # A fresh prompt encoder hardly moves with the mask; trained ones do.
    for part in (sam.sam_prompt_encoder.mask_downscaling, sam.sam_mask_encoder):
        for parameter in part.parameters():
            if parameter.ndim > 1:
                parameter.data *= 3
    # Entries where the embeddings are, or all masks would share one code.
    for codebook in network.quantizer.codebooks:
        codebook.weight.data[:256] *= 0.5
    return network.eval().requires_grad_(False)


@pytest.fixture(scope='module')
def tokenizer(network):
    return MaskTokenizer(network, 'small@test')


@pytest.fixture(scope='module')
def image_rgb():
    return np.random.default_rng(3).integers(0, 256, (48, 80, 3), np.uint8)


@pytest.fixture(scope='module')
def masks():
    masks = np.zeros((10, 48, 80), np.bool_)
    for index, mask in enumerate(masks):
        mask[index:index + 12 + index, 5 * index:5 * index + 20] = True
    return masks


def test_mask_tokenizer_when_it_computes_no_numbers_then_said_instead_of_empty_masks(
        network, image_rgb, masks):
    broken = deepcopy(network)
    broken.sam.no_mem_embed.data.fill_(float('nan'))  # part of every feature
    tokenizer = MaskTokenizer(broken, 'small@test')
    features = tokenizer.embed_image(image_rgb)
    for work in (lambda: tokenizer.decode(features, np.array([[1, 2]])),
                 lambda: tokenizer.encode(features, masks)):
        with pytest.raises(DeviceError, match='computes what is no number'):
            work()


def test_codes_when_encoded_have_published_form(tokenizer, image_rgb, masks):
    codes = tokenizer.encode(tokenizer.embed_image(image_rgb), masks)
    assert codes.shape == (10, 2)
    assert codes.dtype == np.int64
    assert codes.min() >= 0
    assert codes.max() < 256
    assert len({tuple(pair) for pair in codes}) > 1


def test_encode_when_one_or_ten_masks_gives_equal_codes(tokenizer, image_rgb, masks):
    features = tokenizer.embed_image(image_rgb)
    together = tokenizer.encode(features, masks)
    alone = np.concatenate([tokenizer.encode(features, mask[None]) for mask in masks])
    np.testing.assert_array_equal(together, alone)


def test_decode_when_one_or_many_gives_equal_logits(tokenizer, image_rgb):
    features = tokenizer.embed_image(image_rgb)
    codes = np.array([[0, 0], [255, 3], [17, 255]])
    together = tokenizer.decode(features, codes)
    for index, pair in enumerate(codes):
        alone = tokenizer.decode(features, pair[None])
        np.testing.assert_allclose(together.low_res_logits[index], alone.low_res_logits[0],
                                   atol=1e-4)
        np.testing.assert_allclose(together.scores[index], alone.scores[0], atol=1e-5)
    assert together.masks.shape == (3, 48, 80)
    assert together.masks.dtype == np.bool_
    assert together.low_res_logits.shape == (3, 1, 16, 16)


def test_decode_when_first_code_only_differs_from_second_code_zero(tokenizer, image_rgb):
    features = tokenizer.embed_image(image_rgb)
    coarse = tokenizer.decode(features, np.array([[5]]))
    zero = tokenizer.decode(features, np.array([[5, 0]]))
    assert not np.allclose(coarse.low_res_logits, zero.low_res_logits)


def test_decode_when_second_code_is_missing_leaves_it_out_or_takes_entry_zero(
    tokenizer, image_rgb
):
    features = tokenizer.embed_image(image_rgb)
    codes = np.array([[5, NO_CODE], [17, 3]])
    meant = tokenizer.decode(features, codes)
    published = tokenizer.decode(features, codes, DecodeOptions(missing_as_zero=True))
    alone = tokenizer.decode(features, np.array([[5], [17]])).low_res_logits
    zero = tokenizer.decode(features, np.array([[5, 0], [17, 3]])).low_res_logits
    np.testing.assert_allclose(meant.low_res_logits[0], alone[0], atol=1e-4)
    np.testing.assert_array_equal(published.low_res_logits, zero)
    np.testing.assert_array_equal(meant.low_res_logits[1], published.low_res_logits[1])
    assert codes[0, 1] == NO_CODE, 'the argument stays as it is'


def test_decode_when_threshold_is_given_takes_it_instead_of_the_models(tokenizer, image_rgb):
    features = tokenizer.embed_image(image_rgb)
    codes = np.array([[5, 7]])
    model = tokenizer.decode(features, codes).masks
    np.testing.assert_array_equal(
        tokenizer.decode(features, codes, DecodeOptions(logit_threshold=0.5)).masks, model)
    zero = tokenizer.decode(features, codes, DecodeOptions(logit_threshold=0.0)).masks
    assert (zero & ~model).any()
    assert not (model & ~zero).any()


def test_candidates_when_asked_for_hold_the_mask_that_decode_keeps(tokenizer, image_rgb):
    features = tokenizer.embed_image(image_rgb)
    codes = np.array([[5, 7]])
    candidates = tokenizer.candidates(features, codes)
    assert candidates.low_res_logits.shape == (1, 3, 16, 16)
    best = candidates.low_res_logits[0, int(candidates.scores.argmax())]
    np.testing.assert_array_equal(tokenizer.decode(features, codes).low_res_logits[0, 0], best)


def test_bfloat16_when_masks_are_encoded_keeps_prompts_and_quantizer_in_float32(
    network, tokenizer, image_rgb, masks, monkeypatch
):
    seen = {}

    def watch(name, module, method):
        inner = getattr(module, method)

        def watched(*arguments):
            seen[name] = torch.is_autocast_enabled('cpu')
            return inner(*arguments)

        monkeypatch.setattr(module, method, watched)

    watch('prompts', network.sam, 'embed_mask_prompts')
    watch('mask encoder', network.sam, 'read_masks')
    watch('quantizer', network.quantizer, 'embeddings_to_codes')
    half = MaskTokenizer(network, 'small@test', dtype='bfloat16')
    codes = half.encode(half.embed_image(image_rgb), masks)
    assert seen == {'prompts': False, 'mask encoder': True, 'quantizer': False}
    expected = tokenizer.encode(tokenizer.embed_image(image_rgb), masks)
    assert (codes == expected).all(axis=1).mean() > 0.5


def test_encode_when_no_masks_and_decode_when_no_codes_give_nothing(tokenizer, image_rgb):
    features = tokenizer.embed_image(image_rgb)
    assert tokenizer.encode(features, np.zeros((0, 48, 80), np.bool_)).shape == (0, 2)
    decoded = tokenizer.decode(features, np.zeros((0, 2), np.int64))
    assert decoded.masks.shape == (0, 48, 80)
    assert decoded.scores.shape == (0,)


def test_embeddings_when_antialias_or_box_is_changed_move(network, image_rgb, masks):
    """Guards against leaving out a step in silence."""
    sam = network.sam
    pixels = torch.zeros(1, 3, 64, 64)
    features = sam.embed_image(pixels).for_regions(torch.tensor([0]))
    mask = torch.as_tensor(masks[3:4, None].astype(np.float32))
    box = torch.tensor([[0.2, 0.1, 0.6, 0.5]])
    scale = {'size': (16, 16), 'mode': 'bilinear', 'align_corners': False}
    soft = torch.nn.functional.interpolate(mask, antialias=True, **scale)
    hard = torch.nn.functional.interpolate(mask, antialias=False, **scale)
    reference = sam.embed_masks(features, soft, box)
    assert not torch.allclose(reference, sam.embed_masks(features, hard, box), atol=1e-3)
    assert not torch.allclose(reference, sam.embed_masks(features, soft, box * 0), atol=1e-3)


@pytest.mark.parametrize(('masks', 'error', 'text'), [
    (np.zeros((1, 48, 80), np.bool_), ImageError, 'no pixel in mask [0]'),
    (np.ones((1, 47, 80), np.bool_), ImageError, '(N, 48, 80) bool'),
    (np.ones((1, 48, 80), np.uint8), ImageError, 'uint8'),
    (np.ones((48, 80), np.bool_), ImageError, '(N, 48, 80)'),
])
def test_encode_when_masks_do_not_fit_says_what_came(tokenizer, image_rgb, masks, error, text):
    features = tokenizer.embed_image(image_rgb)
    with pytest.raises(error) as caught:
        tokenizer.encode(features, masks)
    assert text in str(caught.value)


@pytest.mark.parametrize(('codes', 'text'), [
    ([[0, 256]], '0..255'), ([[-1, 0]], '-1..0'), ([[1, 2, 3]], '(1, 3)'), ([5], '(1,)'),
    ([[1, -2]], '-2..1'),
])
def test_decode_when_codes_are_wrong_says_what_came(tokenizer, image_rgb, codes, text):
    with pytest.raises(SpanError) as caught:
        tokenizer.decode(tokenizer.embed_image(image_rgb), np.array(codes))
    assert text in str(caught.value)


@pytest.mark.parametrize('image', [
    np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3), np.float32),
    np.zeros((0, 4, 3), np.uint8),
])
def test_embed_image_when_form_is_wrong_raises(tokenizer, image):
    with pytest.raises(ImageError):
        tokenizer.embed_image(image)


def test_network_when_saved_and_loaded_gives_equal_codes(tmp_path, network, image_rgb, masks):
    save_network(network, tmp_path / 'toy')
    loaded = MaskTokenizer.load(tmp_path / 'toy')
    expected = MaskTokenizer(network, 'small@test')
    assert loaded.tokenizer_id.startswith('toy@')
    assert loaded.config == SMALL
    np.testing.assert_array_equal(loaded.encode(loaded.embed_image(image_rgb), masks),
                                  expected.encode(expected.embed_image(image_rgb), masks))


def test_image_when_mirrored_or_of_swapped_channels_then_as_its_copy(network):
    tokenizer = MaskTokenizer(network, 'small@test')
    side = tokenizer.config.image_size  # at which the image is not resized, and so not copied
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    masks = np.zeros((1, side, side), np.bool_)
    masks[:, 20:60, 10:90] = True
    for view in (image[..., ::-1], image[:, ::-1], np.asfortranarray(image)):
        features, same = tokenizer.embed_image(view), tokenizer.embed_image(view.copy())
        for mask_view in (masks[:, ::-1], masks[..., ::-1], masks.transpose(0, 2, 1)):
            np.testing.assert_array_equal(tokenizer.encode(features, mask_view),
                                          tokenizer.encode(same, mask_view.copy()))


def test_image_when_tall_then_resized_as_the_published_models_have_seen_it():
    y, x = np.mgrid[:960, :540]
    image = np.stack([x * 3 + y * 5, x // 16 * 37 + y // 16 * 91, x * y // 7], -1).astype(np.uint8)
    # Made with Pillow 12.1, before the order of its two passes changed for such sizes.
    assert hashlib.sha256(resize_to_square(image, 256)).hexdigest() == (
        '7bd3ebabe3b02a90f8b2b7cf1de1f79a1569f45ae050b57a49e512fe8bfc67b6')


def test_config_when_written_and_read_is_equal():
    assert MaskTokenizerConfig.from_json(SMALL.to_json()) == SMALL
    with pytest.raises(CheckpointError, match='typo'):
        MaskTokenizerConfig.from_json('{"typo": 1}')


@pytest.mark.parametrize(('text', 'problem'), [
    ('{', 'cannot be read'), ('[1, 2]', 'expected a JSON object, got list'),
    *((json.dumps({key: value}), f'{key} has a wrong value.* got {re.escape(repr(value))}')
      for key, value in [('image_size', None), ('latent_dim', '256'), ('latent_dim', 256.0),
                         ('transformer_heads', 0), ('logit_threshold', True), ('reads_prompts', 1),
                         ('trunk_stages', 3)]),
    ('{"trunk_stages": [1, null]}', 'trunk_stages has a wrong value'),
    ('{"trunk_window_spec": [8, 4]}', 'expected 4 windows, got 2'),
])
def test_config_when_a_file_is_damaged_then_the_error_names_what_is_wrong(text, problem):
    with pytest.raises((CheckpointError, ConfigError), match=problem):
        MaskTokenizerConfig.from_json(text)


def test_config_when_a_whole_number_stands_for_a_real_one_then_it_is_taken():
    assert MaskTokenizerConfig.from_json('{"logit_threshold": 0}').logit_threshold == 0


def test_config_when_global_block_opens_a_stage_is_refused():
    with pytest.raises(ConfigError, match='opens a stage'):
        MaskTokenizerConfig(trunk_global_att_blocks=(2,))


def test_tokenizer_when_dtype_or_device_is_wrong_says_so(network):
    with pytest.raises(ConfigError, match='float32'):
        MaskTokenizer(network, 'x', dtype='int8')
    with pytest.raises(ConfigError, match='float16 needs a GPU'):
        MaskTokenizer(network, 'x', dtype='float16')
    with pytest.raises(DeviceError, match='abacus'):
        MaskTokenizer(network, 'x', device='abacus')
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match='cuda'):
            MaskTokenizer(network, 'x', device='cuda')
