# SPDX-License-Identifier: Apache-2.0
"""Loads model and processor from a directory; names the file or tensor that is wrong."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    PreTrainedModel,
    ProcessorMixin,
)
from transformers.utils import logging as transformers_logging

from samtok_ros.errors import CheckpointError
from samtok_ros.language.families import check_model_type

logger = logging.getLogger(__name__)

# One name of each row must be there.
_NEEDED_FILES = (
    ('config.json',),
    ('tokenizer.json', 'vocab.json'),
    ('processor_config.json', 'preprocessor_config.json'),
    ('model.safetensors', 'model.safetensors.index.json'),
)
_LISTED_NAMES = 8


def load_model(model_dir: Path, dtype: torch.dtype) -> PreTrainedModel:
    """Load the model with its weights, in eval mode, on the CPU.

    Reads safetensors of this directory only: no download, no pickle, no code of the checkpoint.

    Raises:
        CheckpointError: a file is missing or damaged, or a tensor is missing, extra or misshapen.
    """
    check_files(model_dir)
    with _quiet_transformers(), _named_errors(model_dir, 'model'):
        model, report = AutoModelForImageTextToText.from_pretrained(
            str(model_dir), local_files_only=True, trust_remote_code=False, use_safetensors=True,
            dtype=dtype, output_loading_info=True,
            ignore_mismatched_sizes=True,  # otherwise only the first one would be named
        )
    _check_report(report, model_dir)
    check_model_type(model.config.model_type)
    _warn_of_untied_head(model, model_dir)
    return model.eval().requires_grad_(False)


def load_processor(model_dir: Path) -> ProcessorMixin:
    """Load text tokenizer, image processor and chat template.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    check_files(model_dir)
    with _quiet_transformers(), _named_errors(model_dir, 'processor'):
        processor = AutoProcessor.from_pretrained(str(model_dir), local_files_only=True,
                                                  trust_remote_code=False)
    if not hasattr(processor, 'image_processor'):
        # transformers hands out the bare text tokenizer where it cannot build the rest.
        raise CheckpointError(f'{model_dir} has no usable image processor',
                              got=type(processor).__name__,
                              fix='check preprocessor_config.json and that torchvision is there')
    if not processor.chat_template:
        raise CheckpointError(f'{model_dir} has no chat template', fix='add chat_template.jinja')
    return processor


def check_files(model_dir: Path) -> None:
    """Check that what the model needs is there and that weights can be opened.

    Raises:
        CheckpointError: names the file.
    """
    if not model_dir.is_dir():
        raise CheckpointError('model directory does not exist', got=model_dir,
                              fix='check the path')
    for names in _NEEDED_FILES:
        if not any((model_dir / name).is_file() for name in names):
            raise CheckpointError(f'{model_dir} lacks a file', expected=' or '.join(names),
                                  fix='fetch or copy the model again')
    single = model_dir / 'model.safetensors'
    for path in [single] if single.is_file() else sorted(model_dir.glob('model-*.safetensors')):
        try:
            with safe_open(path, framework='pt'):
                pass
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f'{path} is damaged', got=str(error).splitlines()[0],
                                  fix='fetch or copy the file again') from error


def _check_report(report: dict[str, Any], model_dir: Path) -> None:
    """Turn what transformers tolerates into an error that names all of it."""
    misshapen = [f'{name} {tuple(found)} instead of {tuple(wanted)}'
                 for name, found, wanted in sorted(report['mismatched_keys'])]
    missing = sorted(set(report['missing_keys'])
                     - {name for name, _, _ in report['mismatched_keys']})
    groups = (('missing', missing), ('extra', sorted(report['unexpected_keys'])),
              ('misshapen', misshapen), ('unreadable', sorted(report['error_msgs'])))
    parts = [f'{len(names)} {kind} ({_listed(names)})' for kind, names in groups if names]
    if parts:
        raise CheckpointError(f'weights in {model_dir} do not fit the model', got='; '.join(parts),
                              fix='check that config.json belongs to these weights')


def _warn_of_untied_head(model: PreTrainedModel, model_dir: Path) -> None:
    """Say so when the weights have a head of their own, which config.json says they have not."""
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    if model.config.tie_word_embeddings and head.weight is not embeddings.weight:
        logger.warning(
            '%s: config.json ties the output head to the embeddings, but the weights hold another '
            'head (lm_head.weight). It is used; transformers before 5 used the embeddings. If '
            'answers make no sense, remove that tensor', model_dir)


def _listed(names: list[str]) -> str:
    shown = ', '.join(names[:_LISTED_NAMES])
    return shown if len(names) <= _LISTED_NAMES else f'{shown}, ...'


@contextmanager
def _named_errors(model_dir: Path, part: str) -> Iterator[None]:
    """Report whatever a library raises on a damaged directory as one kind of error."""
    try:
        yield
    except ImportError as error:  # as for PerceptionLM, whose vision tower is one of timm
        raise CheckpointError(f'{part} in {model_dir} needs a package that is not installed',
                              got=' '.join(str(error).split()), fix='install it') from error
    except Exception as error:  # tokenizers raises Exception itself, others a dozen kinds
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise CheckpointError(f'{part} in {model_dir} cannot be loaded', got=lines[0],
                              fix='fetch or copy the model again') from error


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Keep its progress bar and its table of differences off the terminal: errors say it."""
    level = transformers_logging.get_verbosity()
    had_bar = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if had_bar:
            transformers_logging.enable_progress_bar()
