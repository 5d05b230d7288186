# SPDX-License-Identifier: Apache-2.0
"""SAM2's streaming memory on the features of a mask tokenizer: one image after the other.

Everything is the sam2 package's own code. What its video predictor adds, it adds for a whole video
on disk; here images come one by one, and what lies too far back to be looked at is forgotten.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from sam2.modeling.sam2_base import SAM2Base

from samtok_ros.errors import CheckpointError
from samtok_ros.tokenizer.config import BACKBONE_STRIDE
from samtok_ros.tokenizer.mask_tokenizer import ImageFeatures, MaskTokenizer
from samtok_ros.tokenizer.network import FeatureMaps, MaskTokenizerNetwork
from samtok_ros.tokenizer.resampling import logits_to_masks
from samtok_ros.tokenizer.skeleton import WithoutMemory
from samtok_ros.tokenizer.video_memory import MEMORY_SLOTS, VIDEO_PARTS

PUBLISHED_OPTIONS = {
    'num_maskmem': MEMORY_SLOTS, 'backbone_stride': BACKBONE_STRIDE,
    'sigmoid_scale_for_mem_enc': 20.0, 'sigmoid_bias_for_mem_enc': -10.0,
    'binarize_mask_from_pts_for_mem_enc': True, 'use_mask_input_as_output_without_sam': True,
    'directly_add_no_mem_embed': True, 'no_obj_embed_spatial': True,
    'use_high_res_features_in_sam': True, 'multimask_output_in_sam': True,
    'multimask_min_pt_num': 0, 'multimask_max_pt_num': 1, 'multimask_output_for_tracking': True,
    'use_multimask_token_for_obj_ptr': True, 'iou_prediction_use_sigmoid': True,
    'use_obj_ptrs_in_encoder': True, 'add_tpos_enc_to_obj_ptrs': True,
    'proj_tpos_enc_in_obj_ptrs': True, 'use_signed_tpos_enc_to_obj_ptrs': True,
    'only_obj_ptrs_in_the_past_for_eval': True, 'pred_obj_scores': True,
    'pred_obj_scores_mlp': True, 'fixed_no_obj_ptr': True, 'use_mlp_for_obj_ptr_proj': True}
"""Of SAM2.1 models. Source: sam2.1_hiera_l.yaml; build_sam2_video_predictor for the binarizing."""

_POINTERS = 16
"""Object pointers that are looked at; SAM2Base's default."""
_ENDLESS = 2 ** 31
_HEADS = ('sam_prompt_encoder', 'sam_mask_decoder', 'no_mem_embed')
_MASK_THRESHOLD = 0.0


@dataclass(eq=False)
class ThingMemory:
    """What is remembered of one thing: its first image, and the newest ones.

    Attributes:
        images: seen so far.
        outputs: of SAM2Base.track_step, by number of the image, in the two parts it asks for.
    """

    images: int = 0
    outputs: dict[str, dict[int, dict]] = field(default_factory=lambda: {
        'cond_frame_outputs': {}, 'non_cond_frame_outputs': {}})

    @property
    def nbytes(self) -> int:
        """Memory that it holds."""
        return sum(tensor.nbytes for part in self.outputs.values() for output in part.values()
                   for value in output.values() if value is not None
                   for tensor in (value if isinstance(value, list) else [value]))


@dataclass(frozen=True, eq=False)
class VideoMask:
    """Where a thing is in an image.

    Attributes:
        mask: (H, W) bool, empty when SAM2 says that the thing is not there.
        low_res_logits: (1, 1, 4h, 4w).
        score: IoU that the mask decoder predicts.
    """

    mask: np.ndarray
    low_res_logits: torch.Tensor
    score: float


class _StreamingSam2(SAM2Base):
    """SAM2Base around modules that are there already; also tells the predicted IoU."""

    score = 0.0

    def _forward_sam_heads(self, *args: object, **kwargs: object) -> tuple:
        outputs = super()._forward_sam_heads(*args, **kwargs)
        self.score = float(outputs[2].max())
        return outputs


class VideoTracker:
    """Follows things through images with the weights of one mask tokenizer."""

    def __init__(self, tokenizer: MaskTokenizer) -> None:
        """Wrap a mask tokenizer; nothing is copied.

        Raises:
            CheckpointError: it was loaded without video memory, or has none.
        """
        self._tokenizer = tokenizer
        self._sam2 = _build(tokenizer.network)

    def start(self, features: ImageFeatures, mask: np.ndarray) -> ThingMemory:
        """Begin to remember a thing.

        Args:
            features: of the image.
            mask: (H, W) bool of the thing in it.
        """
        sam2, memory = self._sam2, ThingMemory()
        with self._tokenizer.inference():
            inputs = self._inputs(features.maps)
            wanted = torch.as_tensor(mask, device=self._tokenizer.device)[None, None].float()
            output = sam2.track_step(
                frame_idx=0, is_init_cond_frame=True, **inputs, point_inputs=None,
                mask_inputs=self._to_input_size(wanted), output_dict=memory.outputs,
                num_frames=_ENDLESS, run_mem_encoder=False)
            # As the video predictor does with what a user has drawn.
            side = (sam2.image_size, sam2.image_size)
            output['maskmem_features'], output['maskmem_pos_enc'] = sam2._encode_new_memory(
                inputs['current_vision_feats'], inputs['feat_sizes'],
                F.interpolate(output['pred_masks'], side, mode='bilinear', align_corners=False),
                output['object_score_logits'], is_mask_from_pts=True)
        memory.outputs['cond_frame_outputs'][0] = _compact(output)
        memory.images = 1
        return memory

    def step(self, features: ImageFeatures, memory: ThingMemory) -> VideoMask:
        """Find a thing in the next image, and remember that too.

        Args:
            features: of the image.
            memory: of the thing; changed in place.
        """
        index = memory.images
        with self._tokenizer.inference():
            output = self._sam2.track_step(
                frame_idx=index, is_init_cond_frame=False, **self._inputs(features.maps),
                point_inputs=None, mask_inputs=None, output_dict=memory.outputs,
                num_frames=_ENDLESS)
        memory.images += 1
        newest = memory.outputs['non_cond_frame_outputs']
        newest[index] = _compact(output)
        newest.pop(index - _POINTERS, None)
        old = newest.get(index - MEMORY_SLOTS)
        if old is not None:  # Of an image so far back only the object pointer is looked at.
            old['maskmem_features'] = old['maskmem_pos_enc'] = None
        logits = output['pred_masks'].float()
        with torch.inference_mode():
            mask = logits_to_masks(logits, features.size, _MASK_THRESHOLD)[0].cpu().numpy()
        return VideoMask(mask, logits, self._sam2.score)

    def _inputs(self, maps: FeatureMaps) -> dict:
        """Return the features in the form that SAM2Base reads."""
        sam = self._tokenizer.network.sam
        # Single images get this added, those with a memory do not.
        coarse = maps.embedding - sam.no_mem_embed.permute(0, 2, 1).unsqueeze(-1)
        levels = [maps.high_res_0, maps.high_res_1, coarse]
        # Of the finer levels only the size is looked at.
        places = [level.new_zeros(()).expand(1, 1, *level.shape[-2:]) for level in levels[:2]]
        places.append(sam.image_encoder.neck.position_encoding(coarse).to(coarse.dtype))
        _, features, positions, sizes = self._sam2._prepare_backbone_features(
            {'backbone_fpn': levels, 'vision_pos_enc': places})
        return {'current_vision_feats': features, 'current_vision_pos_embeds': positions,
                'feat_sizes': sizes}

    def _to_input_size(self, mask: torch.Tensor) -> torch.Tensor:
        side = self._sam2.image_size
        if mask.shape[-2:] == (side, side):
            return mask
        return (F.interpolate(mask, (side, side), mode='bilinear', align_corners=False,
                              antialias=True) >= 0.5).float()


def _build(network: MaskTokenizerNetwork) -> _StreamingSam2:
    sam, config = network.sam, network.config
    missing = [name for name in VIDEO_PARTS if not hasattr(sam, name)]
    if missing:
        raise CheckpointError('the mask tokenizer has no video memory', got=f'no {missing[0]}',
                              expected="SAM2's memory modules, as published models have them")
    with WithoutMemory():
        sam2 = _StreamingSam2(sam.image_encoder, sam.memory_attention, sam.memory_encoder,
                              image_size=config.image_size, **PUBLISHED_OPTIONS)
    for name in (*VIDEO_PARTS, *_HEADS):
        setattr(sam2, name, getattr(sam, name))
    return sam2.eval().requires_grad_(False)


def _compact(output: dict) -> dict:
    """Return what later steps look at, as small as the video predictor keeps it."""
    return {'maskmem_features': output['maskmem_features'].to(torch.bfloat16),
            'maskmem_pos_enc': output['maskmem_pos_enc'], 'obj_ptr': output['obj_ptr']}
