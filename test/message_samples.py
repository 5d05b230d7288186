# SPDX-License-Identifier: Apache-2.0
"""Messages filled from plain values, as `ros2 topic pub` does; skips where they are not built."""

import importlib
import re

import pytest


def fill(message, values):
    """Set fields of a message as `ros2` does; unknown fields and wrong types are errors."""
    kinds = message.get_fields_and_field_types()
    for name, value in values.items():
        assert name in kinds, name
        current = getattr(message, name)
        if isinstance(value, dict):
            fill(current, value)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            element = getattr(importlib.import_module('samtok_ros.msg'),
                              re.search(r'samtok_ros/(\w+)', kinds[name])[1])
            setattr(message, name, [fill(element(), item) for item in value])
        else:
            setattr(message, name, value)
    return message


def class_of(type_name):
    package, kind, name = type_name.split('/')
    module = pytest.importorskip(f'{package}.{kind}', reason=f'{package} is not built here')
    return getattr(module, name)
