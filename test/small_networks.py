# SPDX-License-Identifier: Apache-2.0
"""Sizes of a mask tokenizer that trains and runs in moments."""

from samtok_ros.tokenizer.config import MaskTokenizerConfig

SMALL = MaskTokenizerConfig(
    image_size=64, trunk_embed_dim=8, trunk_num_heads=1, trunk_stages=(1, 1, 2, 1),
    trunk_global_att_blocks=(3,), trunk_window_pos_size=(4, 4), trunk_window_spec=(8, 4, 4, 2),
    latent_dim=32, transformer_heads=2, transformer_mlp_dim=32, iou_head_dim=16)
