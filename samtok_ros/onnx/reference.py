# SPDX-License-Identifier: Apache-2.0
"""What torch computes on one image, kept beside the files, and the comparison with it.

Written when a model is exported. The same comparison then judges a new file, a new TensorRT engine
and, on a GPU, every start: half precision and fused kernels have been silently wrong before.
"""

import dataclasses
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from samtok_ros.errors import CheckpointError
from samtok_ros.onnx.mask_tokenizer import OnnxFeatures, OnnxMaskTokenizer
from samtok_ros.onnx.resampling import logits_to_masks
from samtok_ros.regions import BoxPrompt, ImageSize, PointPrompt

MAPS = ('embedding', 'high_res_0', 'high_res_1')
COUNTS = (1, 2, 7, 20)
"""Regions per run that are compared: one file has to serve them all."""



@dataclass(frozen=True, eq=False)
class Reference:
    """Inputs, and what torch makes of them in float32 on the CPU. M = 20 regions, P prompts.

    Attributes:
        image_rgb: (H, W, 3) uint8.
        embedding, high_res_0, high_res_1: its feature maps, batch of 1.
        masks: (M, H, W) bool, none of them empty.
        mask_codes: (M, D) int64, what the masks are encoded to.
        codes: (M, D) int64 to be decoded.
        drawn: (M, H, W) bool, the masks of `codes`.
        scores: (M,) float32 predicted IoU of `drawn`.
        best: (M,) int64, which of the three candidates each is.
        boxes: (P / 2, 4) float32 left, top, right, bottom of box prompts, source pixels.
        points: (P / 2, 2) float32 xy of point prompts, source pixels.
        prompted: (P, H, W) bool, the masks of the boxes, then of the points.
    """

    image_rgb: np.ndarray
    embedding: np.ndarray
    high_res_0: np.ndarray
    high_res_1: np.ndarray
    masks: np.ndarray
    mask_codes: np.ndarray
    codes: np.ndarray
    drawn: np.ndarray
    scores: np.ndarray
    best: np.ndarray
    boxes: np.ndarray
    points: np.ndarray
    prompted: np.ndarray

    @property
    def features(self) -> OnnxFeatures:
        """Torch's features, as input of the other graphs."""
        return OnnxFeatures(ImageSize(*self.image_rgb.shape[:2]),
                            {name: getattr(self, name) for name in MAPS})

    @property
    def prompts(self) -> list[BoxPrompt | PointPrompt]:
        """The boxes, then the points."""
        return ([BoxPrompt(*box) for box in self.boxes.tolist()]
                + [PointPrompt(*point) for point in self.points.tolist()])

    def save(self, path: Path) -> None:
        """Write it; `load` is the inverse."""
        arrays = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        packed = {name: np.packbits(value, axis=-1) if value.dtype == np.bool_ else value
                  for name, value in arrays.items()}
        np.savez_compressed(path, **packed)

    @classmethod
    def load(cls, path: Path) -> 'Reference':
        """Read it.

        Raises:
            CheckpointError: the file is damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                arrays = {field.name: stored[field.name] for field in dataclasses.fields(cls)}
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise CheckpointError(f'{path} cannot be read', got=error,
                                  fix='run samtok export again') from error
        width = arrays['image_rgb'].shape[1]
        for name in ('masks', 'drawn', 'prompted'):
            arrays[name] = np.unpackbits(arrays[name], axis=-1, count=width).astype(np.bool_)
        return cls(**arrays)


@dataclass(frozen=True)
class Parity:
    """How close a runtime is to torch.

    The first five judge each graph on torch's own features, over all COUNTS; the last two are what
    comes out from pixels to codes and masks, and follow from `features_off`.

    Attributes:
        codes_equal: share of masks whose codes are all equal.
        best_equal: share of codes for which the same candidate is chosen.
        mask_iou: smallest IoU of a mask drawn from codes with torch's.
        prompt_iou: smallest IoU of a mask drawn from a box or a point with torch's.
        score_off: largest difference of a predicted IoU.
        features_off: norm of the difference of a feature map, divided by the norm of the map; the
            largest of three.
        whole_codes_equal: share of masks whose codes are all equal, with own features.
        whole_mask_iou: mean IoU of the masks drawn from codes, with own features.
    """

    codes_equal: float
    best_equal: float
    mask_iou: float
    prompt_iou: float
    score_off: float
    features_off: float
    whole_codes_equal: float
    whole_mask_iou: float

    def to_dict(self) -> dict[str, float]:
        """Return the figures by name."""
        return {name: round(float(value), 6) for name, value in dataclasses.asdict(self).items()}


Limits = Mapping[str, float]
"""Figures of Parity by name: what is still the same mask tokenizer. Those in _AT_MOST are upper
bounds, the others lower ones."""

_AT_MOST = ('score_off', 'features_off')
_EXACT = {'codes_equal': 1, 'best_equal': 1, 'mask_iou': 0.999, 'prompt_iou': 0.999,
          'score_off': 1e-3}
# TensorRT rounds float32 to TensorFloat-32; with 10 bits a code near the border of two may flip.
_ROUNDED = {'codes_equal': 0.85, 'best_equal': 0.9, 'mask_iou': 0.97, 'prompt_iou': 0.9,
            'score_off': 2e-2}
# Measured with Hiera-L: 1e-6, 1e-3 and 1.2e-2; torch's own bfloat16 gives 1.5e-2.
_FEATURES_OFF = {'float32': 1e-4, 'float16': 1e-2, 'bfloat16': 5e-2}
_TENSORRT_FEATURES_OFF = 1e-2


def limits_of(dtype: str, provider: str) -> Limits:
    """Return what files of a dtype must reach on a provider."""
    limits = {**(_ROUNDED if provider == 'tensorrt' else _EXACT),
              'features_off': _FEATURES_OFF[dtype]}
    if provider == 'tensorrt':
        limits['features_off'] = max(limits['features_off'], _TENSORRT_FEATURES_OFF)
    elif dtype == 'float32':
        limits |= {'whole_codes_equal': 1, 'whole_mask_iou': 0.999}
    return limits


def compare(model: OnnxMaskTokenizer, reference: Reference) -> Parity:
    """Run everything that was recorded, with each number of regions of COUNTS."""
    rows = [_compare_rows(model, reference.features, reference, count) for count in COUNTS]
    codes_equal, best_equal, mask_ious, scores_off = zip(*rows, strict=True)
    prompted = model.draw_prompts(reference.features, reference.prompts).masks
    features = model.embed_image(reference.image_rgb)
    features_off = max(_relative(value.numpy(), getattr(reference, name))
                       for name, value in features.maps.items())
    whole_codes_equal, _, whole_ious, _ = _compare_rows(model, features, reference, max(COUNTS))
    return Parity(
        min(codes_equal), min(best_equal), min(values.min() for values in mask_ious),
        ious(prompted, reference.prompted).min(), max(scores_off), features_off,
        whole_codes_equal, whole_ious.mean())


def check_parity(model: OnnxMaskTokenizer, reference: Reference, limits: Limits) -> Parity:
    """Compare and refuse what is not the same mask tokenizer.

    Raises:
        CheckpointError: names every figure that is off.
    """
    parity = compare(model, reference)
    found = dataclasses.asdict(parity)
    # Written so that NaN is wrong too.
    wrong = [f'{name} {found[name]:.4g} instead of at {"most" if name in _AT_MOST else "least"} '
             f'{limit:g}' for name, limit in limits.items()
             if not (found[name] <= limit if name in _AT_MOST else found[name] >= limit)]
    if wrong:
        raise CheckpointError(
            f'the {model.manifest.dtype} files of {model.tokenizer_id} do not compute what torch '
            'computes', got='; '.join(wrong), fix='use another dtype or another provider, and '
            'report this with the versions in the manifest')
    return parity


def ious(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Return (M,) IoU of (M, H, W) bool masks in pairs; two empty masks are equal."""
    both = (ours & theirs).sum(axis=(1, 2))
    either = (ours | theirs).sum(axis=(1, 2))
    return np.where(either > 0, both / np.maximum(either, 1), 1.0)


def _compare_rows(
    model: OnnxMaskTokenizer, features: OnnxFeatures, reference: Reference, count: int,
) -> tuple[float, float, np.ndarray, float]:
    """Return shares of equal codes and of equal candidates, IoUs, and how far scores are off."""
    codes = model.encode(features, reference.masks[:count])
    logits, scores, best = model.decode_low_res(features, reference.codes[:count])
    drawn = logits_to_masks(logits, features.size, model.config.logit_threshold)
    return (float((codes == reference.mask_codes[:count]).all(axis=1).mean()),
            float((best == reference.best[:count]).mean()),
            ious(drawn, reference.drawn[:count]),
            float(np.abs(scores - reference.scores[:count]).max()))


def _relative(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return the norm of the difference, relative to the norm of what is right."""
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))
