# SPDX-License-Identifier: Apache-2.0
"""Which settings belong to which node."""

from samtok_ros.settings.grounding import GroundingSettings
from samtok_ros.settings.lifting import LiftingSettings
from samtok_ros.settings.mask_tokenizer import MaskTokenizerSettings

SETTINGS_OF_NODE = {'grounding': GroundingSettings, 'mask_tokenizer': MaskTokenizerSettings,
                    'lifting': LiftingSettings}
"""Which settings belong to which node name."""
