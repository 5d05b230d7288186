# SPDX-License-Identifier: Apache-2.0
"""Assembly of the sam2 package's own modules, with the sizes of a MaskTokenizerConfig.

The package's `SAM2Base` fixes the width of its heads and carries video memory that this package
never calls, so the same modules are put together here under the same names: the weights of a
published checkpoint fit as they are.
"""

from sam2.modeling.backbones.hieradet import Hiera
from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder
from sam2.modeling.position_encoding import PositionEmbeddingSine
from sam2.modeling.sam.mask_decoder import MaskDecoder
from sam2.modeling.sam.prompt_encoder import PromptEncoder
from sam2.modeling.sam.transformer import TwoWayTransformer

from samtok_ros.tokenizer.config import MaskTokenizerConfig


def build_image_encoder(config: MaskTokenizerConfig) -> ImageEncoder:
    """Return Hiera with its feature pyramid; the coarsest level is dropped (`scalp`)."""
    stages = len(config.trunk_stages)
    channels = [config.trunk_embed_dim * 2 ** stage for stage in reversed(range(stages))]
    trunk = Hiera(
        embed_dim=config.trunk_embed_dim,
        num_heads=config.trunk_num_heads,
        stages=config.trunk_stages,
        global_att_blocks=config.trunk_global_att_blocks,
        window_pos_embed_bkg_spatial_size=config.trunk_window_pos_size,
        window_spec=config.trunk_window_spec,
    )
    neck = FpnNeck(
        position_encoding=PositionEmbeddingSine(
            num_pos_feats=config.latent_dim, normalize=True, scale=None, temperature=10000,
            # Warming the cache would compute encodings for an input size that may not be ours.
            warmup_cache=False,
        ),
        d_model=config.latent_dim,
        backbone_channel_list=channels,
        fpn_top_down_levels=[2, 3],
        fpn_interp_model='nearest',
    )
    return ImageEncoder(trunk=trunk, neck=neck, scalp=1)


def build_two_way_transformer(config: MaskTokenizerConfig) -> TwoWayTransformer:
    """Return one two-way transformer; mask encoder and mask decoder have one each."""
    return TwoWayTransformer(
        depth=config.transformer_depth,
        embedding_dim=config.latent_dim,
        mlp_dim=config.transformer_mlp_dim,
        num_heads=config.transformer_heads,
    )


def build_prompt_encoder(config: MaskTokenizerConfig) -> PromptEncoder:
    """Return SAM's prompt encoder for the square model input."""
    return PromptEncoder(
        embed_dim=config.latent_dim,
        image_embedding_size=(config.embedding_size, config.embedding_size),
        input_image_size=(config.image_size, config.image_size),
        mask_in_chans=config.mask_prompt_channels,
    )


def build_mask_decoder(config: MaskTokenizerConfig) -> MaskDecoder:
    """Return SAM2's mask decoder with the options of the 2.1 models."""
    return MaskDecoder(
        num_multimask_outputs=3,
        transformer=build_two_way_transformer(config),
        transformer_dim=config.latent_dim,
        iou_head_depth=3,
        iou_head_hidden_dim=config.iou_head_dim,
        use_high_res_features=True,
        iou_prediction_use_sigmoid=True,
        pred_obj_scores=True,
        pred_obj_scores_mlp=True,
        use_multimask_token_for_obj_ptr=True,
        # As the package builds its image predictor; masks drawn from codes never take this way.
        dynamic_multimask_via_stability=True,
        dynamic_multimask_stability_delta=0.05,
        dynamic_multimask_stability_thresh=0.98,
    )
