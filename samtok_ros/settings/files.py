# SPDX-License-Identifier: Apache-2.0
"""The yaml files and the page of parameters that follow from the settings.

`python -m samtok_ros.settings.files config` writes default.yaml and replay.yaml anew, and in docs/
beside that folder parameters.md; a test compares them.
"""

import sys
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from samtok_ros.settings.fields import (
    SettingField,
    SettingValue,
    range_text,
    setting_fields,
    value_text,
)
from samtok_ros.settings.nodes import SETTINGS_OF_NODE

REPLAY: Mapping[str, SettingValue] = MappingProxyType({
    'input.reliability': 'reliable',
    'input.depth': 1000,
    'input.every_frame': True,
    'cache.frames': 1000,
    'cache.megabytes': 2000,
    'limits.deadline_s': 3600.0,
    'words.wait_s': 60.0,
    'words.queue': 1000,
    'wait_s': 60.0,
    'queue': 1000,
    'withdraw_after_s': 0.0,
    'depth.reliability': 'reliable',
    'depth.queue': 1000,
    'depth.keep_s': 3600.0,
    'depth.megabytes': 2000,
})
"""What replay sets: nothing is lost, and nothing depends on how fast the machine is."""

_DEFAULT_HEAD = (
    'Every parameter of every node at its default. Copy the file, keep the lines you change, and\n'
    'give it as params_file. Doubles are written with a point: 1 is refused where 1.0 is meant.')
_REPLAY_HEAD = (
    'For bags: every image is processed, in order, so that a bag gives the same words each time.\n'
    'Goals hold for the images stamped at or after them. What differs from default.yaml says so.')
_PAGE_HEAD = """\
# Parameters

Written by `samtok_ros/settings/files.py` from the settings in `samtok_ros/settings/`.

Read-only while a node runs, except those marked live. Files in config/:
[default.yaml](../config/default.yaml) has all of them with their comments,
[replay.yaml](../config/replay.yaml) what a bag needs to give the same words each time,
[split.yaml](../config/split.yaml) what differs with two machines, and
[jetson.yaml](../config/jetson.yaml) what to begin with on a Jetson.

```bash
ros2 launch samtok_ros perception.launch.py params_file:=/path/to/mine.yaml
ros2 param describe /samtok/grounding limits.max_masks
ros2 param set /samtok/grounding max_rate_hz 2.0
```

A double needs its point: 1 is refused where 1.0 is meant, with a line that says so. A misspelt name
is reported with the one that was probably meant. `use_sim_time` and `qos_overrides.TOPIC.*`
(history, depth, reliability, and durability of what goes out) are those of every ROS node. In one
process `grounding` and `mask_tokenizer` must agree on `model.*`, `input.*` and `cache.*`.
"""
_ALIKE = ('grounding', 'mask_tokenizer')
"""Nodes that share most of their settings: these are listed once."""

_LICENCE = '# SPDX-License-Identifier: Apache-2.0'
_WIDTH = 100


def config_files() -> dict[str, str]:
    """Return the text of each yaml file by its name."""
    return {'default.yaml': _yaml(_DEFAULT_HEAD, {}), 'replay.yaml': _yaml(_REPLAY_HEAD, REPLAY)}


def parameters_page() -> str:
    """Return docs/parameters.md."""
    fields = {node: tuple(setting_fields(settings_class))
              for node, settings_class in SETTINGS_OF_NODE.items()}
    first, second = _ALIKE
    shared = tuple(field for field in fields[first] if field in fields[second])
    sections = [f'## Nodes `{first}` and `{second}` alike\n\n{parameters_markdown(shared)}']
    for node, own in fields.items():
        kept = [field for field in own if node not in _ALIKE or field not in shared]
        sections.append(f'## Node `{node}`\n\n{parameters_markdown(kept)}')
    return '\n'.join([_PAGE_HEAD, *sections])


def parameters_markdown(fields: Iterable[SettingField]) -> str:
    """Return settings as a table."""
    lines = ['| parameter | default | range | live | meaning |', '|---|---|---|---|---|']
    for field in fields:
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


def main(config_dir: Path) -> None:
    """Write all files anew."""
    for name, text in config_files().items():
        (config_dir / name).write_text(text, encoding='utf-8')
    (config_dir.resolve().parent / 'docs' / 'parameters.md').write_text(
        parameters_page(), encoding='utf-8')


if __name__ == '__main__':
    main(Path(sys.argv[1]))
