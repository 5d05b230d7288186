# SPDX-License-Identifier: Apache-2.0
"""The yaml files and the README table that follow from the settings.

`python -m samtok_ros.config_files config` writes the files anew; a test compares them.
"""

import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from samtok_ros.config import SETTINGS_OF_NODE
from samtok_ros.config_fields import (
    SettingField,
    SettingValue,
    range_text,
    setting_fields,
    value_text,
)

REPLAY: Mapping[str, SettingValue] = MappingProxyType({
    'input.reliability': 'reliable',
    'input.depth': 1000,
    'input.every_frame': True,
    'cache.frames': 1000,
    'cache.megabytes': 2000,
    'limits.deadline_s': 3600.0,
    'words.wait_s': 60.0,
    'words.queue': 1000,
})
"""What replay sets: nothing is lost, and nothing depends on how fast the machine is."""

_DEFAULT_HEAD = (
    'Every parameter of both nodes at its default. Copy the file, keep the lines you change, and\n'
    'give it as params_file. Doubles are written with a point: 1 is refused where 1.0 is meant.')
_REPLAY_HEAD = (
    'For bags: every image is processed, in order, so that a bag gives the same words each time.\n'
    'Goals hold for the images stamped at or after them. What differs from default.yaml says so.')
_LICENCE = '# SPDX-License-Identifier: Apache-2.0'
_WIDTH = 100


def config_files() -> dict[str, str]:
    """Return the text of each yaml file by its name."""
    return {'default.yaml': _yaml(_DEFAULT_HEAD, {}), 'replay.yaml': _yaml(_REPLAY_HEAD, REPLAY)}


def parameters_markdown(settings_class: type) -> str:
    """Return the settings as a README table."""
    lines = ['| parameter | default | range | live | meaning |', '|---|---|---|---|---|']
    for field in setting_fields(settings_class):
        default = f'`{value_text(field.default)}`' + (f' {field.unit}' if field.unit else '')
        lines.append(f'| `{field.name}` | {default} | {range_text(field)} | '
                     f'{"yes" if field.live else ""} | {field.description} |')
    return '\n'.join(lines) + '\n'


def _yaml(head: str, overrides: Mapping[str, SettingValue]) -> str:
    lines = [_LICENCE, *(f'# {line}' for line in head.splitlines())]
    for node, settings_class in SETTINGS_OF_NODE.items():
        lines += ['', f'/**/{node}:', '  ros__parameters:']
        group = ''
        for field in setting_fields(settings_class):
            path, _, name = field.name.rpartition('.')
            if path != group:
                lines.append(f'    {path}:')
                group = path
            indent = '      ' if path else '    '
            lines += textwrap.wrap(_comment(field, overrides), _WIDTH, initial_indent=f'{indent}# ',
                                   subsequent_indent=f'{indent}# ', break_on_hyphens=False)
            lines.append(f'{indent}{name}: '
                         f'{value_text(overrides.get(field.name, field.default))}')
    return '\n'.join(lines) + '\n'


def _comment(field: SettingField, overrides: Mapping[str, SettingValue]) -> str:
    facts = [f'{range_text(field)} {field.unit}'.strip()] if range_text(field) else []
    facts += ['live'] if field.live else []
    facts += [f'default {value_text(field.default)}'] if field.name in overrides else []
    return field.description + (f' [{"; ".join(facts)}]' if facts else '')


if __name__ == '__main__':
    for file_name, text in config_files().items():
        Path(sys.argv[1], file_name).write_text(text, encoding='utf-8')
