# SPDX-License-Identifier: Apache-2.0
"""Limits check themselves."""

import pytest

from samtok_ros.errors import ConfigError
from samtok_ros.language.generation import GenerationLimits


@pytest.mark.parametrize(('field', 'value'), [
    ('max_new_tokens', 0), ('max_masks', -1), ('deadline_s', 0.0), ('deadline_s', float('nan')),
])
def test_limits_when_out_of_range_then_named(field, value):
    with pytest.raises(ConfigError, match=field):
        GenerationLimits(**{field: value})


def test_limits_when_no_masks_or_no_deadline_then_accepted():
    assert GenerationLimits(max_masks=0, deadline_s=None).max_masks == 0
