# SPDX-License-Identifier: Apache-2.0
"""A few steps lower the losses, and a resumed training goes on where it stopped."""

from dataclasses import replace

import numpy as np
import pytest
from drawn_scenes import DrawnScenes
from scripted_model import PerfectTokenizer

torch = pytest.importorskip('torch')
pytest.importorskip('transformers')

from safetensors.torch import load_file  # noqa: E402

from samtok_ros.errors import ConfigError  # noqa: E402
from samtok_ros.language.tiny_vlm import TinyVlmConfig  # noqa: E402
from samtok_ros.training.runs import Budget, RunDirectory  # noqa: E402
from samtok_ros.training.scene_images import SceneImages  # noqa: E402
from samtok_ros.training.train_vlm import (  # noqa: E402
    VlmTrainingConfig,
    VlmTrainingData,
    export_vlm,
    train_vlm,
)
from samtok_ros.training.vision_pretraining import (  # noqa: E402
    VisionPretrainingConfig,
    pretrain_vision,
)
from samtok_ros.training.vlm_data import QuestionBatchConfig, VlmDataset, encode_scenes  # noqa: E402
from samtok_ros.training.vlm_learner import VlmLossConfig  # noqa: E402

SIZES_OF_MODEL = TinyVlmConfig(
    vision_depth=1, vision_hidden=32, vision_intermediate=64, vision_heads=2, text_layers=3,
    text_hidden=48, text_intermediate=64, text_heads=2, head_dim=24, text_pieces=512)


@pytest.fixture(scope='module')
def scenes():
    return DrawnScenes(8)


def test_pretrain_vision_when_resumed_then_same_as_in_one_go(scenes, tmp_path):
    config = VisionPretrainingConfig(vlm=SIZES_OF_MODEL, batch_size=4, budget=Budget(), steps=8,
                                     compiled=False, autocast=False, warm_up=0.0)
    pretrain_vision(lambda: scenes, tmp_path / 'whole', config)
    pretrain_vision(lambda: scenes, tmp_path / 'parts', replace(config, steps=5))
    pretrain_vision(lambda: scenes, tmp_path / 'parts', config)
    whole, parts = (RunDirectory(tmp_path / name).load()['learner'] for name in ('whole', 'parts'))
    for name, value in whole.items():
        assert torch.equal(value, parts[name]), name


def test_pretrain_vision_when_trained_then_validation_loss_falls(scenes, tmp_path):
    config = VisionPretrainingConfig(vlm=SIZES_OF_MODEL, batch_size=4, budget=Budget(), steps=3,
                                     compiled=False, autocast=False, average_decay=0.5,
                                     warm_up=0.0)
    start = pretrain_vision(lambda: scenes, tmp_path, config)
    end = pretrain_vision(lambda: scenes, tmp_path, replace(config, steps=40))
    assert end['val_loss'] < 0.9 * start['val_loss']


def _data(scenes, cache_dir, validate=None):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (len(scenes), 13, 2)).astype(np.int16)
    images = SceneImages.prepare(scenes, cache_dir)
    descriptions = [scenes.description(index) for index in range(len(scenes))]
    return VlmTrainingData(
        lambda writer, targets: VlmDataset(images, descriptions, codes, writer, targets),
        rng.normal(size=(2, 256, 16)).astype(np.float32))


def _config(steps):
    return VlmTrainingConfig(vlm=SIZES_OF_MODEL, batch=QuestionBatchConfig(images=2),
                             losses=VlmLossConfig(attention_layers=(1, 2)),
                             corpus_scenes=300, budget=Budget(), steps=steps, compiled=False,
                             autocast=False, warm_up=0.0)


def test_train_vlm_when_trained_then_loss_falls_and_export_loads(scenes, tmp_path):
    from transformers import AutoModelForImageTextToText, AutoProcessor

    train_vlm(_data(scenes, tmp_path / 'images'), tmp_path / 'run', _config(40))
    losses = [line['answer_loss'] for line in RunDirectory(tmp_path / 'run').curves()]
    assert losses[-1] < 0.7 * losses[0]
    export_vlm(tmp_path / 'run', tmp_path / 'out')
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / 'out', local_files_only=True)
    processor = AutoProcessor.from_pretrained(tmp_path / 'out', local_files_only=True)
    stored = torch.load(tmp_path / 'run' / 'averaged.pt', weights_only=False)['run']['learner']
    name = 'model.language_model.layers.0.mlp.up_proj.weight'
    assert torch.allclose(model.state_dict()[name].float(), stored['model.' + name], rtol=0.01,
                          atol=1e-4)
    assert len(processor.tokenizer) == model.config.text_config.vocab_size


def test_train_vlm_when_resumed_then_same_as_in_one_go(scenes, tmp_path):
    data = _data(scenes, tmp_path / 'images')
    train_vlm(data, tmp_path / 'whole', _config(6))
    train_vlm(data, tmp_path / 'parts', _config(4))
    train_vlm(data, tmp_path / 'parts', _config(6))
    whole, parts = (RunDirectory(tmp_path / name).load()['learner'] for name in ('whole', 'parts'))
    for name, value in whole.items():
        assert torch.equal(value, parts[name]), name


def test_train_vlm_when_started_from_a_model_then_its_weights_by_name_and_its_rows_by_text(
        scenes, tmp_path):
    from transformers import AutoTokenizer

    data = _data(scenes, tmp_path / 'images')
    train_vlm(data, tmp_path / 'first', _config(2))
    export_vlm(tmp_path / 'first', tmp_path / 'out')
    # Another text tokenizer: other pieces, and other ids for those that both have.
    other = replace(_config(2), vlm=replace(SIZES_OF_MODEL, text_pieces=420), corpus_scenes=40)
    started = replace(other, steps=1, lr_matrix=0.0, lr_other=0.0, weight_decay=0.0)
    learner = train_vlm(replace(data, start=tmp_path / 'out'), tmp_path / 'second', started)
    old = load_file(tmp_path / 'out' / 'model.safetensors')
    new = learner.model.state_dict()
    layer = 'model.language_model.layers.0.self_attn.q_proj.weight'
    assert torch.allclose(new[layer], old[layer].float(), atol=1e-3)
    ids = [AutoTokenizer.from_pretrained(tmp_path / folder, local_files_only=True).get_vocab()
           for folder in ('out', 'second/model')]
    table = 'model.language_model.embed_tokens.weight'
    moved = 0
    for token in ('<|mt_0007|>', '<|im_end|>', 'No', 'a'):
        if token in ids[0] and token in ids[1]:
            moved += ids[0][token] != ids[1][token]
            assert torch.allclose(new[table][ids[1][token]], old[table][ids[0][token]].float(),
                                  atol=1e-3)
    assert moved


def test_load_start_when_the_sizes_differ_then_says_so(scenes, tmp_path):
    data = _data(scenes, tmp_path / 'images')
    train_vlm(data, tmp_path / 'first', _config(1))
    export_vlm(tmp_path / 'first', tmp_path / 'out')
    deeper = replace(_config(1), vlm=replace(SIZES_OF_MODEL, text_layers=4))
    with pytest.raises(ConfigError, match='other sizes'):
        train_vlm(replace(data, start=tmp_path / 'out'), tmp_path / 'second', deeper)


def test_validate_when_model_is_new_then_every_figure_is_a_share(scenes, tmp_path):
    from samtok_ros.training.train_vlm import build_learner
    from samtok_ros.training.vlm_validation import ValidationScenes, validate

    data = _data(scenes, tmp_path / 'images')
    learner, writer, targets = build_learner(tmp_path / 'model', data, _config(1))
    dataset = data.make_dataset(writer, targets)
    held_out = ValidationScenes(
        dataset.images.images, [scenes.segmentation(i) for i in range(len(scenes))],
        dataset.descriptions, dataset.codes,
        lambda index, codes: np.ones((len(codes), 240, 320), bool))
    figures = validate(learner, writer, held_out, per_image=6, autocast=False)
    assert {'grounding_giou', 'no_target_recall', 'region_qa'} <= figures.keys()
    assert all(0 <= value <= 1 for value in figures.values())


def test_encode_scenes_when_scenes_were_added_then_only_those_are_encoded(tmp_path):
    tokenizer, path = PerfectTokenizer(), tmp_path / 'codes.npy'
    before = encode_scenes(tokenizer, DrawnScenes(2), path)
    after = encode_scenes(tokenizer, DrawnScenes(3), path)
    assert np.array_equal(after[:2], before)
    assert tokenizer.embedded == 3
    (tmp_path / 'codes.json').unlink()  # a run of before there were notes
    assert np.array_equal(encode_scenes(tokenizer, DrawnScenes(3), path), after)
    assert {file.name for file in tmp_path.iterdir()} == {'codes.npy', 'codes.json'}


def test_encode_scenes_when_codes_are_of_something_else_then_refused(tmp_path):
    tokenizer, path = PerfectTokenizer(), tmp_path / 'codes.npy'
    encode_scenes(tokenizer, DrawnScenes(2), path)
    with pytest.raises(ConfigError, match='more scenes than there are'):
        encode_scenes(tokenizer, DrawnScenes(1), path)
    other_scenes = DrawnScenes(3)
    other_scenes.rgb = lambda index: DrawnScenes.rgb(other_scenes, 2 - index)
    with pytest.raises(ConfigError, match='of other scenes'):
        encode_scenes(tokenizer, other_scenes, path)
    tokenizer.tokenizer_id = 'perfect@1'
    with pytest.raises(ConfigError, match='another mask tokenizer'):
        encode_scenes(tokenizer, DrawnScenes(2), path)


def test_encode_scenes_when_killed_while_it_writes_then_the_codes_of_before_are_there(
        tmp_path, monkeypatch):
    tokenizer, path = PerfectTokenizer(), tmp_path / 'codes.npy'
    before = encode_scenes(tokenizer, DrawnScenes(2), path)

    def killed(target, table):
        (target.write if hasattr(target, 'write') else target.write_bytes)(b'half')
        raise KeyboardInterrupt

    monkeypatch.setattr(np, 'save', killed)
    with pytest.raises(KeyboardInterrupt):
        encode_scenes(tokenizer, DrawnScenes(3), path)
    assert np.array_equal(np.load(path), before)
