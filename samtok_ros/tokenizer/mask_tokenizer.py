# SPDX-License-Identifier: Apache-2.0
"""The mask tokenizer: masks of an image to codes, codes to masks.

An image is embedded once; any number of masks is then encoded or decoded from its features in one
batch. Shapes: N regions, D codebook depth, H W source pixels.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from samtok_ros.errors import ConfigError, DeviceError, ImageError
from samtok_ros.image.encodings import check_rgb
from samtok_ros.image.transforms import boxes_to_unit, masks_to_boxes, resize_to_square
from samtok_ros.regions import ImageSize
from samtok_ros.tokenizer.checkpoint import load_network, tokenizer_id
from samtok_ros.tokenizer.config import MaskTokenizerConfig
from samtok_ros.tokenizer.network import FeatureMaps, MaskTokenizerNetwork
from samtok_ros.tokenizer.resampling import logits_to_masks, masks_to_prompts

DTYPES = {'float32': torch.float32, 'bfloat16': torch.bfloat16, 'float16': torch.float16}


@dataclass(frozen=True)
class ImageFeatures:
    """Features of one image: what both directions need besides codes or masks.

    Attributes:
        size: of the source image.
        maps: from the image encoder, batch of 1.
    """

    size: ImageSize
    maps: FeatureMaps

    @property
    def nbytes(self) -> int:
        """Memory that the features hold."""
        return sum(map_.nbytes for map_ in self.maps.maps())


@dataclass(frozen=True)
class DecodedMasks:
    """Masks drawn from codes.

    Attributes:
        masks: (N, H, W) bool at source resolution.
        low_res_logits: (N, 1, 4h, 4w) float32, before sigmoid.
        scores: (N,) float32, IoU that the decoder predicts for its masks, 0..1.
    """

    masks: np.ndarray
    low_res_logits: np.ndarray
    scores: np.ndarray


class MaskTokenizer:
    """Masks <-> codes for one model on one device."""

    def __init__(
        self, network: MaskTokenizerNetwork, tokenizer_id: str, device: str = 'cpu',
        dtype: str = 'float32',
    ) -> None:
        """Wrap a network.

        Args:
            network: with its weights.
            tokenizer_id: name and content hash; codes of another one mean nothing here.
            device: a torch device.
            dtype: 'float32', 'bfloat16' or 'float16' (CUDA only), of the heavy parts; the
                quantizer, the logits and the scores stay float32.
        Raises:
            ConfigError: unknown dtype.
            DeviceError: the device is not there.
        """
        if dtype not in DTYPES:
            raise ConfigError('unknown dtype', expected=' or '.join(DTYPES), got=dtype)
        self.tokenizer_id = tokenizer_id
        self.dtype = DTYPES[dtype]
        try:
            self.device = torch.device(device)
            self.network = network.to(self.device)
        except (RuntimeError, AssertionError) as error:
            raise DeviceError(f'device {device} cannot be used', got=str(error).splitlines()[0],
                              fix='set the device to cpu') from error

    @classmethod
    def load(cls, model_dir: Path, device: str = 'cpu', dtype: str = 'float32') -> 'MaskTokenizer':
        """Load the mask tokenizer of a model directory.

        Raises:
            CheckpointError: files are missing, damaged or do not fit.
            DeviceError: the device is not there.
        """
        model_dir = Path(model_dir)
        return cls(load_network(model_dir), tokenizer_id(model_dir), device, dtype)

    @property
    def config(self) -> MaskTokenizerConfig:
        """Sizes of the network."""
        return self.network.config

    def embed_image(self, image_rgb: np.ndarray) -> ImageFeatures:
        """Run the image encoder: the costly step, once per image.

        Args:
            image_rgb: (H, W, 3) uint8.
        Raises:
            ImageError: wrong shape or type, or no pixels.
        """
        size = check_rgb(image_rgb)
        square = resize_to_square(image_rgb, self.config.image_size)
        pixels = torch.tensor(square, device=self.device).permute(2, 0, 1).unsqueeze(0).float()
        with self._inference():
            return ImageFeatures(size, self.network.sam.embed_image(pixels))

    def encode(self, features: ImageFeatures, masks: np.ndarray) -> np.ndarray:
        """Turn masks into codes.

        Args:
            features: of the image the masks belong to.
            masks: (N, H, W) bool at source resolution.
        Returns:
            (N, D) int64 codes, each in [0, K).
        Raises:
            ImageError: a mask is empty or has another size than the image.
        """
        wanted = (features.size.height, features.size.width)
        if masks.ndim != 3 or masks.shape[1:] != wanted or masks.dtype != np.bool_:
            raise ImageError('masks do not fit the image',
                             expected=f'(N, {wanted[0]}, {wanted[1]}) bool',
                             got=f'{masks.shape} {masks.dtype}')
        if not len(masks):
            return np.empty((0, self.config.codebook_depth), np.int64)
        box_unit = boxes_to_unit(masks_to_boxes(masks), features.size)
        with self._inference():
            prompts = masks_to_prompts(torch.as_tensor(masks, device=self.device),
                                       self.config.low_res_size)
            embeddings = self.network.sam.embed_masks(
                self._maps(features, len(masks)), prompts,
                torch.as_tensor(box_unit, device=self.device))
            return self.network.quantizer.embeddings_to_codes(embeddings).cpu().numpy()

    def decode(self, features: ImageFeatures, codes: np.ndarray) -> DecodedMasks:
        """Turn codes into masks, all in one batch.

        Args:
            features: of the image the codes belong to.
            codes: (N, d) int64, d of 1..D; fewer levels give a coarser mask.
        Raises:
            SpanError: wrong shape, or a code out of range.
        """
        codes = np.asarray(codes, np.int64)
        if not len(codes):
            side = self.config.low_res_size
            return DecodedMasks(np.zeros((0, features.size.height, features.size.width), np.bool_),
                                np.zeros((0, 1, side, side), np.float32), np.zeros(0, np.float32))
        with self._inference():
            embeddings = self.network.quantizer.codes_to_embeddings(
                torch.as_tensor(codes, device=self.device))
            candidates = self.network.sam.decode_embeddings(self._maps(features, len(codes)),
                                                            embeddings)
            logits, scores = candidates.best()
            masks = logits_to_masks(logits, features.size, self.config.logit_threshold)
        return DecodedMasks(masks.cpu().numpy(), logits.cpu().numpy(), scores.cpu().numpy())

    def _maps(self, features: ImageFeatures, count: int) -> FeatureMaps:
        return features.maps.for_regions(torch.zeros(count, dtype=torch.int64, device=self.device))

    def _inference(self) -> '_InferenceScope':
        return _InferenceScope(self.device.type, self.dtype)


class _InferenceScope:
    """No gradients, and autocast for the dtypes that are not float32."""

    def __init__(self, device_type: str, dtype: torch.dtype) -> None:
        self._scopes = (torch.inference_mode(),
                        torch.autocast(device_type, dtype, enabled=dtype != torch.float32))

    def __enter__(self) -> None:
        for scope in self._scopes:
            scope.__enter__()

    def __exit__(self, *error: object) -> None:
        for scope in reversed(self._scopes):
            scope.__exit__(*error)
