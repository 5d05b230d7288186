# SPDX-License-Identifier: Apache-2.0
"""The mask tokenizer's network: image features, mask encoder, quantizer, mask decoder.

Tensors only; `MaskTokenizer` is the door for arrays in source pixels. Attribute names give the
state dict the names of the published checkpoints (samtok-spec 1.11).

Shapes: B images, N regions, C latent channels, h w embedding cells, D codebook depth.
"""

from dataclasses import dataclass

import torch
from torch import nn

from samtok_ros.tokenizer.config import MaskTokenizerConfig
from samtok_ros.tokenizer.mask_encoder import MaskEncoder
from samtok_ros.tokenizer.quantizer import ResidualQuantizer
from samtok_ros.tokenizer.sam2_modules import (
    build_image_encoder,
    build_mask_decoder,
    build_prompt_encoder,
    build_two_way_transformer,
)

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class FeatureMaps:
    """What the image encoder gives; it does not depend on any mask.

    Attributes:
        embedding: (B, C, h, w) image embedding with the no-memory embedding added.
        high_res_0: (B, C/8, 4h, 4w) finest high-res features.
        high_res_1: (B, C/4, 2h, 2w) middle high-res features.
    """

    embedding: torch.Tensor
    high_res_0: torch.Tensor
    high_res_1: torch.Tensor

    def for_regions(self, image_index: torch.Tensor) -> 'FeatureMaps':
        """Return the maps once per region, without copying when there is one image.

        Args:
            image_index: (N,) int64, the image each region belongs to.
        """
        count = len(image_index)
        if self.embedding.shape[0] == 1:
            return FeatureMaps(*(map_.expand(count, -1, -1, -1) for map_ in self.maps()))
        return FeatureMaps(*(map_[image_index] for map_ in self.maps()))

    def maps(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the three maps."""
        return self.embedding, self.high_res_0, self.high_res_1


@dataclass(frozen=True)
class MaskCandidates:
    """The masks that the decoder offers for each region: M = 3, or 1 where one was asked for.

    Attributes:
        low_res_logits: (N, M, 4h, 4w) before sigmoid.
        scores: (N, M) predicted IoU, 0..1.
    """

    low_res_logits: torch.Tensor
    scores: torch.Tensor

    def best(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (N, 1, 4h, 4w) logits and (N,) scores of the candidate with the best score."""
        index = self.scores.argmax(dim=1)
        rows = torch.arange(len(index), device=index.device)
        return self.low_res_logits[rows, index].unsqueeze(1), self.scores[rows, index]


class Sam2WithMaskEncoder(nn.Module):
    """SAM2's image encoder, prompt encoder and mask decoder, and the added mask encoder."""

    def __init__(self, config: MaskTokenizerConfig) -> None:
        super().__init__()
        self.image_encoder = build_image_encoder(config)
        self.sam_prompt_encoder = build_prompt_encoder(config)
        self.sam_mask_decoder = build_mask_decoder(config)
        self.no_mem_embed = nn.Parameter(torch.zeros(1, 1, config.latent_dim))
        nn.init.trunc_normal_(self.no_mem_embed, std=0.02)
        self.sam_mask_encoder = MaskEncoder(build_two_way_transformer(config), config.latent_dim)
        self.image_size = config.image_size
        self.register_buffer('pixel_mean', torch.tensor(IMAGE_MEAN).view(1, 3, 1, 1),
                             persistent=False)
        self.register_buffer('pixel_std', torch.tensor(IMAGE_STD).view(1, 3, 1, 1),
                             persistent=False)

    def embed_image(self, pixels: torch.Tensor) -> FeatureMaps:
        """Encode images.

        Args:
            pixels: (B, 3, S, S) RGB, 0..255, resized to the model input size.
        Source: samtok-spec 1.3 and 1.4.
        """
        normalised = (pixels / 255 - self.pixel_mean) / self.pixel_std
        fine, middle, coarse = self.image_encoder(normalised)['backbone_fpn']
        return FeatureMaps(
            embedding=coarse + self.no_mem_embed.permute(0, 2, 1).unsqueeze(-1),
            high_res_0=self.sam_mask_decoder.conv_s0(fine),
            high_res_1=self.sam_mask_decoder.conv_s1(middle),
        )

    def embed_masks(
        self, features: FeatureMaps, mask_prompt: torch.Tensor, box_unit: torch.Tensor,
    ) -> torch.Tensor:
        """Return (N, C) mask embeddings before quantising.

        Args:
            features: maps of N regions.
            mask_prompt: (N, 1, 4h, 4w) float 0..1 with soft edges.
            box_unit: (N, 4) xyxy of the outermost set pixels, divided by image width and height.
        Source: samtok-spec 1.5.
        """
        sparse, dense = self.embed_mask_prompts(mask_prompt, box_unit)
        return self.read_masks(features, sparse, dense)

    def embed_mask_prompts(
        self, mask_prompt: torch.Tensor, box_unit: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the (N, 3, C) sparse and (N, C, h, w) dense prompt of masks: the first step.

        A step of its own because it is always done in float32: coordinates need every bit.
        """
        count = len(box_unit)
        # As points and not as a box, so that the prompt encoder appends its padding point.
        corners = box_unit.view(count, 2, 2) * self.image_size
        labels = torch.tensor([[2, 3]], device=box_unit.device).expand(count, -1)
        return self.sam_prompt_encoder(points=(corners, labels), boxes=None, masks=mask_prompt)

    def read_masks(
        self, features: FeatureMaps, sparse: torch.Tensor, dense: torch.Tensor,
    ) -> torch.Tensor:
        """Return (N, C) mask embeddings of prompts seen against the image: the second step."""
        return self.sam_mask_encoder(features.embedding, self.sam_prompt_encoder.get_dense_pe(),
                                     sparse, dense)

    def decode_embeddings(
        self, features: FeatureMaps, embeddings: torch.Tensor,
    ) -> MaskCandidates:
        """Draw the masks that (quantised) mask embeddings stand for.

        Args:
            features: maps of N regions.
            embeddings: (N, C).
        Source: samtok-spec 1.7: two padding points come before the embedding, three masks.
        """
        count = len(embeddings)
        padding = self.sam_prompt_encoder.not_a_point_embed.weight.expand(count, 2, -1)
        tokens = torch.cat([padding, embeddings.unsqueeze(1)], dim=1)
        return self.decode_tokens(features, tokens)

    def embed_points(self, points: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the (N, P + 1, C) sparse prompt of points, with SAM2's padding point at the end.

        Args:
            points: (N, P, 2) xy in pixels of the model input, without the half pixel.
            labels: (N, P) 1 for a point on the thing, 2 and 3 for the corners of a box.
        """
        return self.sam_prompt_encoder(points=(points, labels), boxes=None, masks=None)[0]

    def decode_tokens(
        self, features: FeatureMaps, tokens: torch.Tensor, one_mask: bool = False,
    ) -> MaskCandidates:
        """Run the mask decoder without a mask prompt.

        Args:
            features: maps of N regions.
            tokens: (N, T, C) sparse prompt.
            one_mask: SAM2's output for prompts that leave no choice, one candidate instead of
                three; where it is not stable, the best of the three.
        """
        no_mask = self.sam_prompt_encoder.no_mask_embed.weight.view(1, -1, 1, 1)
        logits, scores, _, _ = self.sam_mask_decoder(
            image_embeddings=features.embedding,
            image_pe=self.sam_prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=tokens,
            dense_prompt_embeddings=no_mask.expand_as(features.embedding),
            multimask_output=not one_mask,
            repeat_image=False,
            high_res_features=[features.high_res_0, features.high_res_1],
        )
        return MaskCandidates(logits.float(), scores.float())


class MaskTokenizerNetwork(nn.Module):
    """All weights of a mask tokenizer under the names of the published file."""

    def __init__(self, config: MaskTokenizerConfig) -> None:
        super().__init__()
        self.config = config
        self.model = nn.Module()
        self.model.sam2_model = Sam2WithMaskEncoder(config)
        self.quantizer = ResidualQuantizer(config.codebook_size, config.codebook_depth,
                                           config.latent_dim)

    @property
    def sam(self) -> Sam2WithMaskEncoder:
        """The SAM2 modules."""
        return self.model.sam2_model
