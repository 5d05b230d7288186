# SPDX-License-Identifier: Apache-2.0
"""Many questions about one picture: its features are worked out once."""

import numpy as np

from samtok_ros.tokenizer.config import MaskTokenizerConfig
from samtok_ros.tokenizer.mask_tokenizer import DecodedMasks, ImageFeatures, MaskTokenizer


class OneImageTokenizer:
    """A mask tokenizer that remembers the features of the image it saw last.

    Stands in for the MaskTokenizer of a Pipeline. An image is known by being the same array, so
    nobody may write into it between two calls.
    """

    def __init__(self, mask_tokenizer: MaskTokenizer) -> None:
        """Wrap a mask tokenizer."""
        self._inner = mask_tokenizer
        self._image_rgb: np.ndarray | None = None
        self._features: ImageFeatures | None = None

    @property
    def tokenizer_id(self) -> str:
        """See MaskTokenizer."""
        return self._inner.tokenizer_id

    @property
    def config(self) -> MaskTokenizerConfig:
        """See MaskTokenizer."""
        return self._inner.config

    def embed_image(self, image_rgb: np.ndarray) -> ImageFeatures:
        """See MaskTokenizer; an image seen in the call before costs nothing."""
        if image_rgb is not self._image_rgb or self._features is None:
            self._features = self._inner.embed_image(image_rgb)
            self._image_rgb = image_rgb
        return self._features

    def encode(self, features: ImageFeatures, masks: np.ndarray) -> np.ndarray:
        """See MaskTokenizer."""
        return self._inner.encode(features, masks)

    def decode(self, features: ImageFeatures, codes: np.ndarray) -> DecodedMasks:
        """See MaskTokenizer."""
        return self._inner.decode(features, codes)
