# SPDX-License-Identifier: Apache-2.0
"""Writes docs/interfaces.md from msg/, srv/, action/ and the table of names.

`python -m samtok_ros.interface.docs .` writes it anew in the repository; a test compares it.
"""

import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from samtok_ros.interface.ros_names import CALLS, TOPICS, Call, Topic

NAMESPACE = '/samtok'
FOLDERS = ('msg', 'srv', 'action')
_PARTS = {'msg': ('',), 'srv': ('Request', 'Response'), 'action': ('Goal', 'Result', 'Feedback')}
_HEAD = """\
# Interfaces

Written by `samtok_ros/interface/docs.py` from `samtok_ros/interface/ros_names.py` and the
definitions in `msg/`, `srv/` and `action/`.

Names are relative to the namespace of the nodes, `samtok` unless it is changed; the commands are
written for it. QoS is what the nodes choose; each can be overridden with ROS's `qos_overrides`
parameters. Stamp and frame of every output are those of its image, bit for bit. Parameters are in
[parameters.md](parameters.md).
"""
_LIFECYCLE = """\
## Lifecycle and parameters

The nodes `grounding`, `mask_tokenizer` and `lifting` are lifecycle nodes. Services and actions
exist in every state and say why they cannot serve a call.

```bash
ros2 lifecycle set /samtok/grounding configure
ros2 lifecycle set /samtok/grounding activate
ros2 lifecycle get /samtok/mask_tokenizer
ros2 param list /samtok/grounding
ros2 param set /samtok/grounding limits.max_masks 8
```
"""


@dataclass(frozen=True)
class Row:
    """Fields, or constants, that one comment explains.

    Attributes:
        names: one or more.
        types: one of each name.
        meaning: the comment, joined to one line.
    """

    names: tuple[str, ...]
    types: tuple[str, ...]
    meaning: str

    @property
    def is_constant(self) -> bool:
        """True for constants, whose names hold their values."""
        return '=' in self.names[0]


def page(root: Path) -> str:
    """Return docs/interfaces.md.

    Args:
        root: folder that holds msg/, srv/ and action/.
    """
    sections = [_HEAD, _topics('Topics in', [t for t in TOPICS if not t.writers]),
                _topics('Topics out', [t for t in TOPICS if t.writers])]
    sections += [_calls('Actions', [call for call in CALLS if call.is_action]),
                 _calls('Services', [call for call in CALLS if not call.is_action]), _LIFECYCLE]
    sections.append('## Definitions\n')
    for folder in FOLDERS:
        sections += [definition(path) for path in sorted((root / folder).glob(f'*.{folder}'))]
    return '\n'.join(sections)


def _topics(title: str, topics: Sequence[Topic]) -> str:
    rows = [(f'`{topic.name}`', _type_link(topic.type), topic.quality,
             topic.meaning + (f' (where {topic.package} is installed)' if topic.package else ''))
            for topic in topics]
    commands = [in_namespace(topic.command) for topic in topics]
    return (f'## {title}\n\n' + _table(('name', 'type', 'QoS', 'meaning'), rows)
            + _bash([command for command in commands if command]))


def _calls(title: str, calls: Sequence[Call]) -> str:
    rows = [(f'`{call.name}`', _type_link(call.type), f'`{call.server}`', call.meaning)
            for call in calls]
    return (f'## {title}\n\n' + _table(('name', 'type', 'node', 'meaning'), rows)
            + _bash([command_of(call) for call in calls]))


def command_of(call: Call) -> str:
    """Return the command that sends the example of a call."""
    verb = 'ros2 action send_goal --feedback' if call.is_action else 'ros2 service call'
    command = f'{verb} {NAMESPACE}/{call.name} {call.type}'
    if not call.example:
        return command
    # One line, however long: it is copied.
    text = yaml.safe_dump(dict(call.example), default_flow_style=True, width=float('inf'),
                          sort_keys=False)
    return f'{command} {quoted(text.strip())}'


def quoted(text: str) -> str:
    """Quote a text for the shell, in the way that is easier to read and to change."""
    return shlex.quote(text) if re.search(r'["$`\\!]', text) else f'"{text}"'


def in_namespace(command: str) -> str:
    """Return a command of a topic for the default namespace."""
    return command.replace('NS/', f'{NAMESPACE}/')


def definition(path: Path) -> str:
    """Return the section about one definition file."""
    kind = path.suffix[1:]
    text = path.read_text(encoding='utf-8').removeprefix('# SPDX-License-Identifier: Apache-2.0\n')
    description, *_ = (_comment(block) for block in text.split('\n\n') if _comment(block))
    sections = [f'### {path.stem}\n\n`samtok_ros/{kind}/{path.stem}`: {description}\n']
    for name, part in zip(_PARTS[kind], re.split(r'^---$', text, flags=re.MULTILINE), strict=True):
        rows = list(rows_of(part))
        fields = [_cells(row) for row in rows if not row.is_constant]
        constants = [_cells(row) for row in rows if row.is_constant]
        title = f'**{name}**\n\n' if name else ''
        sections.append(title + _table(('field', 'type', 'meaning'), fields))
        if constants:
            sections.append(_table(('constant', 'type', 'meaning'), constants))
    return '\n'.join(sections)


def rows_of(text: str) -> Iterator[Row]:
    """Yield the fields and constants of a definition, those under one comment together."""
    for block in re.split(r'\n\s*\n', text):
        lines = [line for line in block.splitlines() if line.strip()]
        comment = _comment('\n'.join(line for line in lines if line.startswith('#')))
        declared = [line for line in lines if not line.startswith('#')]
        own = [line.partition('#')[2].strip() for line in declared]
        words = [line.partition('#')[0].split(maxsplit=1) for line in declared]
        pairs = [(type_name, ' '.join(name.split())) for type_name, name in words]
        constants = [place for place, (_, name) in enumerate(pairs) if '=' in name]
        for place in constants:
            type_name, name = pairs[place]
            yield Row((name.replace('=', ' = '),), (type_name,), own[place] or comment)
        fields = [pair for place, pair in enumerate(pairs) if place not in constants]
        if fields:
            yield Row(tuple(name for _, name in fields), tuple(kind for kind, _ in fields), comment)


def _comment(block: str) -> str:
    """Return a block of comment lines as one line; empty when it is none."""
    lines = block.strip().splitlines()
    if not all(line.startswith('#') for line in lines):
        return ''
    return ' '.join(' '.join(line.lstrip('#').strip() for line in lines).split())


def _cells(row: Row) -> tuple[str, str, str]:
    types = row.types[:1] if len(set(row.types)) == 1 else row.types
    # A region marker would be an unknown tag, which pages do not show.
    meaning = row.meaning.replace('<', r'\<').replace('|', r'\|')
    return (', '.join(f'`{name}`' for name in row.names),
            ', '.join(f'`{kind}`' for kind in types), meaning)


def _type_link(name: str) -> str:
    package, _, short = name.split('/')
    return f'[{short}](#{short.lower()})' if package == 'samtok_ros' else f'`{name}`'


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ['---'] * len(heads), *rows]
    return '\n'.join(f'| {" | ".join(cells)} |' for cells in lines) + '\n'


def _bash(commands: Sequence[str]) -> str:
    return '\n```bash\n' + '\n'.join(commands) + '\n```\n'


if __name__ == '__main__':
    root_dir = Path(sys.argv[1])
    (root_dir / 'docs' / 'interfaces.md').write_text(page(root_dir), encoding='utf-8')
