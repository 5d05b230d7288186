# SPDX-License-Identifier: Apache-2.0
"""Providers that cannot be had: which library is missing, told in words. No GPU is needed.

The long texts are those of onnxruntime-gpu 1.31.1 without a driver, or without cuDNN.
"""

import sys
import weakref
from types import SimpleNamespace

import numpy as np
import onnxruntime as ort
import pytest

from samtok_ros.doctor import probes
from samtok_ros.errors import DeviceError
from samtok_ros.onnx import gpu, libraries
from samtok_ros.onnx.engines import EngineKey
from samtok_ros.onnx.gpu import Gpu, tensorrt_version
from samtok_ros.onnx.libraries import find_wheels, library_of, wanted_tensorrt, why_not_loaded
from samtok_ros.onnx.providers import PROVIDERS
from samtok_ros.onnx.reasons import reason_of
from samtok_ros.onnx.sessions import Engine, Graph, open_session

SOURCES = '/onnxruntime_src/onnxruntime/core/providers/cuda'
NO_GPU = 'CUDA failure 100: no CUDA-capable device is detected'
DETAILS = ' ; GPU=-1 ; hostname=vm ; file=a.cc ; line=70 ; expr=cudaGetDeviceCount(&num_devices); '
SIGNATURE = ('std::conditional_t<THRW, void, onnxruntime::common::Status> onnxruntime::CudaCall('
             'ERRTYPE, const char*, int) [with ERRTYPE = cudaError; bool THRW = true]')
NO_CUDNN = ('cuDNN is unavailable or disabled for CUDA Execution Provider: dlopen failed for '
            'libcudnn.so: libcudnn.so: cannot open shared object file: No such file or directory')
RUN_WITHOUT_CUDNN = (
    "Error in execution: Non-zero status code returned while running Conv node. Name:'node_conv2d' "
    f'Status Message: {SOURCES}/cuda_kernel.h:296 static cudnnContext* onnxruntime::cuda::'
    'CudaKernel::RequireCudnnHandle(cudnnHandle_t) [ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : '
    f'{NO_CUDNN}\n')
NO_MEMORY = 'Failed to allocate memory for requested buffer of size 4096'
RUN_WITHOUT_MEMORY = (
    "Error in execution: Non-zero status code returned while running MatMul node. Name:'x' Status "
    'Message: /onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:376 void* onnxruntime::'
    f'BFCArena::AllocateRawInternal(size_t, bool, std::function<void(int)>) {NO_MEMORY}')


@pytest.mark.parametrize('text, reason', [
    (f'{SOURCES}/cuda_call.cc:154 {SIGNATURE} {SOURCES}/cuda_call.cc:146 {SIGNATURE} '
     f'{NO_GPU}{DETAILS}', NO_GPU),
    (f'{SOURCES}/info.cc:63 static onnxruntime::Info onnxruntime::Info::FromProviderOptions(const '
     'Options&) [ONNXRuntimeError] : 1 : FAIL : provider_options_utils.h:182 Parse Unknown '
     'provider option: "nonsense".', 'Unknown provider option: "nonsense"'),
    ('/onnxruntime_src/onnxruntime/python/state.cc:1220 std::shared_ptr<Factory> onnxruntime::'
     'Create(const Options&, const Map&) Invalid TensorRT EP option: nonsense (1)\n',
     'Invalid TensorRT EP option: nonsense (1)'),
    (RUN_WITHOUT_CUDNN, NO_CUDNN),
    (RUN_WITHOUT_MEMORY, NO_MEMORY),
    ('[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Load model from a.onnx failed:Protobuf parsing '
     'failed.', 'Load model from a.onnx failed:Protobuf parsing failed'),
    ('plain words (of another library)', 'plain words (of another library)'),
    (RuntimeError(), 'RuntimeError'),
])
def test_reason_when_the_text_is_long_then_its_meaning_is_left(text, reason):
    assert reason_of(text) == reason


@pytest.fixture
def provider_file(tmp_path, monkeypatch):
    """Return a file that stands for the library of every provider; it is not there yet."""
    path = tmp_path / 'libonnxruntime_providers_any.so'
    monkeypatch.setattr(libraries, 'library_of', lambda provider: path)
    return path


def test_library_when_it_cannot_be_loaded_then_the_loader_says_why(provider_file):
    assert why_not_loaded('cpu') == ''
    assert why_not_loaded('cuda') == 'this onnxruntime comes without ' + provider_file.name
    provider_file.write_bytes(b'\x7fELF')
    assert why_not_loaded('cuda') == f'{provider_file}: file too short'
    provider_file.unlink()
    provider_file.symlink_to(np._core._multiarray_umath.__file__)
    assert why_not_loaded('cuda') == ''


def test_library_when_named_then_it_lies_beside_onnxruntime():
    shared = library_of('shared')
    # Wheels for a CPU have this one, or none at all.
    assert shared.parent.is_dir()
    assert any(shared.parent.glob('onnxruntime_pybind11_state*'))


@pytest.mark.parametrize('content, wanted', [
    (b'\0libnvonnxparser.so.10\0libnvinfer.so.10\0', 10), (b'\0libnvinfer.so.8\0', 8),
    (b'nothing', None), (None, None)])
def test_tensorrt_when_the_provider_names_a_version_then_that_one_is_meant(
        provider_file, content, wanted):
    if content is not None:
        provider_file.write_bytes(content)
    assert wanted_tensorrt() == wanted


def test_tensorrt_when_two_are_installed_then_the_one_in_use_is_reported(
        provider_file, monkeypatch):
    def load(name):
        major = int(name.split('.')[-1])
        if major not in (11, 10):
            raise OSError(name)
        return SimpleNamespace(getInferLibVersion=lambda: 10000 * major)

    assert tensorrt_version(load) == '110000'
    provider_file.write_bytes(b'libnvinfer.so.10')
    assert tensorrt_version(load) == '100000'
    provider_file.write_bytes(b'libnvinfer.so.99')
    assert tensorrt_version(load) is None
    monkeypatch.setattr('samtok_ros.onnx.engines.find_gpu', lambda: Gpu('Orin', '8.7'))
    with pytest.raises(DeviceError, match='got no libnvinfer.so.99'):
        EngineKey.here('1.31')


@pytest.fixture
def asked(monkeypatch):
    """Replace sessions by one that fails as told; return what it was asked for."""
    found = SimpleNamespace(error=None, arguments=None, wheels=0)

    def session(path, settings, **arguments):
        found.arguments = arguments
        raise found.error

    def preload_dlls():
        found.wheels += 1
        sys.stdout.write('Failed to load libcublasLt.so.13')

    find_wheels.cache_clear()
    monkeypatch.setattr(ort, 'InferenceSession', session)
    monkeypatch.setattr(ort, 'preload_dlls', preload_dlls, raising=False)
    yield found
    find_wheels.cache_clear()


def test_session_when_the_provider_raises_then_it_is_an_error_in_words_and_no_second_try(
        asked, monkeypatch):
    monkeypatch.setattr('samtok_ros.onnx.sessions.why_not_loaded', lambda provider: '')
    asked.error = RuntimeError(f'{SOURCES}/cuda_call.cc:154 {SIGNATURE} {NO_GPU}{DETAILS}')
    with pytest.raises(DeviceError) as caught:
        open_session('a.onnx', Engine('cuda'), [(PROVIDERS['cuda'], {})])
    assert str(caught.value).startswith(
        f'the provider cuda cannot run a.onnx: got {NO_GPU}. Check that ')
    assert asked.arguments['enable_fallback'] == 0


def test_session_when_a_library_is_missing_then_its_name_is_told(asked, provider_file):
    provider_file.write_bytes(b'\x7fELF')
    asked.error = RuntimeError('Please install TensorRT libraries')
    with pytest.raises(DeviceError, match='tensorrt cannot run a.onnx: got .*file too short'):
        open_session('a.onnx', Engine('tensorrt'), [(PROVIDERS['tensorrt'], {})])


def test_session_when_on_a_gpu_then_wheels_are_looked_for_once_and_quietly(asked, capsys):
    asked.error = RuntimeError(NO_MEMORY)
    for provider, wheels in (('cpu', 0), ('cuda', 1), ('tensorrt', 1)):
        with pytest.raises(DeviceError):
            open_session('a.onnx', Engine(provider), [(PROVIDERS[provider], {})])
        assert asked.wheels == wheels
    assert capsys.readouterr().out == ''


def test_session_when_there_is_nothing_to_preload_then_it_is_opened_all_the_same(
        asked, monkeypatch):
    monkeypatch.delattr(ort, 'preload_dlls')  # before 1.21
    asked.error = RuntimeError('said by the session')
    with pytest.raises(DeviceError):
        open_session('a.onnx', Engine('cuda'), [(PROVIDERS['cuda'], {})])


@pytest.mark.parametrize('text, said', [
    (RUN_WITHOUT_CUDNN, f'the provider cuda failed: got {NO_CUDNN}. Check that '),
    (RUN_WITHOUT_MEMORY, f'the device ran out of memory: got {NO_MEMORY}. Use a smaller model'),
    (f'{NO_GPU[:15]}2: out of memory{DETAILS}', 'the device ran out of memory: got CUDA failure ')])
def test_run_when_the_provider_fails_then_it_is_an_error_in_words_that_holds_no_array(text, said):
    class Binding:
        def bind_cpu_input(self, name, array):
            self.array = array

    class Session:
        def get_outputs(self):
            return []

        def io_binding(self):
            return Binding()

        def run_with_iobinding(self, binding):
            raise RuntimeError(text)

    array = np.zeros(3, np.float32)
    held = weakref.ref(array)
    inputs = {'x': array}
    del array
    with pytest.raises(DeviceError) as caught:
        Graph(Session(), Engine('cuda')).run(inputs)
    inputs.clear()
    assert str(caught.value).startswith(said)
    assert held() is None


def test_probe_when_providers_are_built_in_then_those_that_do_not_work_are_named(
        provider_file, monkeypatch):
    monkeypatch.setattr(ort, 'get_available_providers', lambda: list(PROVIDERS.values()))
    monkeypatch.setattr(gpu, 'find_gpu', lambda: None)
    names = {PROVIDERS['cuda'], PROVIDERS['tensorrt']}
    missing = f'this onnxruntime comes without {provider_file.name}'
    assert probes.onnxruntime()['unusable'] == dict.fromkeys(names, missing)
    provider_file.symlink_to(np._core._multiarray_umath.__file__)
    assert probes.onnxruntime()['unusable'] == dict.fromkeys(names, 'the driver shows no GPU')
    monkeypatch.setattr(gpu, 'find_gpu', lambda: Gpu('Orin', '8.7'))
    assert probes.onnxruntime()['unusable'] == {}
    monkeypatch.undo()
    assert set(probes.onnxruntime()['unusable']) <= names
