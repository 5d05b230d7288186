# SPDX-License-Identifier: Apache-2.0
"""SAM2's video memory: part of the published files, never called for single images.

Built only on request: to follow things by it (`video_tracker`), or so that a published file can be
loaded, checked and written back whole.
"""

import torch
from sam2.modeling.memory_attention import MemoryAttention, MemoryAttentionLayer
from sam2.modeling.memory_encoder import CXBlock, Fuser, MaskDownSampler, MemoryEncoder
from sam2.modeling.position_encoding import PositionEmbeddingSine
from sam2.modeling.sam.transformer import RoPEAttention
from sam2.modeling.sam2_utils import MLP
from torch import nn

from samtok_ros.tokenizer.config import MaskTokenizerConfig

MEMORY_SLOTS = 7
MEMORY_DIM = 64
VIDEO_PARTS = ('memory_attention', 'memory_encoder', 'mask_downsample', 'obj_ptr_proj',
               'obj_ptr_tpos_proj', 'maskmem_tpos_enc', 'no_mem_pos_enc', 'no_obj_ptr',
               'no_obj_embed_spatial')
"""What belongs to it among the parts of SAM2."""

_ATTENTION_LAYERS = 4
_FUSER_LAYERS = 2


def add_video_memory_(sam: nn.Module, config: MaskTokenizerConfig) -> None:
    """Add the memory modules to the SAM2 part of a network, under their published names.

    Source: samtok-spec 1.2; sizes that the published configuration fixes are fixed here.
    """
    dim = config.latent_dim
    sam.memory_attention = _memory_attention(config)
    sam.memory_encoder = _memory_encoder(dim)
    sam.mask_downsample = nn.Conv2d(1, 1, kernel_size=4, stride=4)
    sam.obj_ptr_proj = MLP(dim, dim, dim, 3)
    sam.obj_ptr_tpos_proj = nn.Linear(dim, MEMORY_DIM)
    for name, shape in (('maskmem_tpos_enc', (MEMORY_SLOTS, 1, 1, MEMORY_DIM)),
                        ('no_mem_pos_enc', (1, 1, dim)), ('no_obj_ptr', (1, dim)),
                        ('no_obj_embed_spatial', (1, MEMORY_DIM))):
        sam.register_parameter(name, nn.Parameter(torch.zeros(shape)))


def _memory_attention(config: MaskTokenizerConfig) -> MemoryAttention:
    dim = config.latent_dim
    rope = {'rope_theta': 10000.0, 'feat_sizes': [config.embedding_size] * 2,
            'embedding_dim': dim, 'num_heads': 1, 'downsample_rate': 1, 'dropout': 0.1}
    layer = MemoryAttentionLayer(
        activation='relu', dim_feedforward=config.transformer_mlp_dim, dropout=0.1, d_model=dim,
        pos_enc_at_attn=False, pos_enc_at_cross_attn_keys=True,
        pos_enc_at_cross_attn_queries=False, self_attention=RoPEAttention(**rope),
        cross_attention=RoPEAttention(rope_k_repeat=True, kv_in_dim=MEMORY_DIM, **rope))
    return MemoryAttention(d_model=dim, pos_enc_at_input=True, layer=layer,
                           num_layers=_ATTENTION_LAYERS)


def _memory_encoder(dim: int) -> MemoryEncoder:
    block = CXBlock(dim=dim, kernel_size=7, padding=3, layer_scale_init_value=1e-6,
                    use_dwconv=True)
    return MemoryEncoder(
        out_dim=MEMORY_DIM, in_dim=dim,
        position_encoding=PositionEmbeddingSine(num_pos_feats=MEMORY_DIM, normalize=True,
                                                warmup_cache=False),
        mask_downsampler=MaskDownSampler(embed_dim=dim, kernel_size=3, stride=2, padding=1),
        fuser=Fuser(layer=block, num_layers=_FUSER_LAYERS))
