# SPDX-License-Identifier: Apache-2.0
"""What the doctor says about invented machines and damaged models, and one look at this machine."""

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from samtok_ros.cli.main import main
from samtok_ros.doctor import facts as facts_module
from samtok_ros.doctor import model_files
from samtok_ros.doctor.facts import Facts, Probed
from samtok_ros.doctor.findings import machine_findings
from samtok_ros.doctor.memory import memory_finding, memory_need
from samtok_ros.doctor.model_files import ModelFiles, inspect_model
from samtok_ros.doctor.weights import TensorHeader, mask_tokenizer_elements, model_headers
from samtok_ros.errors import CheckpointError
from samtok_ros.hub.manifest import Manifest
from samtok_ros.model_directory import MODELS_DIR
from samtok_ros.tokenizer.config import MaskTokenizerConfig

TABLETOP = MODELS_DIR / 'tabletop'
GPU = {'name': 'GPU X', 'free_bytes': 70 * 10**9, 'total_bytes': 80 * 10**9, 'capability': '9.0'}
WELL = Facts(
    python=(3, 12, 1), executable='/usr/bin/python3', system='Linux x86_64', cores=8,
    memory_bytes=32 * 10**9, free_memory_bytes=30 * 10**9,
    free_disk_bytes={'hub cache': 10**12}, environment={'ROS_DISTRO': 'jazzy'},
    probed={
        'torch': Probed({'version': '2.9', 'cuda': '13.0', 'devices': [GPU], 'threads': 8}),
        'libraries': Probed({'versions': {'numpy': '2.4'}, 'errors': {}}),
        'onnxruntime': Probed({'version': '1.30', 'providers': ['CUDAExecutionProvider'],
                               'unusable': {}}),
        'opengl': Probed({'version': '4.0', 'library': 'egl'}),
        'ros': Probed({'distribution': 'jazzy', 'middleware': 'rmw_zenoh_cpp',
                       'messages_error': None}),
    })
ABSENT = Probed({}, 'not installed (it)')


def with_probe(name, probed, **changes):
    return replace(WELL, probed={**WELL.probed, name: probed}, **changes)


def without_gpu(cuda='13.0'):
    return with_probe('torch', Probed({'version': '2.9', 'cuda': cuda, 'devices': [],
                                       'threads': 8}))


def test_findings_when_all_is_there_then_every_one_is_ok():
    findings = machine_findings(WELL)
    assert {finding.level for finding in findings} == {'ok'}
    assert 'GPU X' in ' '.join(finding.text for finding in findings)


@pytest.mark.parametrize(('facts', 'topic', 'level', 'words'), [
    (replace(WELL, python=(3, 10, 0)), 'python', 'problem', '3.11 or newer'),
    (with_probe('torch', ABSENT), 'torch', 'problem', 'make setup'),
    (without_gpu(), 'GPU', 'note', 'nvidia-smi'),
    (without_gpu(cuda=None), 'GPU', 'note', 'built for the CPU'),
    (with_probe('libraries', Probed({'versions': {}, 'errors': {'sam2': 'ImportError: x'}})),
     'libraries', 'problem', 'sam2: ImportError: x'),
    (with_probe('onnxruntime', ABSENT), 'onnxruntime', 'note', 'pip install onnxruntime'),
    (with_probe('onnxruntime', Probed({'version': '1', 'providers': ['CPUExecutionProvider'],
                                       'unusable': {}})),
     'onnxruntime', 'note', 'cannot use the GPU'),
    (with_probe('onnxruntime', Probed({
        'version': '1', 'providers': ['CUDAExecutionProvider', 'CPUExecutionProvider'],
        'unusable': {'CUDAExecutionProvider': 'no libcuda.so.1'}})), 'onnxruntime', 'note',
     '1, providers CPU; cannot be used here: CUDA: no libcuda.so.1 for a GPU see that its driver'),
    (with_probe('ros', ABSENT), 'ROS 2', 'problem', 'is sourced, but Python cannot use it'),
    (with_probe('ros', ABSENT, environment={}), 'ROS 2', 'note', 'source /opt/ros'),
    (with_probe('ros', Probed({}, 'RuntimeError: no shared library'),
                environment={'RMW_IMPLEMENTATION': 'rmw_x'}), 'ROS 2', 'problem', 'rmw_x'),
    (with_probe('ros', Probed({'distribution': 'humble', 'middleware': 'm',
                               'messages_error': None})), 'ROS 2', 'note', 'not tested'),
    (with_probe('ros', Probed({'distribution': 'jazzy', 'middleware': 'm',
                               'messages_error': 'No module'})), 'messages', 'problem', 'colcon'),
    (with_probe('opengl', ABSENT), 'OpenGL', 'note', 'libosmesa6'),
    (replace(WELL, memory_bytes=0), 'memory', 'note', 'cannot be read'),
    (replace(WELL, free_disk_bytes={'hub cache': 5 * 10**9}), 'disk', 'note', 'HF_HOME'),
])
def test_findings_when_one_thing_is_wrong_then_it_is_named_with_a_way_out(
        facts, topic, level, words):
    found = {finding.topic: finding for finding in machine_findings(facts)}
    assert found[topic].level == level
    assert words in f'{found[topic].text} {found[topic].fix}'
    others = {finding.level for finding in found.values() if finding.topic != topic}
    assert 'problem' not in others


def test_device_when_torch_is_missing_then_it_is_the_cpu():
    assert (WELL.device, with_probe('torch', ABSENT).device) == ('cuda', 'cpu')


@pytest.fixture
def model_dir(tmp_path):
    """A copy of the embedded model, to be damaged."""
    return shutil.copytree(TABLETOP, tmp_path / 'model')


def problems(model_dir):
    findings, files = inspect_model(model_dir)
    return {finding.topic: f'{finding.text} {finding.fix}' for finding in findings
            if finding.level == 'problem'}, files


def shard(model_dir):
    """Split the weights into two files with an index; return its entries."""
    tensors = load_file(model_dir / 'model.safetensors')
    (model_dir / 'model.safetensors').unlink()
    names = sorted(tensors)
    halves = {'model-00001-of-00002.safetensors': names[::2],
              'model-00002-of-00002.safetensors': names[1::2]}
    for file, half in halves.items():
        save_file({name: tensors[name] for name in half}, model_dir / file)
    entries = {name: file for file, half in halves.items() for name in half}
    (model_dir / 'model.safetensors.index.json').write_text(json.dumps({'weight_map': entries}))
    return entries


def test_model_when_whole_then_it_has_no_problem(model_dir):
    found, files = problems(model_dir)
    assert found == {}
    assert files.headers['model.language_model.embed_tokens.weight'].shape == (1163, 192)


def test_model_when_in_shards_then_it_is_read_the_same(model_dir):
    whole = model_headers(model_dir)
    shard(model_dir)
    assert model_headers(model_dir) == whole
    assert problems(model_dir)[0] == {}


def no_shard(model_dir):
    shard(model_dir)
    (model_dir / 'model-00002-of-00002.safetensors').unlink()


def more_in_the_index(model_dir):
    entries = shard(model_dir) | {'lost.weight': 'model-00001-of-00002.safetensors'}
    (model_dir / 'model.safetensors.index.json').write_text(json.dumps({'weight_map': entries}))


def path_out_of_the_model(model_dir):
    entries = dict.fromkeys(shard(model_dir), '../elsewhere.safetensors')
    (model_dir / 'model.safetensors.index.json').write_text(json.dumps({'weight_map': entries}))


def cut_short(model_dir):
    path = model_dir / 'model.safetensors'
    os.truncate(path, path.stat().st_size - 1)


def pointer_of_lfs(model_dir):
    (model_dir / 'model.safetensors').write_text(
        'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n')


def fewer_rows(model_dir):
    tensors = load_file(model_dir / 'model.safetensors')
    name = 'model.language_model.embed_tokens.weight'
    tensors[name] = np.ascontiguousarray(tensors[name][:1034])
    save_file(tensors, model_dir / 'model.safetensors')


def no_mask_words(model_dir):
    path = model_dir / 'tokenizer.json'
    found = json.loads(path.read_text())
    found['added_tokens'] = [token for token in found['added_tokens']
                             if 'mt_0007' not in token['content']]
    path.write_text(json.dumps(found))


def dangling(model_dir):
    (model_dir / 'model.safetensors').unlink()
    (model_dir / 'model.safetensors').symlink_to('../blobs/gone')


def with_config(**values):
    """Return what puts values into config.json."""
    def change(model_dir):
        path = model_dir / 'config.json'
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


@pytest.mark.parametrize(('damage', 'topic', 'words'), [
    (lambda model: (model / 'config.json').unlink(), 'files', 'lacks config.json'),
    (lambda model: (model / 'mask_tokenizer.safetensors').unlink(), 'files', 'mask_tokenizer'),
    (lambda model: (model / 'config.json').write_text('{'), 'weights', 'config.json cannot be'),
    (lambda model: (model / 'config.json').write_text('[]'), 'weights', 'no JSON object'),
    (no_shard, 'weights', 'model-00002-of-00002.safetensors is missing'),
    (more_in_the_index, 'weights', '1 missing (lost.weight)'),
    (path_out_of_the_model, 'weights', '../elsewhere.safetensors is missing'),
    (cut_short, 'weights', 'is cut short'),
    (pointer_of_lfs, 'weights', 'pointer of git LFS'),
    (fewer_rows, 'vocabulary', 'embed_tokens.weight has 1034 rows'),
    (no_mask_words, 'vocabulary', 'first missing <|mt_0007|>'),
    (lambda model: (model / 'tokenizer.json').write_text('{"added_tokens": [3]}'), 'vocabulary',
     'text tokenizer are damaged'),
    (lambda model: (model / 'mask_tokenizer.json').write_text('{"size": 3}'), 'mask tokenizer',
     'unknown keys'),
    (lambda model: (model / 'mask_tokenizer.safetensors').write_bytes(b'x' * 99),
     'mask tokenizer', 'damaged'),
    (lambda model: (model / 'mask_tokenizer.json').write_text('{"image_size": null}'),
     'mask tokenizer', 'image_size has a wrong value'),
    (dangling, 'files', 'lacks model.safetensors'),
    (with_config(model_type=['x']), 'weights', "wrong model_type: expected str, got ['x']"),
    (with_config(text_config=[3]), 'weights', 'wrong text_config'),
    (with_config(text_config={'head_dim': '64'}), 'weights', 'wrong head_dim'),
    (lambda model: Manifest('a/b', 'main', '1' * 40, {}).write(model), 'origin', 'not finished'),
])
def test_model_when_damaged_then_the_damage_is_named(model_dir, damage, topic, words):
    damage(model_dir)
    found, _ = problems(model_dir)
    assert list(found) == [topic]
    assert words in found[topic]


@pytest.mark.parametrize(('place', 'topic'), [
    (f'{model_files.__name__}.model_headers', 'weights'),
    (f'{model_files.__name__}.MaskTokenizerConfig.load', 'mask tokenizer'),
    ('pathlib.Path.iterdir', 'files'),
])
def test_model_when_files_cannot_be_read_then_that_is_a_finding(
        model_dir, monkeypatch, place, topic):
    def refuse(_):
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr(place, refuse)
    found, _ = problems(model_dir)
    assert list(found) == [topic]
    assert 'Permission denied' in found[topic]


def test_model_when_config_holds_null_then_it_counts_as_absent(model_dir):
    nothing = dict.fromkeys(model_files.TEXT_SIZES)
    for text in (None, nothing):
        with_config(model_type=None, text_config=text, **nothing)(model_dir)
        found, files = problems(model_dir)
        assert found == {}
        assert memory_need(files, 'float32').text_cache == 0


def test_model_when_vocabulary_is_in_older_files_then_it_is_found(model_dir):
    path = model_dir / 'tokenizer.json'
    tokens = json.loads(path.read_text())['added_tokens']
    path.rename(model_dir / 'vocab.json')
    older = {'added_tokens_decoder': {str(token['id']): {'content': token['content']}
                                      for token in tokens}}
    (model_dir / 'tokenizer_config.json').write_text(json.dumps(older))
    assert problems(model_dir)[0] == {}
    (model_dir / 'tokenizer_config.json').write_text('{}')
    (model_dir / 'added_tokens.json').write_text(
        json.dumps({token['content']: token['id'] for token in tokens}))
    assert problems(model_dir)[0] == {}


def test_elements_when_the_mask_tokenizer_is_pickled_then_they_are_counted(tmp_path):
    import torch

    path = tmp_path / 'mask_tokenizer_256x2.pth'
    torch.save({'a': torch.zeros(3, 5), 'b': torch.zeros(7)}, path)
    assert mask_tokenizer_elements(path) == 22
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(CheckpointError, match='damaged'):
        mask_tokenizer_elements(path)
    assert not zipfile.is_zipfile(path)


def qwen_4b():
    """Files of a model as large as the published one of 4 billion values."""
    config = {'text_config': {'num_hidden_layers': 36, 'num_key_value_heads': 8, 'head_dim': 128}}
    return ModelFiles(config, {'all': TensorHeader('BF16', (4_400_000_000,))},
                      MaskTokenizerConfig(), 228_000_000)


def test_memory_when_weights_are_large_then_they_count_by_number_format():
    half, full = memory_need(qwen_4b(), 'bfloat16'), memory_need(qwen_4b(), 'float32')
    assert (half.weights, full.weights) == (8_800_000_000, 17_600_000_000)
    # 36 layers x 8 heads x 128 x keys and values x 2 bytes: 147 kB a token.
    assert half.text_cache // 147_456 == (1200 + 512)
    assert half.total == pytest.approx(12e9, rel=0.1)


@pytest.mark.parametrize(('facts', 'level', 'words'), [
    (WELL, 'ok', 'on cuda in bfloat16'),
    (replace(without_gpu(), free_memory_bytes=30 * 10**9), 'ok', 'on cpu in float32'),
    (replace(without_gpu(), free_memory_bytes=15 * 10**9), 'problem', 'dtype to bfloat16'),
    (replace(without_gpu(), free_memory_bytes=8 * 10**9), 'problem', 'smaller model'),
    (replace(without_gpu(), free_memory_bytes=0), 'note', 'cannot be read'),
])
def test_memory_when_compared_then_the_chosen_device_counts(facts, level, words):
    finding = memory_finding(qwen_4b(), facts)
    assert finding.level == level
    assert words in f'{finding.text} {finding.fix}'


@pytest.mark.parametrize(('code', 'error'), [
    ('import os; os.kill(os.getpid(), 4)', 'crashed with exit status -4'),
    ('import nothing_of_this_name', 'crashed with exit status 1: ModuleNotFoundError'),
    ('import time; time.sleep(60)', 'did not answer within 1 s'),
])
def test_probe_when_a_library_kills_its_process_then_the_doctor_lives(
        tmp_path, monkeypatch, code, error):
    program = tmp_path / 'probes.py'
    program.write_text(code)
    monkeypatch.setattr(facts_module, '_PROBE_FILE', program)
    monkeypatch.setattr(facts_module, '_TIMEOUT_S', 1)
    assert facts_module._probe('torch').error.startswith(error)


def test_command_when_run_for_real_then_it_ends_in_words(capsys):
    status = main(['doctor', 'tabletop'])
    lines = capsys.readouterr().out.splitlines()
    topics = {line[9:25].strip() for line in lines}
    assert {'python', 'torch', 'ROS 2', 'disk', 'files', 'vocabulary', 'memory needed'} <= topics
    assert (status == 0) == (lines[-1] == 'no problems')
    assert all(len(line) <= 100 for line in lines if '/' not in line)  # paths are not broken


def test_command_when_bare_then_it_works_without_torch_and_ros(tmp_path):
    # An interpreter without any installed package stands for a machine that has none.
    bare_python = tmp_path / 'python'
    bare_python.write_text(f'#!/bin/sh\nexec {os.path.realpath(sys.executable)} -S "$@"\n')
    bare_python.chmod(0o755)
    code = ('import sys; sys.path.insert(0, sys.argv.pop(1)); sys.executable = sys.argv.pop(1)\n'
            'from samtok_ros.cli.main import main; sys.exit(main(sys.argv[1:]))')
    parent = str(MODELS_DIR.parents[1])
    bare = {name: value for name, value in os.environ.items()
            if name not in ('PYTHONPATH', 'ROS_DISTRO', 'AMENT_PREFIX_PATH',
                            'RMW_IMPLEMENTATION')}
    source = tmp_path / 'source'
    source.mkdir()
    (source / 'samtok_ros').symlink_to(f'{parent}/samtok_ros')
    done = subprocess.run(
        [bare_python, '-c', code, source, bare_python, 'doctor', TABLETOP, '--json'], env=bare,
        capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stderr
    levels = {finding['topic']: finding['level'] for finding in json.loads(done.stdout)['findings']}
    assert levels['torch'] == levels['libraries'] == 'problem'
    assert levels['ROS 2'] == levels['OpenGL'] == 'note'
    assert levels['weights'] == levels['vocabulary'] == 'ok'


def test_command_when_the_family_is_unknown_then_it_is_a_problem(model_dir, monkeypatch, capsys):
    config = json.loads((model_dir / 'config.json').read_text())
    (model_dir / 'config.json').write_text(json.dumps({**config, 'model_type': 'bert'}))
    monkeypatch.setattr(facts_module, 'collect_facts', lambda: WELL)
    assert main(['doctor', str(model_dir), '--json']) == 1
    found = json.loads(capsys.readouterr().out)['findings']
    assert [one['topic'] for one in found if one['level'] == 'problem'] == ['family']
    assert "'bert'" in next(one['text'] for one in found if one['topic'] == 'family')


def test_command_when_the_model_is_missing_then_it_is_a_problem(monkeypatch, capsys):
    monkeypatch.setattr(facts_module, 'collect_facts', lambda: WELL)
    assert main(['doctor', '/no/such/model']) == 1
    assert 'there is no such model' in ' '.join(capsys.readouterr().out.split())


def test_command_when_the_terminal_lacks_a_letter_then_it_is_escaped(monkeypatch):
    monkeypatch.setattr(facts_module, 'collect_facts', lambda: WELL)
    terminal = io.TextIOWrapper(io.BytesIO(), 'ascii')
    monkeypatch.setattr(sys, 'stdout', terminal)
    assert main(['doctor', '/no/such/mäsk']) == 1
    assert rb'm\xe4sk' in terminal.buffer.getvalue()


def test_command_when_values_of_the_model_are_unusable_then_the_report_is_whole(
        model_dir, monkeypatch, capsys):
    monkeypatch.setattr(facts_module, 'collect_facts', lambda: WELL)
    for model, topic in ((model_dir, 'family'), ('x' * 5000, 'model')):
        with_config(model_type=None)(model_dir)
        assert main(['doctor', str(model), '--json']) == 1
        found = json.loads(capsys.readouterr().out)['findings']
        assert [one['topic'] for one in found if one['level'] == 'problem'] == [topic]
