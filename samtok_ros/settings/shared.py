# SPDX-License-Identifier: Apache-2.0
"""What grounding and the mask tokenizer have in common: model, images, cache."""

from dataclasses import dataclass

from samtok_ros.errors import ConfigError
from samtok_ros.settings.fields import CheckedSettings, setting


@dataclass(frozen=True)
class ModelSettings(CheckedSettings):
    """Which model runs, and where."""

    name: str = setting(
        'tabletop', 'model that ships with the package, path of a model directory, or owner/name '
        'of one in the hub cache')
    backend: str = setting(
        'torch', 'what runs it; onnx runs the mask tokenizer by ONNX Runtime after samtok export, '
        'and the language model by torch as ever; fake makes up words from the image and the goal, '
        'for tests of everything around the model', choices=('torch', 'onnx', 'fake'))
    provider: str = setting(
        'auto', 'what runs the mask tokenizer with backend onnx: auto goes by device and takes '
        'tensorrt where samtok build-engines has run; one that is asked for and is not there is an '
        'error', choices=('auto', 'cpu', 'cuda', 'tensorrt'))
    device: str = setting('auto', 'auto takes the GPU where there is one',
                          choices=('auto', 'cpu', 'cuda'))
    dtype: str = setting(
        'auto', 'number format of the heavy parts; auto is bfloat16 on a GPU and float32 on a CPU, '
        'float16 needs a GPU', choices=('auto', 'float32', 'bfloat16', 'float16'))
    cuda_graphs: bool = setting(
        False, 'hand the image encoder, and each step of the language model, to the GPU as one '
        'recorded CUDA graph instead of as hundreds of operations; with torch on a GPU only, takes '
        'more of its memory; not timed on a GPU yet: compare with samtok bench --cuda-graphs')
    warm_up: bool = setting(True, 'run once on an empty image while configuring, so that the first '
                            'answer is as fast as later ones')
    thinks: bool = setting(False, 'for models that were trained by reinforcement (...-gcg-rl, '
                           '...-gres-rl): tells them to think aloud before they answer, without '
                           'which they answer worse; raise limits.max_new_tokens to 1024 with it')

    def __post_init__(self) -> None:
        """Check the fields, and that nothing is asked for that has no meaning here.

        Raises:
            ConfigError: as in the base, a provider for another backend than onnx, or CUDA graphs
                without a GPU.
        """
        super().__post_init__()
        if self.cuda_graphs and (self.device == 'cpu' or self.backend == 'fake'):
            raise ConfigError('model.cuda_graphs needs torch on a GPU',
                              expected='model.device: auto or cuda, model.backend: torch or onnx',
                              got=f'device {self.device}, backend {self.backend}',
                              fix='leave model.cuda_graphs out')
        if self.provider != 'auto' and self.backend != 'onnx':
            raise ConfigError(f'model.provider has no meaning with backend {self.backend}',
                              expected='model.backend: onnx', got=f'provider {self.provider}',
                              fix='set model.backend to onnx, or leave model.provider out')


@dataclass(frozen=True)
class InputSettings(CheckedSettings):
    """How images come in."""

    transport: str = setting(
        'auto', 'raw reads `image`, compressed reads `image/compressed`; auto reads the raw ones '
        'where somebody publishes them, else the compressed ones, never both',
        choices=('auto', 'raw', 'compressed'))
    reliability: str = setting(
        'best_effort', 'best_effort connects to every camera; reliable is for replay',
        choices=('best_effort', 'reliable'))
    depth: int = setting(1, 'images that the middleware keeps for us; 1 is the newest only',
                         bounds=(1, 10000))
    every_frame: bool = setting(
        False, 'process every image in order instead of the newest, so that a bag gives the same '
        'words each time; a goal then holds for the images stamped at or after its own stamp')
    queue: int = setting(1000, 'images that may wait when every one is processed; more are lost, '
                         'which is reported', bounds=(1, 100000))
    max_age_s: float = setting(
        0.0, 'an image that is older than this, in ROS time, when its turn comes is dropped and '
        'counted; 0 never', unit='s', bounds=(0.0, 3600.0))
    convert_raw_formats: bool = setting(
        False, 'Bayer and YUV images (`bayer_*`, `yuv422`, `uyvy`, `yuv422_yuy2`, `yuyv`, `nv21`) '
        'are converted on the CPU; else they are refused')
    max_megapixels: int = setting(20, 'larger images are refused', unit='Mpx', bounds=(1, 200))

    def __post_init__(self) -> None:
        """Check the fields, and that no frame can be lost where none may be.

        Raises:
            ConfigError: as in the base, or every frame is wanted over a lossy input.
        """
        super().__post_init__()
        if self.every_frame and self.reliability != 'reliable':
            raise ConfigError('input.every_frame loses frames on this input',
                              expected='input.reliability: reliable', got=self.reliability,
                              fix='start from config/replay.yaml')
        if self.every_frame and self.max_age_s:
            raise ConfigError('input.max_age_s would drop frames that input.every_frame asks for',
                              expected='input.max_age_s: 0.0', got=self.max_age_s)


@dataclass(frozen=True)
class CacheSettings(CheckedSettings):
    """Frames that are kept, by stamp, until their words come back."""

    frames: int = setting(120, 'frames kept at most', bounds=(1, 100000))
    megabytes: int = setting(512, 'memory for frames and their features', unit='MB',
                             bounds=(1, 1000000))


@dataclass(frozen=True)
class FakeSettings(CheckedSettings):
    """Delays and failures of the fake backend; without effect on any other."""

    load_s: float = setting(0.0, 'time to load', unit='s', bounds=(0.0, 600.0))
    prompt_s: float = setting(0.0, 'time to read image and text', unit='s', bounds=(0.0, 60.0))
    token_s: float = setting(0.0, 'time per token', unit='s', bounds=(0.0, 60.0))
    decode_s: float = setting(0.0, 'time to decode the words of one message', unit='s',
                              bounds=(0.0, 60.0))
    fail_every: int = setting(0, 'every n-th answer fails, as a device without memory left does; '
                              '0 never', bounds=(0, 1000000))
    flood: str = setting(
        'none', 'an answer never stops by itself, and is full of text, of masks or of malformed '
        'spans', choices=('none', 'text', 'masks', 'malformed'))
    fail_load: bool = setting(False, 'loading fails', live=True)
    fail_load_memory: bool = setting(False, 'loading runs out of memory', live=True)
