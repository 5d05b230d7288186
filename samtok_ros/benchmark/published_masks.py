# SPDX-License-Identifier: Apache-2.0
"""The mask half of the published pipeline, as it spends its time, on the same weights.

A re-creation from its description, for timing: nothing here is used to get masks. Shapes: N masks,
H W source pixels.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from sam2.modeling.sam2_utils import MLP

from samtok_ros.image.transforms import boxes_to_unit, masks_to_boxes, resize_to_square
from samtok_ros.regions import ImageSize
from samtok_ros.tokenizer.network import FeatureMaps, MaskTokenizerNetwork
from samtok_ros.tokenizer.resampling import masks_to_prompts


@dataclass(frozen=True)
class PublishedMasks:
    """What decoding gave.

    Attributes:
        maps: features of the image, once per mask.
        masks: (N, H, W) uint8 of 0 and 1, in host memory.
        index: (N,) int64, which of three candidates was taken.
    """

    maps: FeatureMaps
    masks: np.ndarray
    index: np.ndarray


class PublishedMaskTokenizer:
    """Decodes masks the published way.

    Args:
        network: with its weights in float32; it is shared with the side it is compared with.
        encode_once: True for a fairer baseline that runs the image encoder once per call. False is
            what was published: the image is repeated for every mask.
        bfloat16: autocast on a GPU; the published code does so on GPUs only.
    Source: samtok-spec 1.7 to 1.10.
    """

    def __init__(self, network: MaskTokenizerNetwork, encode_once: bool, bfloat16: bool) -> None:
        self._network = network
        self._encode_once = encode_once
        self._device = network.sam.no_mem_embed.device
        self._bfloat16 = bfloat16 and self._device.type == 'cuda'
        width = network.config.latent_dim
        # SAM2's head turns the token of the chosen mask into an object pointer. Its weights are
        # part of the video memory, which our networks leave out; the result is thrown away.
        self._pointer_head = MLP(width, width, width, 3).to(self._device).eval()

    def decode(self, image_rgb: np.ndarray, codes: np.ndarray) -> PublishedMasks:
        """Turn codes into masks, from the image to masks in host memory.

        Args:
            image_rgb: (H, W, 3) uint8.
            codes: (N, D) int64.
        """
        size = ImageSize(*image_rgb.shape[:2])
        with torch.inference_mode():
            maps = self._embed(image_rgb, len(codes))
            logits, index = self._head(maps, codes)
            masks = _on_the_host(logits, size, self._network.config.logit_threshold)
        return PublishedMasks(maps, masks, index)

    def encode(self, maps: FeatureMaps, masks: np.ndarray) -> np.ndarray:
        """Return (N, D) codes of (N, H, W) bool masks, from features of `decode`."""
        size = ImageSize(*masks.shape[1:])
        box_unit = torch.as_tensor(boxes_to_unit(masks_to_boxes(masks), size))
        with torch.inference_mode():
            prompts = masks_to_prompts(torch.as_tensor(masks, device=self._device),
                                       self._network.config.low_res_size)
            sparse, dense = self._network.sam.embed_mask_prompts(prompts,
                                                                 box_unit.to(self._device))
            with self._autocast():
                embeddings = self._network.sam.read_masks(maps, sparse, dense)
            return self._network.quantizer.embeddings_to_codes(embeddings).cpu().numpy()

    def _embed(self, image_rgb: np.ndarray, count: int) -> FeatureMaps:
        """Run the image encoder on the image, repeated for every mask."""
        square = resize_to_square(image_rgb, self._network.config.image_size)
        pixels = torch.tensor(square, device=self._device).permute(2, 0, 1).float()
        repeated = pixels.repeat(1 if self._encode_once else count, 1, 1, 1)
        with self._autocast():
            maps = self._network.sam.embed_image(repeated)
        if not self._encode_once:
            return maps
        return maps.for_regions(torch.zeros(count, dtype=torch.int64, device=self._device))

    def _head(self, maps: FeatureMaps, codes: np.ndarray) -> tuple[torch.Tensor, np.ndarray]:
        """SAM2's head with three candidates: all are enlarged to the model input, one is kept."""
        sam, side = self._network.sam, self._network.config.image_size
        embeddings = self._network.quantizer.codes_to_embeddings(
            torch.as_tensor(codes).clamp(min=0))  # -1 is drawn as 0
        with self._autocast():
            points = torch.zeros(len(codes), 1, 2, device=self._device)
            labels = -torch.ones(len(codes), 1, dtype=torch.int32, device=self._device)
            sparse, dense = sam.sam_prompt_encoder(points=(points, labels), boxes=None, masks=None)
            logits, scores, tokens, _ = sam.sam_mask_decoder(
                image_embeddings=maps.embedding, image_pe=sam.sam_prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=torch.cat([sparse, embeddings.unsqueeze(1)], dim=1),
                dense_prompt_embeddings=dense, multimask_output=True, repeat_image=False,
                high_res_features=[maps.high_res_0, maps.high_res_1])
            logits = logits.float()
            enlarged = F.interpolate(logits, size=(side, side), mode='bilinear',
                                     align_corners=False)
            index = scores.argmax(dim=-1)
            rows = torch.arange(len(index), device=self._device)
            # Both are computed and thrown away.
            _ = enlarged[rows, index].unsqueeze(1), self._pointer_head(tokens[rows, index])
        return logits[rows, index].unsqueeze(1), index.cpu().numpy()

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._bfloat16)


def _on_the_host(logits: torch.Tensor, size: ImageSize, threshold: float) -> np.ndarray:
    """Enlarge and threshold one mask after the other, in host memory."""
    masks = []
    for one in logits.float().cpu():
        enlarged = F.interpolate(one.unsqueeze(0), size=(size.height, size.width),
                                 mode='bilinear', align_corners=False)
        masks.append((enlarged[0, 0] > threshold).numpy().astype(np.uint8))
    return np.stack(masks)
