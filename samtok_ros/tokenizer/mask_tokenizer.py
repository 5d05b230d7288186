# SPDX-License-Identifier: Apache-2.0
"""The mask tokenizer: masks of an image to codes, codes to masks.

An image is embedded once; any number of masks is then encoded or decoded from its features in one
batch. Shapes: N regions, D codebook depth, H W source pixels.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from samtok_ros.errors import ConfigError, DeviceError
from samtok_ros.image.encodings import check_rgb
from samtok_ros.image.transforms import boxes_to_unit, masks_to_boxes, resize_to_square
from samtok_ros.recording import RecordedCall, Recorder
from samtok_ros.regions import ImageSize
from samtok_ros.tokenizer.checkpoint import load_network, tokenizer_id
from samtok_ros.tokenizer.config import MaskTokenizerConfig
from samtok_ros.tokenizer.network import FeatureMaps, MaskCandidates, MaskTokenizerNetwork
from samtok_ros.tokenizer.prompts import (
    PROMPT_LOGIT_THRESHOLD,
    Prompt,
    PromptGroup,
    group_prompts,
)
from samtok_ros.tokenizer.records import DecodedMasks, DecodeOptions, check_masks
from samtok_ros.tokenizer.resampling import logits_to_masks, masks_to_prompts

DTYPES = {'float32': torch.float32, 'bfloat16': torch.bfloat16, 'float16': torch.float16}

_MOST_MASKS = 4096
_CPU_BATCH_BYTES = 45_000_000
"""Size of the largest feature map of a batch; every mask has one of its own."""


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


class MaskTokenizer:
    """Masks <-> codes for one model on one device."""

    def __init__(
        self, network: MaskTokenizerNetwork, tokenizer_id: str, device: str = 'cpu',
        dtype: str = 'float32', recorder: Recorder | None = None,
    ) -> None:
        """Wrap a network.

        Args:
            network: with its weights.
            tokenizer_id: name and content hash; codes of another one mean nothing here.
            device: a torch device.
            dtype: 'float32', 'bfloat16' or 'float16' (CUDA only), of the heavy parts; the
                quantizer, the logits and the scores stay float32. On a GPU float32 is just that:
                TensorFloat-32 is switched off for the convolutions of the whole process.
            recorder: of the device, to record the image encoder with; none by default.
        Raises:
            ConfigError: unknown dtype, or float16 without a GPU.
            DeviceError: the device is not there.
        """
        if dtype not in DTYPES:
            raise ConfigError('unknown dtype', expected=' or '.join(DTYPES), got=dtype)
        if dtype == 'float16' and not device.startswith('cuda'):
            raise ConfigError('float16 needs a GPU', expected='float32 or bfloat16',
                              got=f'float16 on {device}')
        self.tokenizer_id = tokenizer_id
        self.dtype = DTYPES[dtype]
        try:
            self.device = torch.device(device)
            self.network = network.to(self.device)
        except (RuntimeError, AssertionError) as error:
            raise DeviceError(f'device {device} cannot be used', got=str(error).splitlines()[0],
                              fix='set the device to cpu') from error
        if self.device.type != 'cpu':
            torch.backends.cudnn.allow_tf32 = False  # it has 10 bits: codes may flip
        encoder = self.network.sam.embed_image
        self._embed = encoder if recorder is None else _recorded(encoder, recorder)

    @classmethod
    def load(
        cls, model_dir: Path, device: str = 'cpu', dtype: str = 'float32',
        video_memory: bool = False, recorder: Recorder | None = None,
    ) -> 'MaskTokenizer':
        """Load the mask tokenizer of a model directory.

        On the CPU the weights stay mapped from their file: see `checkpoint.read_weights`.

        Args:
            model_dir: in the published layout or in ours.
            device: a torch device.
            dtype: see above.
            video_memory: load SAM2's video memory too, for `VideoTracker`.
            recorder: see above.
        Raises:
            CheckpointError: files are missing, damaged or do not fit.
            DeviceError: the device is not there.
        """
        model_dir = Path(model_dir)
        return cls(load_network(model_dir, video_memory), tokenizer_id(model_dir), device, dtype,
                   recorder)

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
        with self.inference():
            return ImageFeatures(size, self._embed(pixels))

    def embed_masks(self, features: ImageFeatures, masks: np.ndarray) -> torch.Tensor:
        """Return the (N, C) mask embeddings that `encode` quantises, on the device.

        Args:
            features: of the image the masks belong to.
            masks: (N, H, W) bool at source resolution, at least one.
        Raises:
            ImageError: a mask is empty or has another size than the image.
        """
        check_masks(masks, features.size)
        sam = self.network.sam
        box_unit = torch.as_tensor(boxes_to_unit(masks_to_boxes(masks), features.size))
        with torch.inference_mode():
            whole = torch.as_tensor(np.ascontiguousarray(masks), device=self.device)
            prompts = masks_to_prompts(whole, self.config.low_res_size)
            sparse, dense = sam.embed_mask_prompts(prompts, box_unit.to(self.device))
            with self.inference():
                return sam.read_masks(self._maps(features, len(masks)), sparse, dense)

    def encode(self, features: ImageFeatures, masks: np.ndarray) -> np.ndarray:
        """Turn masks into codes.

        Args:
            features: of the image the masks belong to.
            masks: (N, H, W) bool at source resolution.
        Returns:
            (N, D) int64 codes, each in [0, K).
        Raises:
            ImageError: a mask is empty or has another size than the image.
            DeviceError: what was computed is no number.
        """
        check_masks(masks, features.size)
        if not len(masks):
            return np.empty((0, self.config.codebook_depth), np.int64)
        embeddings = self.embed_masks(features, masks)
        with torch.inference_mode():
            codes = self.network.quantizer.embeddings_to_codes(embeddings)
            _check_numbers(embeddings.float().sum(dim=1).cpu().numpy())
        return codes.cpu().numpy()

    def candidates(
        self, features: ImageFeatures, codes: np.ndarray, options: DecodeOptions | None = None,
    ) -> MaskCandidates:
        """Return all three masks that the decoder offers for codes, on the device.

        Arguments and errors are those of `decode`, which keeps the best one.
        """
        missing_as_zero = (options or DecodeOptions()).missing_as_zero
        with self.inference():
            embeddings = self.network.quantizer.codes_to_embeddings(
                torch.as_tensor(codes, dtype=torch.int64), missing_as_zero)
            return self.network.sam.decode_embeddings(self._maps(features, len(embeddings)),
                                                      embeddings)

    def decode(
        self, features: ImageFeatures, codes: np.ndarray, options: DecodeOptions | None = None,
    ) -> DecodedMasks:
        """Turn codes into masks, in one batch or, on a CPU, in a few.

        Args:
            features: of the image the codes belong to.
            codes: (N, d) int64, d of 1..D; fewer levels give a coarser mask, and so does NO_CODE.
            options: compatible behaviours; none when left out.
        Raises:
            SpanError: wrong shape, or a code out of range.
            DeviceError: what was computed is no number; the masks would look empty.
        """
        threshold = (options or DecodeOptions()).logit_threshold
        if threshold is None:
            threshold = self.config.logit_threshold
        if not len(codes):
            side = self.config.low_res_size
            return DecodedMasks(np.zeros((0, features.size.height, features.size.width), np.bool_),
                                np.zeros((0, 1, side, side), np.float32), np.zeros(0, np.float32))
        best = [self.candidates(features, codes[start:start + self._batch], options).best()
                for start in range(0, len(codes), self._batch)]
        logits, scores = (torch.cat(parts) for parts in zip(*best, strict=True))
        return self._masks_of(logits, scores, features.size, threshold)

    def draw_prompts(self, features: ImageFeatures, prompts: Sequence[Prompt]) -> DecodedMasks:
        """Draw what boxes and points show, by SAM2's own way from prompts to masks.

        As SAM2's image predictor does it: the best of three masks for a point, which may mean a
        part or the whole; one mask for a box; logits above 0.

        Args:
            features: of the image the prompts belong to.
            prompts: N boxes and points, each for one mask.
        Raises:
            ImageError: a prompt does not lie in the image.
        """
        groups = group_prompts(prompts, features.size, self.config.image_size)
        side = self.config.low_res_size
        logits = torch.zeros((len(prompts), 1, side, side), device=self.device)
        scores = torch.zeros(len(prompts), device=self.device)
        for group in groups:
            logits[group.rows], scores[group.rows] = self._draw_group(features, group)
        return self._masks_of(logits, scores, features.size, PROMPT_LOGIT_THRESHOLD)

    def _draw_group(
        self, features: ImageFeatures, group: PromptGroup,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (n, 1, 4h, 4w) logits and (n,) scores of prompts of one kind."""
        count = len(group.rows)
        with torch.inference_mode():  # always float32: coordinates need every bit
            tokens = self.network.sam.embed_points(
                torch.as_tensor(group.points, device=self.device),
                torch.tensor([group.labels] * count, device=self.device))
        with self.inference():
            return self.network.sam.decode_tokens(self._maps(features, count), tokens,
                                                  group.one_mask).best()

    def _masks_of(
        self, logits: torch.Tensor, scores: torch.Tensor, size: ImageSize, threshold: float,
    ) -> DecodedMasks:
        with torch.inference_mode():
            masks = logits_to_masks(logits, size, threshold)
        found = DecodedMasks(masks.cpu().numpy(), logits.cpu().numpy(), scores.cpu().numpy())
        _check_numbers(found.scores)
        return found

    @property
    def _batch(self) -> int:
        """Masks that are decoded at once.

        On a CPU what a batch works on should not outgrow the caches by too much: at the published
        size, 20 masks in batches of 5 take two thirds of the time of 20 at once.
        """
        if self.device.type != 'cpu':
            return _MOST_MASKS
        side, channels = self.config.low_res_size, self.config.latent_dim // 8
        return min(_MOST_MASKS, max(1, _CPU_BATCH_BYTES // (4 * channels * side * side)))

    def _maps(self, features: ImageFeatures, count: int) -> FeatureMaps:
        return features.maps.for_regions(torch.zeros(count, dtype=torch.int64, device=self.device))

    def inference(self) -> AbstractContextManager[None]:
        """Return the scope in which the network runs: no gradients, and the number format."""
        return _InferenceScope(self.device.type, self.dtype)


def _check_numbers(values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        raise DeviceError('the mask tokenizer computes what is no number',
                          fix='use dtype bfloat16 or float32; if it is one of these, check the '
                          'weights')


def _recorded(
    encoder: Callable[[torch.Tensor], FeatureMaps], recorder: Recorder,
) -> Callable[[torch.Tensor], FeatureMaps]:
    recorded = RecordedCall(encoder, recorder)
    # Copies, since the next image overwrites what a recording gives.
    return lambda pixels: FeatureMaps(*(one.clone() for one in recorded(pixels).maps()))


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
