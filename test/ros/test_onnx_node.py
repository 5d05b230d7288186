# SPDX-License-Identifier: Apache-2.0
"""The mask tokenizer node with backend onnx: torch's masks without torch, and clear refusals."""

from pathlib import Path

import numpy as np
import pytest
from harness import CONFIGURE, START_NS, Scene, image_message, stamp_ns
from mask_bench import MaskBench
from PIL import Image

from samtok_ros.masks.rle import rle_to_mask
from samtok_ros.masks.scores import iou
from samtok_ros.msg import MaskWords

TABLE = Path(__file__).resolve().parents[2] / 'examples' / 'table.jpg'
ONNX = {'model.backend': 'onnx', 'model.device': 'cpu', 'autostart': True}
HEIGHT, WIDTH = 120, 160


@pytest.fixture(scope='module')
def table_rgb():
    """(HEIGHT, WIDTH, 3) uint8: a picture that the embedded model understands."""
    return np.asarray(Image.open(TABLE).convert('RGB').resize((WIDTH, HEIGHT)))


def test_masks_when_the_node_runs_without_torch_then_they_are_those_of_torch(
        world, exported_tabletop, table_rgb):
    from samtok_ros.tokenizer.mask_tokenizer import MaskTokenizer

    torch_model = MaskTokenizer.load(exported_tabletop)
    codes = np.random.default_rng(1).integers(0, 256, (5, 2))
    expected = torch_model.decode(torch_model.embed_image(table_rgb), codes)

    bench = MaskBench(world, **ONNX, **{'model.name': exported_tabletop})
    bench.images.publish(image_message(START_NS, table_rgb))
    bench.say(START_NS, *codes.tolist(), tokenizer_id=torch_model.tokenizer_id, height=HEIGHT,
              width=WIDTH)
    masks = bench.masks_of(START_NS).masks
    assert len(masks) == len(codes)
    for mask, wanted, score in zip(masks, expected.masks, expected.scores, strict=True):
        assert iou(rle_to_mask(np.array(mask.rle), (HEIGHT, WIDTH)), wanted) >= 0.999
        assert mask.mask_score == pytest.approx(score, abs=1e-4)
    mapped = Path(f'/proc/{bench.program.process.pid}/maps').read_text()
    assert 'onnxruntime' in mapped
    assert 'libtorch' not in mapped
    health = bench.peer.health('mask_tokenizer', 'model')
    assert health[2]['provider'] == 'CPUExecutionProvider'
    assert health[2]['precision'] == 'float32'


def test_goal_when_one_process_runs_both_then_words_by_torch_become_masks_by_onnx(
        world, exported_tabletop, table_rgb):
    world.start('perception', {**ONNX, 'model.name': exported_tabletop,
                               'limits.max_new_tokens': 60})
    scene = Scene(world)
    scene.set_goal('the purple bottle')
    scene.images.publish(image_message(START_NS, table_rgb))
    words, masks = scene.answer(), scene.masks_of()
    assert words.status in (MaskWords.OK, MaskWords.NO_TARGET)
    assert words.tokenizer_id == masks.tokenizer_id
    assert [word.id for word in words.words] == [mask.id for mask in masks.masks]
    assert stamp_ns(scene.target.wait()) == START_NS


@pytest.mark.parametrize('parameters, said', [
    ({'model.name': 'tiny'}, 'Run samtok export '),
    ({'model.provider': 'cuda'}, 'no CUDAExecutionProvider'),
])
def test_configure_when_it_cannot_be_as_asked_then_it_fails_and_can_be_tried_again(
        world, exported_tabletop, tiny_model_dir, parameters, said):
    import onnxruntime as ort

    if said.split()[-1] in ort.get_available_providers():
        pytest.skip('this onnxruntime has the provider')
    names = {'tiny': tiny_model_dir}
    parameters = {'model.backend': 'onnx', 'model.name': exported_tabletop,
                  **{key: names.get(value, value) for key, value in parameters.items()}}
    program = world.start('mask_tokenizer', parameters)
    for count in (1, 2):
        assert not world.peer.change('mask_tokenizer', CONFIGURE)
        program.wait_for_log(said, count)
    assert world.peer.state('mask_tokenizer') == 'unconfigured'
