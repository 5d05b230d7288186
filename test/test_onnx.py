# SPDX-License-Identifier: Apache-2.0
"""The embedded mask tokenizer, exported: as torch computes it, without torch, and well refused."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from samtok_ros.errors import ImageError, SpanError
from samtok_ros.masks.scores import iou
from samtok_ros.onnx.load import OnnxSettings, load_onnx
from samtok_ros.onnx.manifest import (
    GRAPHS,
    MAX_REGIONS,
    Manifest,
)
from samtok_ros.regions import BoxPrompt, PointPrompt
from samtok_ros.tokenizer.records import DecodeOptions

ROOT = Path(__file__).resolve().parents[1]
CPU = OnnxSettings(device='cpu', threads=1)
HEIGHT, WIDTH = 90, 120


@pytest.fixture(scope='module')
def export_dir(exported_tabletop):
    return exported_tabletop / 'onnx' / 'float32'


@pytest.fixture(scope='module')
def ours(exported_tabletop):
    return load_onnx(exported_tabletop, CPU).model


@pytest.fixture(scope='module')
def theirs(exported_tabletop):
    from samtok_ros.tokenizer.mask_tokenizer import MaskTokenizer

    return MaskTokenizer.load(exported_tabletop)


@pytest.fixture(scope='module')
def table():
    picture = Image.open(ROOT / 'examples' / 'table.jpg').convert('RGB')
    return np.asarray(picture.resize((WIDTH, HEIGHT)))


@pytest.fixture(scope='module')
def features(ours, theirs, table):
    return ours.embed_image(table), theirs.embed_image(table)


def boxes_as_masks(count):
    """(count, HEIGHT, WIDTH) bool boxes of several sizes."""
    masks = np.zeros((count, HEIGHT, WIDTH), np.bool_)
    for index, mask in enumerate(masks):
        top, left = 2 * index % 50, 5 * index % 80
        mask[top:top + 8 + index, left:left + 20] = True
    return masks


def test_facts_when_exported_then_the_manifest_has_them(ours, theirs, export_dir):
    manifest = Manifest.load(export_dir)
    assert ours.tokenizer_id == theirs.tokenizer_id == manifest.tokenizer_id
    assert ours.config == theirs.config
    assert tuple(manifest.graphs) == GRAPHS
    assert manifest.graphs['mask_decoder'].inputs[-1].shape == ('regions', 2)
    assert manifest.graphs['mask_decoder'].outputs[0].shape == ('regions', 1, 64, 64)
    assert {'torch', 'onnx', 'onnxruntime'} <= set(manifest.versions)
    assert manifest.parity['codes_equal'] == manifest.parity['best_equal'] == 1
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_files_when_exported_then_nothing_tells_of_the_machine_and_nothing_is_resized(export_dir):
    for name in GRAPHS:
        model = onnx.load(export_dir / f'{name}.onnx')
        operators = {node.op_type for node in model.graph.node}
        assert not operators & {'Resize', 'Upsample', 'GridSample', 'Loop', 'If'}
        assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
        assert str(ROOT).encode() not in model.SerializeToString()


@pytest.mark.parametrize('count', [1, 2, 7, 20])
def test_codes_and_masks_when_without_torch_then_they_are_those_of_torch(
        ours, theirs, features, count):
    masks = boxes_as_masks(count)
    codes = theirs.encode(features[1], masks)
    np.testing.assert_array_equal(ours.encode(features[0], masks), codes)
    drawn, expected = ours.decode(features[0], codes), theirs.decode(features[1], codes)
    assert drawn.masks.dtype == np.bool_
    assert min(iou(a, b) for a, b in zip(drawn.masks, expected.masks, strict=True)) >= 0.999
    np.testing.assert_allclose(drawn.low_res_logits, expected.low_res_logits, atol=5e-3)
    np.testing.assert_allclose(drawn.scores, expected.scores, atol=1e-4)


def test_decode_when_there_are_more_regions_than_one_run_takes_then_they_are_run_in_parts(
        ours, theirs, features):
    codes = np.random.default_rng(0).integers(0, 256, (MAX_REGIONS + 3, 2))
    drawn, expected = ours.decode(features[0], codes), theirs.decode(features[1], codes)
    assert len(drawn.masks) == len(codes)
    np.testing.assert_allclose(drawn.scores, expected.scores, atol=1e-4)
    assert (drawn.masks != expected.masks).mean() < 1e-4


def test_decode_when_only_the_first_level_is_given_then_the_mask_is_that_of_torch(
        ours, theirs, features):
    codes = np.array([[3], [200]])
    np.testing.assert_allclose(ours.decode(features[0], codes).low_res_logits,
                               theirs.decode(features[1], codes).low_res_logits, atol=5e-3)


def test_prompts_when_drawn_then_the_masks_are_those_of_torch(ours, theirs, features):
    prompts = [PointPrompt(40.5, 30.0), BoxPrompt(10, 20, 60, 70), PointPrompt(100, 80),
               BoxPrompt(0, 0, WIDTH, HEIGHT), BoxPrompt(50, 50, 54, 53)]
    drawn, expected = (model.draw_prompts(f, prompts)
                       for model, f in zip((ours, theirs), features, strict=True))
    np.testing.assert_allclose(drawn.low_res_logits, expected.low_res_logits, atol=5e-3)
    np.testing.assert_allclose(drawn.scores, expected.scores, atol=1e-4)
    assert (drawn.masks != expected.masks).mean() < 1e-4


def test_stability_when_compared_then_its_options_are_those_of_the_torch_model(theirs):
    from samtok_ros.onnx.mask_tokenizer import STABILITY_DELTA, STABILITY_THRESHOLD

    decoder = theirs.network.sam.sam_mask_decoder
    assert decoder.dynamic_multimask_stability_delta == STABILITY_DELTA
    assert decoder.dynamic_multimask_stability_thresh == STABILITY_THRESHOLD


def test_results_when_nothing_is_asked_for_then_they_are_empty(ours, features):
    assert ours.encode(features[0], np.zeros((0, HEIGHT, WIDTH), np.bool_)).shape == (0, 2)
    assert ours.decode(features[0], np.zeros((0, 2), np.int64)).masks.shape == (0, HEIGHT, WIDTH)
    assert ours.draw_prompts(features[0], []).masks.shape == (0, HEIGHT, WIDTH)


def test_decode_when_options_are_given_then_they_mean_what_they_mean_with_torch(
        ours, theirs, features):
    codes = np.array([[3, -1], [200, 7]])
    drawn = []
    for options in (DecodeOptions(), DecodeOptions(missing_as_zero=True),
                    DecodeOptions(logit_threshold=-3.0)):
        mine, expected = (model.decode(f, codes, options)
                          for model, f in zip((ours, theirs), features, strict=True))
        np.testing.assert_allclose(mine.low_res_logits, expected.low_res_logits, atol=5e-3)
        assert (mine.masks != expected.masks).mean() < 1e-4
        drawn.append(mine.masks[0])
    assert all((drawn[0] != other).any() for other in drawn[1:])


@pytest.mark.parametrize('codes, text', [
    ([[-1, 3]], 'got -1..3'), ([[1, -2]], 'got -2..1'),
    ([[0, 256]], 'expected 0..255, got 0..256'), ([[1, 2, 3]], r'expected \(N, 1..2\)'),
    ([5, 6], 'wrong shape')])
def test_decode_when_codes_are_wrong_then_it_is_an_error_as_with_torch(
        ours, theirs, features, codes, text):
    for model, one in zip((ours, theirs), features, strict=True):
        with pytest.raises(SpanError, match=text):
            model.decode(one, np.array(codes))


def test_encode_when_masks_are_wrong_then_it_is_an_error(ours, features):
    for masks in (np.zeros((1, HEIGHT, WIDTH), np.bool_), np.ones((1, 5, 5), np.bool_),
                  np.ones((1, HEIGHT, WIDTH), np.uint8)):
        with pytest.raises(ImageError):
            ours.encode(features[0], masks)
    with pytest.raises(ImageError):
        ours.embed_image(np.zeros((4, 4), np.uint8))


def test_memory_when_features_are_held_then_it_is_counted(features):
    assert features[0].nbytes == features[1].nbytes > 0


def test_node_and_runtime_when_imported_and_run_then_torch_is_not_there(exported_tabletop):
    code = f"""
import sys
import numpy as np
from pathlib import Path
from samtok_ros.settings.shared import FakeSettings, ModelSettings
from samtok_ros.regions import PointPrompt
from samtok_ros.runtime.backend import make_backend
import samtok_ros.cli.build_engines, samtok_ros.onnx.build
try:
    import samtok_ros.nodes.mask_tokenizer
except ModuleNotFoundError as error:
    assert error.name == 'rclpy' or error.name.endswith('msg'), error
settings = ModelSettings(name={str(exported_tabletop)!r}, backend='onnx', device='cpu')
loaded = make_backend(settings, FakeSettings()).load_masks()
model = loaded.model
model.warm_up()
features = model.embed_image(np.zeros((48, 64, 3), np.uint8))
codes = model.encode(features, np.ones((1, 48, 64), np.bool_))
model.decode(features, codes)
model.draw_prompts(features, [PointPrompt(5, 5)])
heavy = ('torch', 'torchvision', 'transformers', 'sam2', 'onnx', 'huggingface_hub')
print([name for name in heavy if name in sys.modules], loaded.name, loaded.device)
"""
    done = subprocess.run([sys.executable, '-P', '-c', code], capture_output=True, text=True,
                          timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split('\n')[0] == '[] tabletop cpu'
