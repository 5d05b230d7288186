# SPDX-License-Identifier: Apache-2.0
"""Loads what the model options ask for."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from samtok_ros.pipeline import Pipeline
    from samtok_ros.tokenizer.mask_tokenizer import MaskTokenizer


def load_pipeline(arguments: argparse.Namespace) -> 'Pipeline':
    """Load the whole model.

    Raises:
        SamtokError: it is not there, is damaged, or the device cannot be used.
    """
    from samtok_ros.pipeline import Pipeline

    return Pipeline.load(arguments.model, *device_and_dtype(arguments),
                         getattr(arguments, 'thinks', False))


def load_mask_tokenizer(arguments: argparse.Namespace) -> 'MaskTokenizer':
    """Load the mask tokenizer alone, which is all that masks and words need.

    Raises:
        SamtokError: it is not there, is damaged, or the device cannot be used.
    """
    from samtok_ros.model_directory import resolve_model
    from samtok_ros.tokenizer.mask_tokenizer import MaskTokenizer

    return MaskTokenizer.load(resolve_model(arguments.model), *device_and_dtype(arguments))


def device_and_dtype(arguments: argparse.Namespace) -> tuple[str, str]:
    """Return the torch device and the number format that 'auto' stands for.

    Raises:
        DeviceError: a GPU is asked for and there is none.
    """
    from samtok_ros.runtime.torch_backend import choose_device, choose_dtype

    device = choose_device(arguments.device)
    return device, choose_dtype(arguments.dtype, device)
