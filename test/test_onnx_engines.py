# SPDX-License-Identifier: Apache-2.0
"""Providers and TensorRT engines: what is asked for, what is refused. No GPU is needed."""

import ctypes
import json
import shutil

import onnxruntime as ort
import pytest

from samtok_ros.errors import CheckpointError, DeviceError
from samtok_ros.onnx import build, load
from samtok_ros.onnx.build import build_engines
from samtok_ros.onnx.engines import (
    RECORD_FILE,
    EngineKey,
    check_engines,
    engine_dir,
    engine_options,
    engine_state,
    has_engines,
    write_record,
)
from samtok_ros.onnx.gpu import Gpu, find_gpu, tensorrt_version
from samtok_ros.onnx.load import OnnxSettings, load_onnx
from samtok_ros.onnx.manifest import GRAPHS, Manifest
from samtok_ros.onnx.providers import (
    PROVIDERS,
    Choice,
    check_assignment,
    check_got,
    choose_provider,
)
from samtok_ros.onnx.sessions import Engine, Graph, open_session, provider_options

CPU_ONLY = ('AzureExecutionProvider', 'CPUExecutionProvider')
ALL = tuple(PROVIDERS.values())
WITH_CUDA = (PROVIDERS['cuda'], PROVIDERS['cpu'])
ORIN = EngineKey(Gpu('Orin', '8.7'), '100300', '1.23.0')

no_cuda = pytest.mark.skipif(PROVIDERS['cuda'] in ort.get_available_providers(),
                             reason='this onnxruntime has CUDA')


@pytest.mark.parametrize('asked, device, available, has_gpu, engines, provider', [
    ('auto', 'auto', CPU_ONLY, False, False, 'cpu'),
    ('auto', 'auto', ALL, False, False, 'cpu'),
    ('auto', 'cpu', ALL, True, True, 'cpu'),
    ('auto', 'auto', ALL, True, False, 'cuda'),
    ('auto', 'auto', ALL, True, True, 'tensorrt'),
    ('auto', 'auto', WITH_CUDA, True, True, 'cuda'),
    ('auto', 'cuda', ALL, False, False, 'cuda'),
    ('cpu', 'cuda', ALL, True, True, 'cpu'),
    ('cuda', 'auto', ALL, True, True, 'cuda'),
    ('tensorrt', 'cpu', ALL, True, False, 'tensorrt'),
])
def test_provider_when_chosen_then_it_is_the_one_meant(asked, device, available, has_gpu, engines,
                                                       provider):
    assert choose_provider(asked, device, available, has_gpu, engines) == Choice(provider)


def test_provider_when_there_is_a_gpu_but_no_cuda_provider_then_the_fallback_is_told():
    choice = choose_provider('auto', 'auto', CPU_ONLY, True, False)
    assert choice.provider == 'cpu'
    assert 'there is a GPU, but this onnxruntime has no CUDA provider' in choice.fallback


@pytest.mark.parametrize('asked, device, text', [
    ('cuda', 'auto', 'no CUDAExecutionProvider .model.provider: cuda.: got Azure'),
    ('tensorrt', 'auto', 'no TensorrtExecutionProvider .model.provider: tensorrt.'),
    ('auto', 'cuda', 'no CUDAExecutionProvider .model.device: cuda.'),
])
def test_provider_when_it_is_missing_then_it_is_an_error(asked, device, text):
    with pytest.raises(DeviceError, match=text) as caught:
        choose_provider(asked, device, CPU_ONLY, True, False)
    assert 'Install' in str(caught.value)


def test_provider_when_onnxruntime_gives_another_one_then_it_is_an_error():
    explain = {'tensorrt': 'no libnvinfer'}.get
    check_got('cuda', [PROVIDERS['cuda'], PROVIDERS['cpu']], explain)
    for got in ([PROVIDERS['cpu']], [PROVIDERS['cuda'], PROVIDERS['cpu']], []):
        with pytest.raises(DeviceError, match='dropped the provider tensorrt .no libnvinfer.'):
            check_got('tensorrt', got, explain)


@no_cuda
def test_session_when_onnxruntime_silently_takes_the_cpu_then_it_is_an_error(exported_tabletop):
    path = exported_tabletop / 'onnx' / 'float32' / 'mask_decoder.onnx'
    for provider in ('cuda', 'tensorrt'):
        with pytest.raises(DeviceError, match=f'dropped the provider {provider} .this onnxruntime '
                           f'comes without libonnxruntime_providers_{provider}.so.: expected '
                           f'{PROVIDERS[provider]}, got CPUExecutionProvider'):
            open_session(path, Engine(provider), [(PROVIDERS[provider], {})])


def test_session_when_heavy_nodes_stay_on_the_cpu_then_it_is_an_error():
    nodes = [(PROVIDERS['cuda'], 'MatMul'), (PROVIDERS['cpu'], 'Shape')]
    check_assignment('cuda', nodes)
    check_assignment('cpu', [(PROVIDERS['cpu'], 'MatMul')])
    with pytest.raises(DeviceError, match='leaves heavy work to the CPU: .*got Conv, MatMul'):
        check_assignment('cuda', [*nodes, (PROVIDERS['cpu'], 'MatMul'), (PROVIDERS['cpu'], 'Conv')])


class Driver:
    """Plays libcuda and libnvinfer of a Jetson."""

    def __init__(self, count=1):
        self.count = count

    def cuInit(self, flags):  # noqa: N802
        return 0

    def cuDeviceGetCount(self, count):  # noqa: N802
        count._obj.value = self.count
        return 0

    def cuDeviceGet(self, device, number):  # noqa: N802
        device._obj.value = number
        return 0

    def cuDeviceGetName(self, name, length, device):  # noqa: N802
        ctypes.memmove(name, b'NVIDIA Orin (nvgpu)\0', 20)
        return 0

    def cuDeviceGetAttribute(self, value, attribute, device):  # noqa: N802
        value._obj.value = {75: 8, 76: 7}[attribute]
        return 0

    def getInferLibVersion(self):  # noqa: N802
        return 100300


def missing(name):
    raise OSError(f'{name}: cannot open shared object file')


def test_gpu_when_the_driver_is_asked_then_name_and_capability_come_back():
    assert find_gpu(lambda name: Driver()) == Gpu('NVIDIA Orin (nvgpu)', '8.7')
    assert find_gpu(lambda name: Driver(count=0)) is None
    assert find_gpu(missing) is None


def test_tensorrt_when_the_library_is_asked_then_its_version_comes_back():
    assert tensorrt_version(missing) is None
    assert tensorrt_version(
        lambda name: Driver() if name == 'libnvinfer.so.10' else missing(name)) == '100300'


def test_engine_folder_when_named_then_gpu_and_versions_are_in_it(tmp_path):
    assert engine_dir(tmp_path, ORIN).name == 'orin-sm87-trt100300-ort1.23.0'
    assert Gpu('NVIDIA RTX A2000 8GB / x', '8.6').slug == 'nvidia-rtx-a2000-8gb-x-sm86'


@pytest.fixture
def manifest(exported_tabletop):
    return Manifest.load(exported_tabletop / 'onnx' / 'float32')


def test_options_when_made_for_tensorrt_then_every_free_axis_has_its_range(manifest, tmp_path):
    options = {name: engine_options(manifest, name, tmp_path) for name in GRAPHS}
    assert not any('profile' in key for key in options['image_encoder'])
    decoder, encoder, prompts = (options[name] for name in GRAPHS[1:])
    assert decoder['trt_profile_min_shapes'] == 'codes:1x2'
    assert decoder['trt_profile_opt_shapes'] == 'codes:4x2'
    assert decoder['trt_profile_max_shapes'] == 'codes:32x2'
    assert encoder['trt_profile_max_shapes'] == 'mask_prompt:32x1x64x64,box_unit:32x4'
    assert prompts['trt_profile_min_shapes'] == 'points:1x1x2,labels:1x1'
    assert prompts['trt_profile_max_shapes'] == 'points:32x2x2,labels:32x2'
    for name, one in options.items():
        assert one['trt_engine_cache_path'] == one['trt_timing_cache_path'] == str(tmp_path)
        assert one['trt_engine_cache_prefix'] == name


@pytest.mark.parametrize('dtype, option', [('float16', 'trt_fp16_enable'),
                                           ('bfloat16', 'trt_bf16_enable'), ('float32', None)])
def test_options_when_half_precision_then_only_the_image_encoder_may_use_it(
        manifest, tmp_path, dtype, option):
    manifest = Manifest(**{**vars(manifest), 'dtype': dtype})
    for name in GRAPHS:
        reduced = [key for key in engine_options(manifest, name, tmp_path)
                   if key in ('trt_fp16_enable', 'trt_bf16_enable')]
        assert reduced == ([option] if option and name == 'image_encoder' else [])


def test_options_when_made_for_a_provider_then_float32_stays_float32(manifest, tmp_path):
    assert provider_options(manifest, 'mask_decoder', Engine('cpu')) == [(PROVIDERS['cpu'], {})]
    cuda, = provider_options(manifest, 'mask_decoder', Engine('cuda'))
    assert (cuda[0], cuda[1]['use_tf32']) == (PROVIDERS['cuda'], '0')
    both = provider_options(manifest, 'mask_decoder', Engine('tensorrt', engines=tmp_path))
    assert [name for name, _ in both] == [PROVIDERS['tensorrt'], PROVIDERS['cuda']]


@pytest.fixture
def export_dir(exported_tabletop, tmp_path):
    """An export whose manifest may be changed, with engines for ORIN."""
    source = exported_tabletop / 'onnx' / 'float32'
    directory = tmp_path / 'export'
    directory.mkdir()
    for path in source.iterdir():
        if path.suffix == '.json':
            shutil.copy(path, directory)
        else:
            (directory / path.name).symlink_to(path)
    folder = engine_dir(directory, ORIN)
    folder.mkdir(parents=True)
    (folder / 'image_encoder_1.engine').write_bytes(b'engine')
    (folder / 'mask_decoder_1.profile').write_bytes(b'ranges')
    write_record(directory, folder, {'codes_equal': 1.0})
    return directory


def test_engines_when_they_fit_then_their_folder_is_taken(export_dir):
    folder = check_engines(export_dir, ORIN)
    assert folder == engine_dir(export_dir, ORIN)
    assert has_engines(export_dir, ORIN)
    assert list(engine_state(folder)) == ['image_encoder_1.engine', 'mask_decoder_1.profile']


def test_engines_when_built_for_another_gpu_then_they_are_named_and_the_command_too(export_dir):
    thor = EngineKey(Gpu('Thor', '11.0'), '101303', '1.23.0')
    assert not has_engines(export_dir, thor)
    with pytest.raises(CheckpointError, match='expected thor-sm110-trt101303-ort1.23.0, got '
                       'orin-sm87-trt100300-ort1.23.0. Run samtok build-engines '):
        check_engines(export_dir, thor)


def change_manifest(export_dir):
    path = export_dir / 'manifest.json'
    path.write_text(path.read_text() + ' ')


def change_engine(export_dir):
    (engine_dir(export_dir, ORIN) / 'image_encoder_1.engine').write_bytes(b'changed')


def add_engine(export_dir):
    (engine_dir(export_dir, ORIN) / 'other.engine').write_bytes(b'more')


def remove_profile(export_dir):
    (engine_dir(export_dir, ORIN) / 'mask_decoder_1.profile').unlink()


def break_record(export_dir):
    (engine_dir(export_dir, ORIN) / RECORD_FILE).write_text('{')


@pytest.mark.parametrize('damage, text', [
    (change_manifest, 'engines are of another export'),
    (change_engine, 'missing or damaged: got image_encoder_1.engine'),
    (add_engine, 'missing or damaged: got other.engine'),
    (remove_profile, 'missing or damaged: got mask_decoder_1.profile'),
    (break_record, 'cannot be read'),
])
def test_engines_when_they_are_not_those_built_then_the_command_is_named(export_dir, damage, text):
    damage(export_dir)
    with pytest.raises(CheckpointError, match=f'{text}.*Run samtok build-engines'):
        check_engines(export_dir, ORIN)


def test_record_when_nothing_was_built_then_it_is_not_written(export_dir, tmp_path):
    (tmp_path / 'mask_decoder_1.profile').write_bytes(b'ranges')
    with pytest.raises(DeviceError, match='has built no engine'):
        write_record(export_dir, tmp_path, {})
    assert not (tmp_path / RECORD_FILE).exists()


@pytest.fixture
def played_tensorrt(monkeypatch):
    """Make the CPU play TensorRT: opening a graph leaves an engine, unless there is one."""
    def open_graph(export_dir, manifest, name, engine):
        path = engine.engines / f'{name}.engine'
        if not path.exists():
            path.write_bytes(name.encode())
            path.with_suffix('.profile').write_bytes(b'ranges')
        return open_on_cpu(export_dir, manifest, name, Engine('cpu', 1))

    open_on_cpu = Graph.open
    monkeypatch.setattr(Graph, 'open', open_graph)
    monkeypatch.setattr(EngineKey, 'here', lambda version: ORIN)
    for module in (build, load):
        monkeypatch.setattr(module, 'choose_provider', lambda *facts: Choice('tensorrt'))


def test_build_when_engines_pass_then_a_node_takes_them_and_builds_none(
        export_dir, played_tensorrt):
    said = []
    (engine_dir(export_dir, ORIN) / 'kept.timing').write_bytes(b'timing')
    built = build_engines(export_dir, said.append)
    assert built.files == tuple(sorted(f'{name}.engine' for name in GRAPHS))
    assert (built.folder / 'kept.timing').exists()
    assert [line.split()[2] for line in said[:4]] == list(GRAPHS)
    loaded = load_onnx(export_dir, OnnxSettings())
    assert (loaded.provider, loaded.facts['provider']) == ('tensorrt', PROVIDERS['tensorrt'])


def test_build_when_engines_are_wrong_then_they_are_removed(
        export_dir, played_tensorrt, monkeypatch):
    monkeypatch.setattr(build, 'limits_of', lambda *facts: {'whole_mask_iou': 1.1})
    with pytest.raises(CheckpointError, match='do not compute what torch computes'):
        build_engines(export_dir, lambda line: None)
    assert not engine_dir(export_dir, ORIN).exists()


def test_build_when_the_provider_fails_in_a_run_then_nothing_is_left(
        export_dir, played_tensorrt, monkeypatch):
    def fail(session, binding):
        raise RuntimeError('Error in execution: Status Message: no libcudnn.so')

    monkeypatch.setattr('onnxruntime.InferenceSession.run_with_iobinding', fail)
    with pytest.raises(DeviceError, match='the provider cpu failed: got no libcudnn.so'):
        build_engines(export_dir, lambda line: None)
    assert not engine_dir(export_dir, ORIN).exists()


def test_load_when_an_engine_is_built_behind_our_back_then_it_is_an_error(
        export_dir, played_tensorrt):
    # The record is right, and yet onnxruntime finds no use for these engines.
    with pytest.raises(DeviceError, match='did not take the TensorRT engines and built others: '
                       'got image_encoder.engine, .*mask_encoder.profile.*samtok build-engines'):
        load_onnx(export_dir, OnnxSettings())


@no_cuda
def test_build_when_there_is_no_tensorrt_then_it_says_what_to_install(export_dir):
    with pytest.raises(DeviceError, match='no TensorrtExecutionProvider.*Install'):
        build_engines(export_dir, lambda line: None)
    record = json.loads((engine_dir(export_dir, ORIN) / RECORD_FILE).read_text())
    assert list(record['files']) == ['image_encoder_1.engine', 'mask_decoder_1.profile']
