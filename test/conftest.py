# SPDX-License-Identifier: Apache-2.0
"""A tiny random model directory, built once per run, and a synthetic image."""

import logging
import os
from pathlib import Path

import numpy as np
import pytest

_TEXTS = (
    'Please segment the red mug in this image.',
    'Can you segment the blue ball left of the green box in this image?',
    'What colour is <|mt_start|><|mt_0230|><|mt_0345|><|mt_end|>?',
    '```json\n[{"mask_2d": "<|mt_start|><|mt_0001|><|mt_0300|><|mt_end|>", "label": "the red mug"},'
    '\n{"mask_2d": "<|mt_start|><|mt_0002|><|mt_0301|><|mt_end|>", "label": "the ball"}]\n```',
    'No target.',
)


def pytest_terminal_summary(terminalreporter):
    """Show what tests have measured: whatever they gave to `record_property('figures', ...)`."""
    figures = {value for reports in terminalreporter.stats.values() for report in reports
               for name, value in getattr(report, 'user_properties', ()) if name == 'figures'}
    if figures:
        terminalreporter.section('figures')
        terminalreporter.write_line('\n'.join(sorted(figures)))


@pytest.fixture(scope='session')
def tiny_texts() -> tuple[str, ...]:
    """Sample texts that the tiny text tokenizer is trained on."""
    return _TEXTS


@pytest.fixture(scope='session')
def tiny_sizes():
    """Sizes of the tiny vision-language model."""
    from samtok_ros.language.tiny_vlm import TinyVlmConfig

    return TinyVlmConfig(
        vision_depth=1, vision_hidden=32, vision_intermediate=64, vision_heads=2, position_grid=8,
        text_layers=2, text_hidden=48, text_intermediate=96, text_heads=2, head_dim=24,
        text_pieces=400, max_positions=1024)


@pytest.fixture(scope='session')
def tiny_vlm_dir(tmp_path_factory, tiny_texts, tiny_sizes) -> Path:
    """Directory of a small vision-language model with random weights. Do not write into it."""
    from samtok_ros.language.tiny_vlm import build_tiny_vlm

    directory = tmp_path_factory.mktemp('models') / 'tiny'
    build_tiny_vlm(directory, tiny_texts, tiny_sizes, seed=0)
    return directory


@pytest.fixture(scope='session')
def tiny_model_dir(tiny_vlm_dir) -> Path:
    """The same with a small random mask tokenizer: a whole model. Do not write into it."""
    import torch

    from samtok_ros.tokenizer.checkpoint import save_network
    from samtok_ros.tokenizer.config import MaskTokenizerConfig
    from samtok_ros.tokenizer.network import MaskTokenizerNetwork

    config = MaskTokenizerConfig(
        image_size=128, trunk_embed_dim=16, trunk_num_heads=1, trunk_stages=(1, 1, 2, 1),
        trunk_global_att_blocks=(3,), trunk_window_pos_size=(8, 8), trunk_window_spec=(8, 4, 8, 4),
        latent_dim=32, transformer_heads=4, transformer_mlp_dim=64, iou_head_dim=32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_network(MaskTokenizerNetwork(config), tiny_vlm_dir)
    return tiny_vlm_dir


@pytest.fixture(scope='session')
def processor(tiny_vlm_dir):
    """Text tokenizer, image processor and chat template of the tiny model."""
    from samtok_ros.language.checkpoint import load_processor

    return load_processor(tiny_vlm_dir)


@pytest.fixture(scope='session')
def text_tokenizer(processor):
    """Text tokenizer of the tiny model."""
    return processor.tokenizer


@pytest.fixture(scope='session')
def vlm(tiny_vlm_dir):
    """The tiny model, loaded."""
    from samtok_ros.language.vlm import VisionLanguageModel

    return VisionLanguageModel.load(tiny_vlm_dir)


@pytest.fixture(scope='session')
def make_say():
    """Make the language model of a pipeline want to say a text; returns the hook, to remove it."""
    def make(pipeline, text: str):
        tokenizer = pipeline.language_model._processor.tokenizer
        wanted = iter(tokenizer(text).input_ids + [tokenizer.eos_token_id])
        end_id = pipeline.language_model.token_ids.end_id

        def say(module, _, output):
            token_id = next(wanted)
            if token_id == end_id:  # fed together with the code word before it
                token_id = next(wanted)
            output = output.clone()
            output[..., token_id] += 50
            return output

        return pipeline.language_model._model.lm_head.register_forward_hook(say)

    return make


@pytest.fixture(scope='session')
def image_rgb() -> np.ndarray:
    """(240, 320, 3) uint8: a red square on a grey gradient."""
    image = np.zeros((240, 320, 3), np.uint8)
    image[...] = np.linspace(60, 200, 320, dtype=np.uint8)[None, :, None]
    image[80:140, 100:180] = (200, 30, 30)
    return image


@pytest.fixture
def picture(tmp_path, image_rgb) -> Path:
    """A PNG file of the synthetic image."""
    from PIL import Image

    path = tmp_path / 'scene.png'
    Image.fromarray(image_rgb).save(path)
    return path


@pytest.fixture(scope='session')
def exported_tabletop(tmp_path_factory) -> Path:
    """Directory `tabletop`: the embedded model with its ONNX files. Do not write into it.

    The export takes many seconds, so all test processes share one; it goes through the command.
    """
    from filelock import FileLock

    from samtok_ros.cli.main import main
    from samtok_ros.model_directory import EMBEDDED_MODEL, MODELS_DIR

    shared = tmp_path_factory.getbasetemp()
    if 'PYTEST_XDIST_WORKER' in os.environ:
        shared = shared.parent
    directory = shared / 'exported' / EMBEDDED_MODEL
    with FileLock(shared / 'exported.lock'):
        if not directory.exists():
            directory.mkdir(parents=True)
            for path in (MODELS_DIR / EMBEDDED_MODEL).iterdir():
                if path.is_file():
                    (directory / path.name).symlink_to(path)
            # pytest listens to everything, and torch tells a lot about tracing.
            logging.disable(logging.DEBUG)
            assert main(['export', str(directory)]) == 0
            logging.disable(logging.NOTSET)
    return directory
