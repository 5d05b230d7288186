# SPDX-License-Identifier: Apache-2.0
"""The mask tokenizer by ONNX Runtime, the vision-language model by torch.

Only the mask tokenizer is exported: a process with the `mask_tokenizer` node alone never imports
torch.
"""

from dataclasses import replace

from samtok_ros.errors import CheckpointError
from samtok_ros.model_directory import resolve_model, split_tokenizer_id
from samtok_ros.onnx.load import OnnxSettings, load_onnx
from samtok_ros.onnx.manifest import MANIFEST_FILE
from samtok_ros.runtime.backend import GroundingModel, LoadedMaskModel, no_video_memory
from samtok_ros.settings.shared import ModelSettings


class OnnxBackend:
    """Loads the exported mask tokenizer and the language model of one model directory."""

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings

    def load_grounding(self) -> GroundingModel:
        """See Backend."""
        model_dir = resolve_model(self._settings.name)
        if (model_dir / MANIFEST_FILE).is_file():
            raise CheckpointError(
                'an exported mask tokenizer holds no language model', got=model_dir,
                fix='give the grounding node the model directory that it was exported from')
        from samtok_ros.runtime.torch_backend import TorchBackend
        return TorchBackend(replace(self._settings, backend='torch', provider='auto'),
                            ).load_grounding()

    def load_masks(self, video_memory: bool = False) -> LoadedMaskModel:
        """See Backend; the memory is not exported."""
        if video_memory:
            raise no_video_memory('an export')
        settings = self._settings
        loaded = load_onnx(resolve_model(settings.name),
                           OnnxSettings(settings.device, settings.dtype, settings.provider))
        sizes = loaded.model.config
        return LoadedMaskModel(loaded.model, split_tokenizer_id(loaded.model.tokenizer_id)[0],
                               loaded.provider, sizes.codebook_size, sizes.codebook_depth,
                               loaded.facts, sizes.reads_prompts)
