# SPDX-License-Identifier: Apache-2.0
"""Base models of every family get the mask words, and load like SAMTok models."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_checkpoints import LAYOUTS, write_checkpoint
from transformers import AutoModelForImageTextToText, AutoTokenizer

from samtok_ros.cli.main import main
from samtok_ros.errors import CheckpointError, ConfigError
from samtok_ros.language.generation import Finished, GenerationLimits
from samtok_ros.language.vlm import VisionLanguageModel
from samtok_ros.language.vocabulary_extension import extend_vocabulary
from samtok_ros.words.vocabulary import MaskVocabulary

TEXT = 'Please segment the red mug <|im_end|> in this image.\n\n'
EVERY_FAMILY = [(family, tied) for family in LAYOUTS for tied in (True, False)]


@pytest.fixture(scope='module', params=EVERY_FAMILY, ids=lambda p: f'{p[0]}-{"tied"[:4 * p[1]]}')
def base_dir(request, tmp_path_factory):
    family, tied = request.param
    return write_checkpoint(
        tmp_path_factory.mktemp('base') / family, family, tied=tied, with_words=False)


@pytest.fixture(scope='module')
def out_dir(base_dir):
    out_dir = base_dir.parent / 'extended'
    extend_vocabulary(base_dir, out_dir)
    return out_dir


@pytest.fixture
def small_base(tmp_path):
    return write_checkpoint(tmp_path / 'base', 'qwen3_vl', tied=False, with_words=False)


@pytest.fixture
def tied_base(tmp_path):
    return write_checkpoint(tmp_path / 'base', 'qwen3_vl', tied=True, with_words=False)


def weights_of(model_dir):
    return {name: tensor for path in sorted(model_dir.glob('*.safetensors'))
            for name, tensor in load_file(path).items()}


def tables_of(weights):
    return {name: t for name, t in weights.items() if 'embed_tokens' in name or 'lm_head' in name}


def test_extend_when_loaded_by_us_then_words_behind_all_others_and_it_answers(
        base_dir, out_dir, image_rgb):
    base_length = len(AutoTokenizer.from_pretrained(base_dir))
    vlm = VisionLanguageModel.load(out_dir)
    assert (vlm.token_ids.start_id, vlm.token_ids.end_id) == (base_length, base_length + 513)
    events = list(vlm.generate(image_rgb, 'mug', GenerationLimits(3)))
    assert isinstance(events[-1], Finished)


def test_extend_when_text_tokenizer_is_loaded_then_as_transformers_would_have_added_them(
        base_dir, out_dir):
    expected = AutoTokenizer.from_pretrained(base_dir)
    words = list(MaskVocabulary().words)
    assert expected.add_tokens(words) == 514
    found = AutoTokenizer.from_pretrained(out_dir)
    assert found.get_vocab() == expected.get_vocab()
    assert found.all_special_tokens == expected.all_special_tokens
    text = TEXT + ' and'.join(words[:3])
    assert found(text).input_ids == expected(text).input_ids
    for word in words:
        token = found.added_tokens_decoder[found.convert_tokens_to_ids(word)]
        assert (token.content, token.special, token.lstrip, token.rstrip, token.single_word) == (
            word, False, False, False, False)
        assert not token.normalized


def test_extend_when_tables_grow_then_new_rows_are_near_the_mean_and_all_else_is_unchanged(
        base_dir, out_dir):
    old, new = weights_of(base_dir), weights_of(out_dir)
    first = len(AutoTokenizer.from_pretrained(base_dir))
    assert new.keys() == old.keys()
    for name, table in tables_of(new).items():
        assert table.dtype == torch.bfloat16
        assert table.shape == (first + 514, old[name].shape[1])  # longer than the padded base
        assert torch.equal(table[:first], old[name][:first])
        known, rows = old[name][:first].float(), table[first:].float()
        offsets = (rows - known.mean(0)) / (0.02 * known.std(0))
        assert abs(float(offsets.mean())) < 0.1
        assert 0.9 < float(offsets.std()) < 1.1
    for name in old.keys() - tables_of(old).keys():
        assert torch.equal(new[name], old[name]), name


def test_extend_when_untied_then_the_head_has_rows_of_its_own(base_dir, out_dir):
    tables = list(tables_of(weights_of(out_dir)).values())
    tied = json.loads((base_dir / 'config.json').read_text())['tie_word_embeddings']
    assert len(tables) == (1 if tied else 2)
    if not tied:
        assert not torch.equal(tables[0][-514:], tables[1][-514:])


def test_extend_when_config_states_sizes_then_those_of_the_tables(base_dir, out_dir):
    old, new = (json.loads((d / 'config.json').read_text()) for d in (base_dir, out_dir))
    rows = len(next(iter(tables_of(weights_of(out_dir)).values())))
    sizes = new.get('text_config', new)
    assert sizes['vocab_size'] == rows
    sizes['vocab_size'] = old.get('text_config', old)['vocab_size']
    assert new == old


def test_extend_when_files_are_compared_then_index_and_all_other_files_fit(base_dir, out_dir):
    assert {p.name for p in out_dir.iterdir()} == {p.name for p in base_dir.iterdir()}
    index = json.loads((out_dir / 'model.safetensors.index.json').read_text())
    weights = weights_of(out_dir)
    assert index['weight_map'].keys() == weights.keys()
    assert index['metadata']['total_size'] == sum(t.nbytes for t in weights.values())
    words = set(MaskVocabulary().words)
    assert words < set(json.loads((out_dir / 'added_tokens.json').read_text()))
    for name in ('chat_template.jinja', 'preprocessor_config.json', 'generation_config.json'):
        assert (out_dir / name).read_bytes() == (base_dir / name).read_bytes()


def test_extend_when_seeds_differ_then_only_the_new_rows_do(small_base, tmp_path):
    for name, seed in (('a', 3), ('b', 3), ('c', 4)):
        extend_vocabulary(small_base, tmp_path / name, seed)
    files = {name: {p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in 'abc'}
    assert files['a'] == files['b'] != files['c']
    for name, table in tables_of(weights_of(tmp_path / 'a')).items():
        other = weights_of(tmp_path / 'c')[name]
        assert torch.equal(table[:-514], other[:-514])
        assert not torch.equal(table[-514:], other[-514:])


def test_extend_when_a_dimension_never_varies_then_spread_has_a_floor(tied_base, tmp_path):
    constant = torch.full((400, 24), 2.0)
    replace_table(tied_base, constant)
    extend_vocabulary(tied_base, tmp_path / 'out')
    found = weights_of(tmp_path / 'out')['model.language_model.embed_tokens.weight'][-514:] - 2.0
    assert 0.9 < float(found.std() / (0.02 * 1e-3)) < 1.1


def replace_table(model_dir, table):
    """Put another table of input embeddings into a checkpoint."""
    name = 'model.language_model.embed_tokens.weight'
    index = json.loads((model_dir / 'model.safetensors.index.json').read_text())
    path = model_dir / index['weight_map'][name]
    save_file(load_file(path) | {name: table}, path, metadata={'format': 'pt'})


def test_extend_when_table_is_longer_than_needed_then_no_row_is_lost(tied_base, tmp_path):
    replace_table(tied_base, torch.ones(1000, 24))
    done = extend_vocabulary(tied_base, tmp_path / 'out')
    assert (done.old_rows, done.new_rows) == (1000, 1000)
    table = weights_of(tmp_path / 'out')['model.language_model.embed_tokens.weight']
    assert torch.equal(table[done.token_ids.end_id + 1:], torch.ones(
        999 - done.token_ids.end_id, 24))
    assert len(VisionLanguageModel.load(tmp_path / 'out')._model.lm_head.weight) == 1000


def test_extend_when_tied_head_is_stored_too_then_it_stays_equal(tied_base, tmp_path):
    path = tied_base / 'model-00001-of-00003.safetensors'
    table = weights_of(tied_base)['model.language_model.embed_tokens.weight']
    save_file(load_file(path) | {'lm_head.weight': table}, path, metadata={'format': 'pt'})
    index = json.loads((tied_base / 'model.safetensors.index.json').read_text())
    index['weight_map']['lm_head.weight'] = path.name
    (tied_base / 'model.safetensors.index.json').write_text(json.dumps(index))
    extend_vocabulary(tied_base, tmp_path / 'out')
    tables = list(tables_of(weights_of(tmp_path / 'out')).values())
    assert len(tables) == 2
    assert torch.equal(*tables)


def test_extend_when_weights_are_one_file_then_the_same(small_base, tmp_path):
    extend_vocabulary(small_base, tmp_path / 'sharded')
    weights = weights_of(small_base)
    for path in (*small_base.glob('*.safetensors'), small_base / 'model.safetensors.index.json'):
        path.unlink()
    save_file(weights, small_base / 'model.safetensors', metadata={'format': 'pt'})
    extend_vocabulary(small_base, tmp_path / 'single')
    expected, found = weights_of(tmp_path / 'sharded'), weights_of(tmp_path / 'single')
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)
    AutoModelForImageTextToText.from_pretrained(tmp_path / 'single')


def test_extend_when_words_are_there_then_refused_and_nothing_written(small_base, tmp_path):
    extend_vocabulary(small_base, tmp_path / 'once')
    with pytest.raises(CheckpointError, match='mask words already.*514 of 514'):
        extend_vocabulary(tmp_path / 'once', tmp_path / 'twice')
    assert {p.name for p in tmp_path.iterdir()} == {'base', 'once'}


def test_extend_when_folder_is_in_use_then_refused_and_left_alone(small_base, tmp_path):
    taken = tmp_path / 'taken'
    taken.mkdir()
    extend_vocabulary(small_base, taken)  # empty: fine
    before = sorted(p.stat().st_mtime_ns for p in taken.iterdir())
    with pytest.raises(ConfigError, match='there is something at'):
        extend_vocabulary(small_base, taken)
    assert sorted(p.stat().st_mtime_ns for p in taken.iterdir()) == before


def change_config(model_dir):
    path = model_dir / 'config.json'
    path.write_text(path.read_text().replace('qwen3_vl"', 'clip"'))


@pytest.mark.parametrize(('harm', 'message'), [
    (lambda d: (d / 'tokenizer.json').unlink(), 'lacks a file: expected tokenizer.json.*save'),
    (lambda d: (d / 'tokenizer.json').write_text('{}'), 'tokenizer.json is damaged'),
    (lambda d: (d / 'config.json').write_text('{'), 'config.json is damaged'),
    (lambda d: (d / 'config.json').write_text('[]'), 'expected a JSON object'),
    (change_config, "cannot run that kind of model.*qwen3_vl.*got 'clip'"),
    (lambda d: replace_table(d, torch.ones(500, 24, dtype=torch.int8)), 'not quantised'),
    (lambda d: replace_table(d, torch.ones(20, 24)), 'cannot be extended.*277 rows or more'),
    (lambda d: replace_table(d, torch.ones(300, 24)), 'do not fit together: expected 300 rows'),
    (lambda d: next(d.glob('*-00002-*')).unlink(), 'lacks weights.*00002'),
    (lambda d: (d / 'model.safetensors.index.json').write_text(
        '{"weight_map": {"x": "config.json"}}'), 'not those of a language model.*embed_tokens'),
], ids=lambda value: value if isinstance(value, str) else '')
def test_extend_when_base_cannot_be_used_then_named_and_nothing_written(
        small_base, tmp_path, harm, message):
    harm(small_base)
    with pytest.raises(CheckpointError, match=message):
        extend_vocabulary(small_base, tmp_path / 'out')
    assert [p.name for p in tmp_path.iterdir()] == ['base']


def test_command_when_run_then_says_what_it_did(small_base, tmp_path, capsys):
    assert main(['extend-vocab', str(small_base), str(tmp_path / 'out'), '--seed', '5']) == 0
    assert capsys.readouterr().out.splitlines() == [
        f'{tmp_path / "out"}: 514 words with ids 277 to 790',
        'model.language_model.embed_tokens.weight: 317 -> 791 rows, bfloat16',
        'lm_head.weight: 317 -> 791 rows, bfloat16']
    assert main(['extend-vocab', str(tmp_path / 'nowhere'), str(Path('x'))]) == 2
    assert 'there is no such model' in capsys.readouterr().err
