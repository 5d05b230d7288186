# SPDX-License-Identifier: Apache-2.0
"""Mask encoder, mask decoder and prompt decoder as graphs: everything that depends on N.

All three are float32 in every set of files: together they are a few thousandths of the arithmetic,
and their softmax over 4096 cells is known to go wrong in half precision. The image's feature maps
come in once, with a batch of 1, and broadcast over the regions.

Shapes: N regions, D codebook depth, C channels, h w image cells, P points per prompt.
"""

import math

import torch
from torch import nn

from samtok_ros.export.layers import channel_norm, two_way
from samtok_ros.tokenizer.network import MaskTokenizerNetwork


class _Positions(nn.Module):
    """The prompt encoder's positional encoding, of points and (baked in) of all cells."""

    def __init__(self, network: MaskTokenizerNetwork) -> None:
        super().__init__()
        prompt_encoder = network.sam.sam_prompt_encoder
        self.side = network.config.image_size
        self.register_buffer('frequencies',
                             prompt_encoder.pe_layer.positional_encoding_gaussian_matrix)
        self.register_buffer('cells', _cells_last(prompt_encoder.get_dense_pe().detach()))

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        """(N, P, 2) xy in pixels of the model input, without the half pixel -> (N, P, C)."""
        unit = (points + 0.5) / self.side
        angles = 2 * math.pi * torch.matmul(2 * unit - 1, self.frequencies)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


class MaskEncoderGraph(nn.Module):
    """Mask and box, seen against the image -> codes."""

    def __init__(self, network: MaskTokenizerNetwork) -> None:
        super().__init__()
        sam = network.sam
        prompt_encoder = sam.sam_prompt_encoder
        self.downscaling = prompt_encoder.mask_downscaling
        self.transformer = sam.sam_mask_encoder.transformer
        self.positions = _Positions(network)
        self.register_buffer('query', sam.sam_mask_encoder.mask_tokens.weight.detach())
        self.register_buffer('corners', torch.cat(
            [prompt_encoder.point_embeddings[label].weight for label in (2, 3)]).detach())
        self.register_buffer('padding', prompt_encoder.not_a_point_embed.weight.detach())
        self.entries = [book.weight[:book.size].detach().float()
                        for book in network.quantizer.codebooks]

    def forward(
        self, embedding: torch.Tensor, mask_prompt: torch.Tensor, box_unit: torch.Tensor,
    ) -> torch.Tensor:
        """Encode masks.

        Args:
            embedding: (1, C, h, w) of the image.
            mask_prompt: (N, 1, 4h, 4w) float 0..1 with soft edges.
            box_unit: (N, 4) xyxy of the outermost set pixels, divided by image width and height.
        Returns:
            (N, D) int64 codes.
        Source: samtok-spec 1.5 and 1.6.
        """
        points = box_unit.reshape(-1, 2, 2) * self.positions.side
        corners = self.positions(points) + self.corners
        count = corners[:, :1]
        tokens = torch.cat([self.query.expand_as(count), corners,
                            self.padding.expand_as(count)], dim=1)
        image = _cells_last(embedding + self._dense(mask_prompt))
        output, _ = two_way(self.transformer, image, self.positions.cells, tokens)
        return self._codes(output[:, 0])

    def _dense(self, mask_prompt: torch.Tensor) -> torch.Tensor:
        conv1, norm1, act1, conv2, norm2, act2, conv3 = self.downscaling
        maps = act1(channel_norm(conv1(mask_prompt), norm1))
        return conv3(act2(channel_norm(conv2(maps), norm2)))

    def _codes(self, rest: torch.Tensor) -> torch.Tensor:
        codes = []
        for entries in self.entries:
            distance = (rest.square().sum(1, keepdim=True) + entries.square().sum(1)
                        - 2 * torch.matmul(rest, entries.T))
            code = distance.argmin(dim=1)
            rest = rest - entries[code]
            codes.append(code)
        return torch.stack(codes, dim=1)


class _DecoderGraph(nn.Module):
    """SAM2's mask decoder without its object pointer, for tokens of any prompt."""

    def __init__(self, network: MaskTokenizerNetwork) -> None:
        super().__init__()
        sam = network.sam
        self.decoder = sam.sam_mask_decoder
        self.positions = _Positions(network)
        self.cells = network.config.embedding_size
        decoder, prompt_encoder = self.decoder, sam.sam_prompt_encoder
        self.register_buffer('own_tokens', torch.cat(
            [decoder.obj_score_token.weight, decoder.iou_token.weight,
             decoder.mask_tokens.weight]).detach().unsqueeze(0))
        self.register_buffer('padding', prompt_encoder.not_a_point_embed.weight.detach())
        self.register_buffer('no_mask', prompt_encoder.no_mask_embed.weight.detach())

    def candidates(
        self, embedding: torch.Tensor, high_res_0: torch.Tensor, high_res_1: torch.Tensor,
        prompt: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Run the decoder up to the product that makes masks.

        Args:
            embedding: (1, C, h, w) of the image.
            high_res_0: (1, C/8, 4h, 4w) of the image.
            high_res_1: (1, C/4, 2h, 2w) of the image.
            prompt: (N, T, C) sparse prompt.
        Returns:
            (N, 4, C/8) one vector per candidate, (N, C/8, 16 h w) what it is multiplied with, and
            (N, 4) predicted IoU; the first candidate is the one for prompts without a choice.
        """
        own = self.own_tokens.expand(prompt.shape[0], -1, -1)
        tokens = torch.cat([own, prompt], dim=1)
        image = _cells_last(embedding) + self.no_mask
        tokens, image = two_way(self.decoder.transformer, image, self.positions.cells, tokens)
        maps = image.transpose(1, 2).reshape(-1, image.shape[2], self.cells, self.cells)
        first, norm, act, second, last_act = self.decoder.output_upscaling
        maps = act(channel_norm(first(maps) + high_res_1, norm))
        maps = last_act(second(maps) + high_res_0).flatten(2)
        # Tokens: object score, IoU, four masks, prompt. The object score is never used.
        scores = self.decoder.iou_prediction_head(tokens[:, 1])
        vectors = torch.stack([head(tokens[:, 2 + index]) for index, head in
                               enumerate(self.decoder.output_hypernetworks_mlps)], dim=1)
        return vectors, maps, scores

    def as_maps(self, products: torch.Tensor) -> torch.Tensor:
        """(N, M, 16 h w) -> (N, M, 4h, 4w)."""
        side = 4 * self.cells
        return products.reshape(-1, products.shape[1], side, side)


class MaskDecoderGraph(_DecoderGraph):
    """Codes -> the best of three masks; the codebooks are inside."""

    def __init__(self, network: MaskTokenizerNetwork) -> None:
        super().__init__(network)
        # Row K is zeros: a level with code K adds nothing, which is how fewer levels are decoded.
        self.tables = [torch.cat([book.weight[:book.size].detach().float(),
                                  torch.zeros(1, book.weight.shape[1])])
                       for book in network.quantizer.codebooks]

    def forward(
        self, embedding: torch.Tensor, high_res_0: torch.Tensor, high_res_1: torch.Tensor,
        codes: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Draw masks.

        Args:
            embedding: (1, C, h, w) of the image.
            high_res_0: (1, C/8, 4h, 4w) of the image.
            high_res_1: (1, C/4, 2h, 2w) of the image.
            codes: (N, D) int64, each in [0, K], K for a level that is left out.
        Returns:
            (N, 1, 4h, 4w) logits and (N,) predicted IoU of the best candidate, and (N,) int64
            which of the three it is.
        Source: samtok-spec 1.6 and 1.7.
        """
        embeddings = sum(table[codes[:, level]] for level, table in enumerate(self.tables))
        embeddings = embeddings.unsqueeze(1)
        padding = self.padding.expand_as(embeddings)
        prompt = torch.cat([padding, padding, embeddings], dim=1)
        vectors, maps, scores = self.candidates(embedding, high_res_0, high_res_1, prompt)
        scores = scores[:, 1:]
        best = scores.argmax(dim=1, keepdim=True)
        # The winner is chosen before the product, so that the losers' masks are never made.
        chosen = vectors[:, 1:].gather(1, best.unsqueeze(2).expand(-1, -1, vectors.shape[2]))
        logits = self.as_maps(torch.matmul(chosen, maps))
        return logits, scores.gather(1, best).squeeze(1), best.squeeze(1)


class PromptDecoderGraph(_DecoderGraph):
    """Boxes and points, as SAM2's prompt encoder takes them -> all four candidate masks."""

    def __init__(self, network: MaskTokenizerNetwork) -> None:
        super().__init__(network)
        self.register_buffer('kinds', torch.cat(
            [part.weight for part in network.sam.sam_prompt_encoder.point_embeddings]).detach())

    def forward(
        self, embedding: torch.Tensor, high_res_0: torch.Tensor, high_res_1: torch.Tensor,
        points: torch.Tensor, labels: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw masks.

        Args:
            embedding: (1, C, h, w) of the image.
            high_res_0: (1, C/8, 4h, 4w) of the image.
            high_res_1: (1, C/4, 2h, 2w) of the image.
            points: (N, P, 2) float32 xy in pixels of the model input, without the half pixel.
            labels: (N, P) int64: 1 on the thing, 2 and 3 the corners of a box.
        Returns:
            (N, 4, 4h, 4w) logits and (N, 4) predicted IoU; which to take is up to the caller.
        """
        tokens = self.positions(points) + self.kinds[labels]
        prompt = torch.cat([tokens, self.padding.expand_as(tokens[:, :1])], dim=1)
        vectors, maps, scores = self.candidates(embedding, high_res_0, high_res_1, prompt)
        return self.as_maps(torch.matmul(vectors, maps)), scores


def _cells_last(maps: torch.Tensor) -> torch.Tensor:
    """(N, C, h, w) -> (N, h w, C)."""
    return maps.flatten(2).transpose(1, 2)
