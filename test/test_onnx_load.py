# SPDX-License-Identifier: Apache-2.0
"""From files to an open mask tokenizer: what is refused, when they are written and when read."""

import json
import shutil

import numpy as np
import onnx
import pytest

from samtok_ros.cli.main import main
from samtok_ros.errors import CheckpointError, ConfigError, DeviceError
from samtok_ros.export import exporting
from samtok_ros.onnx import load
from samtok_ros.onnx.load import OnnxSettings, load_onnx
from samtok_ros.onnx.manifest import CHECK_FILE, GRAPHS, MANIFEST_FILE, Manifest, sha256_of
from samtok_ros.onnx.providers import Choice
from samtok_ros.onnx.reference import Reference, check_parity, limits_of
from samtok_ros.runtime.onnx_backend import OnnxBackend
from samtok_ros.settings.shared import ModelSettings

CPU = OnnxSettings(device='cpu', threads=1)


@pytest.fixture(scope='module')
def export_dir(exported_tabletop):
    return exported_tabletop / 'onnx' / 'float32'


@pytest.fixture(scope='module')
def ours(exported_tabletop):
    return load_onnx(exported_tabletop, CPU).model


@pytest.fixture
def own_export(exported_tabletop, tmp_path):
    """A model directory of one's own, to be damaged; weights and files are copies."""
    directory = tmp_path / 'tabletop'
    directory.mkdir()
    for name in ('mask_tokenizer.json', 'mask_tokenizer.safetensors'):
        shutil.copy(exported_tabletop / name, directory)
    shutil.copytree(exported_tabletop / 'onnx', directory / 'onnx')
    return directory


def flip_byte(directory):
    path = directory / 'mask_decoder.onnx'
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def remove_file(directory):
    (directory / 'prompt_decoder.onnx').unlink()


def break_manifest(directory):
    (directory / MANIFEST_FILE).write_text('[1')


def old_manifest(directory):
    change_manifest(directory, format=0)


def other_tokenizer(directory):
    change_manifest(directory, weights_sha256='0' * 64)


def other_name(directory):
    change_manifest(directory, tokenizer_id='other@0123456789abcdef')


def other_inputs(directory):
    graphs = json.loads((directory / MANIFEST_FILE).read_text())['graphs']
    graphs['mask_decoder']['inputs'].pop()
    change_manifest(directory, graphs=graphs)


def path_in_manifest(directory):
    graphs = json.loads((directory / MANIFEST_FILE).read_text())['graphs']
    graphs['mask_decoder']['file'] = '../../elsewhere.onnx'
    change_manifest(directory, graphs=graphs)


def change_manifest(directory, **values):
    path = directory / MANIFEST_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize('damage, text', [
    (flip_byte, 'mask_decoder.onnx is damaged or of another export'),
    (remove_file, 'prompt_decoder.onnx is missing'),
    (break_manifest, 'manifest.json cannot be read'),
    (old_manifest, 'manifest.json is of another version of this package: expected format 1, got 0'),
    (other_tokenizer, 'belongs to another mask tokenizer: .*got one of tabletop@'),
    (other_name, 'exported under another name: expected tabletop, got other'),
    (other_inputs, 'has other inputs than the manifest says'),
    (path_in_manifest, "'../../elsewhere.onnx' is no plain file name"),
])
def test_load_when_the_export_is_damaged_then_the_error_names_it(own_export, damage, text):
    damage(own_export / 'onnx' / 'float32')
    with pytest.raises(CheckpointError, match=text) as caught:
        load_onnx(own_export, CPU)
    assert 'samtok export' in str(caught.value)


def test_load_when_a_file_with_a_right_hash_is_no_model_then_the_error_names_it(own_export):
    path = own_export / 'onnx' / 'float32' / 'mask_encoder.onnx'
    path.write_bytes(b'no model')
    graphs = json.loads((path.parent / MANIFEST_FILE).read_text())['graphs']
    graphs['mask_encoder']['sha256'] = sha256_of(path)
    change_manifest(path.parent, graphs=graphs)
    with pytest.raises(CheckpointError, match='mask_encoder.onnx is not a usable ONNX model'):
        load_onnx(own_export, CPU)


def test_load_when_the_weights_were_changed_then_the_export_is_refused(own_export):
    path = own_export / 'mask_tokenizer.safetensors'
    path.write_bytes(path.read_bytes() + b' ')
    with pytest.raises(CheckpointError, match='belongs to another mask tokenizer.*Run samtok '
                       'export .* --dtype float32 again'):
        load_onnx(own_export, CPU)


@pytest.mark.parametrize('name, got', [('folder', 'a folder without them'), ('none', 'no folder')])
def test_load_when_it_is_no_model_at_all_then_that_is_said(tmp_path, name, got):
    (tmp_path / 'folder').mkdir()
    with pytest.raises(CheckpointError, match=f'{name} is neither a model nor an export.* got {got}'
                                              '.*samtok export MODEL --out DIR'):
        load_onnx(tmp_path / name, OnnxSettings())


def test_load_when_nothing_was_exported_then_the_command_is_named(own_export, tmp_path):
    with pytest.raises(CheckpointError, match='got float32 only. Run samtok export .* --dtype '
                       'float16'):
        load_onnx(own_export, OnnxSettings(dtype='float16'))
    (tmp_path / 'config.json').write_text('{}')  # a model, then
    with pytest.raises(CheckpointError, match='got no export. Run samtok export .* float32'):
        load_onnx(tmp_path, CPU)


def test_load_when_the_export_directory_itself_is_named_then_it_needs_no_weights(
        export_dir, ours, tmp_path):
    alone = tmp_path / 'robot'
    shutil.copytree(export_dir, alone)
    loaded = load_onnx(alone, CPU)
    assert loaded.model.tokenizer_id == ours.tokenizer_id
    assert loaded.provider == 'cpu'
    assert loaded.facts == {'precision': 'float32', 'provider': 'CPUExecutionProvider',
                            'runtime': loaded.facts['runtime']}
    with pytest.raises(ConfigError, match='expected float16, got float32'):
        load_onnx(alone, OnnxSettings(device='cpu', dtype='float16'))


def test_load_when_the_folder_has_an_at_sign_then_the_name_is_all_before_the_hash(
        own_export, tmp_path):
    folder = tmp_path / 'model@v2'
    own_export.rename(folder)
    name, _, content = Manifest.load(folder / 'onnx' / 'float32').tokenizer_id.rpartition('@')
    assert name == own_export.name
    change_manifest(folder / 'onnx' / 'float32', tokenizer_id=f'model@v2@{content}')
    settings = ModelSettings(name=str(folder), backend='onnx', device='cpu')
    assert OnnxBackend(settings).load_masks().name == 'model@v2'


def test_load_when_the_provider_is_missing_then_it_is_an_error(exported_tabletop):
    import onnxruntime as ort

    for provider, name in (('cuda', 'CUDA'), ('tensorrt', 'Tensorrt')):
        if f'{name}ExecutionProvider' in ort.get_available_providers():
            continue
        with pytest.raises(DeviceError, match=f'no {name}ExecutionProvider'):
            load_onnx(exported_tabletop, OnnxSettings(provider=provider))


@pytest.mark.parametrize('off, text', [(0, ''), (0.1, 'do not compute what torch computes')])
def test_load_when_on_a_gpu_then_the_results_are_compared_before_use(
        own_export, ours, monkeypatch, off, text):
    """The GPU is played by the CPU; what is tested is that wrong results are not let through."""
    directory = own_export / 'onnx' / 'float32'
    reference = Reference.load(directory / CHECK_FILE)
    Reference(**{**vars(reference), 'scores': reference.scores + np.float32(off)}).save(
        directory / CHECK_FILE)
    change_manifest(directory, check_sha256=sha256_of(directory / CHECK_FILE))
    monkeypatch.setattr(load, 'choose_provider', lambda *facts: Choice('cuda'))
    monkeypatch.setattr(load, '_open', lambda *facts: ours)
    if text:
        with pytest.raises(CheckpointError, match=text):
            load_onnx(own_export, CPU)
    else:
        assert load_onnx(own_export, CPU).facts['provider'] == 'CUDAExecutionProvider'


def test_reference_when_read_back_then_the_files_pass_it_and_a_wrong_one_does_not(
        ours, export_dir):
    reference = Reference.load(export_dir / CHECK_FILE)
    assert reference.masks.shape == reference.drawn.shape == (20, 480, 640)
    limits = limits_of('float32', 'cpu')
    check_parity(ours, reference, limits)
    wrong = Reference(**{**vars(reference), 'drawn': reference.drawn[::-1],
                         'scores': reference.scores + np.float32(0.1)})
    with pytest.raises(CheckpointError, match='mask_iou .* instead of at least 0.999; score_off '
                       '.* instead of at most 0.001'):
        check_parity(ours, wrong, limits)
    nothing = Reference(**{**vars(reference), 'embedding': reference.embedding * np.nan})
    with pytest.raises(CheckpointError, match='features_off nan instead of at most 0.01'):
        check_parity(ours, nothing, limits_of('float16', 'tensorrt'))


def test_limits_when_precision_falls_then_they_widen_for_the_features_alone():
    exact, half, rounded = (limits_of(*key) for key in (
        ('float32', 'cpu'), ('float16', 'cuda'), ('float32', 'tensorrt')))
    assert (exact['whole_codes_equal'], exact['whole_mask_iou']) == (1, 0.999)
    assert 'whole_codes_equal' not in half
    assert half['mask_iou'] == exact['mask_iou'] > rounded['mask_iou']
    assert half['features_off'] > exact['features_off']
    assert rounded['features_off'] > exact['features_off']


@pytest.mark.parametrize('damaged', GRAPHS)
def test_export_when_a_graph_computes_something_else_then_nothing_is_written(
        export_dir, own_export, monkeypatch, damaged):
    traced = iter(GRAPHS)

    def trace(plan):
        name = next(traced)
        model = onnx.load(export_dir / f'{name}.onnx')
        if name == damaged:
            largest = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
            values = np.frombuffer(largest.raw_data, np.float32)
            largest.raw_data = (values * np.float32(1.5)).tobytes()
        return model

    monkeypatch.setattr(exporting, 'trace', trace)
    monkeypatch.setattr(exporting, 'make_reference',
                        lambda tokenizer: Reference.load(export_dir / CHECK_FILE))
    out = own_export / 'elsewhere' / 'export'
    with pytest.raises(CheckpointError, match='do not compute what torch computes'):
        exporting.export_model(own_export, out)
    assert list(out.parent.iterdir()) == []


def test_export_when_the_target_is_no_folder_of_its_own_then_it_says_so(own_export, capsys):
    for out in (own_export, own_export / 'mask_tokenizer.json'):
        assert main(['export', str(own_export), '--out', str(out)]) == 2
        assert 'expected a folder of its own' in capsys.readouterr().err


def test_export_when_the_model_is_an_export_then_it_says_so(export_dir, capsys):
    assert main(['export', str(export_dir)]) == 2
    assert 'is an export already. Name the model directory' in capsys.readouterr().err


def test_export_when_a_package_is_missing_then_it_is_named(monkeypatch, capsys):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    assert main(['export', 'tabletop']) == 2
    assert 'no onnx and no onnxscript. Run pip install onnx onnxscript.' in capsys.readouterr().err


def test_grounding_when_only_an_export_is_named_then_it_says_what_to_name(export_dir):
    from samtok_ros.runtime.backend import make_backend
    from samtok_ros.settings.shared import FakeSettings, ModelSettings

    backend = make_backend(ModelSettings(name=str(export_dir), backend='onnx'), FakeSettings())
    with pytest.raises(CheckpointError, match='holds no language model'):
        backend.load_grounding()
