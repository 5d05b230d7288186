# SPDX-License-Identifier: Apache-2.0
"""Checks a parameter file before anything is started: what ROS would pass over or say cryptically.

The nodes check what reaches them, unknown parameters included. They never see a section that is
not for them, so a section with a misspelt node name would be without effect and without a word.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from samtok_ros.bring_up.arguments import NODES
from samtok_ros.errors import ConfigError
from samtok_ros.settings.fields import check_setting, closest_name, setting_fields
from samtok_ros.settings.nodes import SETTINGS_OF_NODE

_MARK = 'ros__parameters'
_ANY_NODE = ('*', '**')


class _Loader(yaml.SafeLoader):
    """Reads plain values as ROS does, and tags that it does not know as if they were not there."""

    def compose_node(self, parent: yaml.Node | None, index: object) -> yaml.Node | None:
        """Refuse what stands for another place, which may hold this very one."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(
                None, None, 'the parser of ROS reads no aliases', self.peek_event().start_mark)
        return super().compose_node(parent, index)


def _untagged(loader: _Loader, tag: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        # launch writes lists of parameters as tagged tuples.
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node)


_Loader.add_multi_constructor(None, _untagged)
# For ROS a date is text, and an exponent makes a number without a point or a sign too.
_Loader.yaml_implicit_resolvers = {
    first: [resolver for resolver in resolvers if resolver[0] != 'tag:yaml.org,2002:timestamp']
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()}
_Loader.add_implicit_resolver(
    'tag:yaml.org,2002:float', re.compile(r'[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$'),
    list('-+.0123456789'))


def check_parameter_file(path: Path, namespace: str = '') -> list[str]:
    """Check the form of a parameter file and the values for our nodes.

    Args:
        path: of the file.
        namespace: of our nodes; without it sections for another one are not told.
    Returns:
        What looks wrong but stops nothing, one text each.
    Raises:
        ConfigError: it cannot be read, or a value that a node of ours would refuse.
    """
    warnings = []
    sections = list(_sections(_read(path), '', path))
    for name, parameters in sections:
        node = name.rpartition('/')[2]
        if node in NODES or node in _ANY_NODE:
            _check_values(f'{path}: {name}', node, parameters)
        elif advice := closest_name(node, dict.fromkeys(NODES)):
            warnings.append(f'{path}: the section {name} is for no node of this package: {advice}')
    if namespace:
        warnings += [f'{path}: {text}'
                     for text in _elsewhere([name for name, _ in sections], namespace)]
    return warnings


def _elsewhere(sections: Sequence[str], namespace: str) -> Iterator[str]:
    """Yield what to say of each section for a node of ours in a namespace where there is none.

    A file for several robots has sections for all of them: where one is exactly ours, those in
    other namespaces are no mistake.
    """
    names = {f'/{section.lstrip("/")}': section for section in sections}
    for name, section in names.items():
        node = name.rpartition('/')[2]
        ours = f'/{namespace.strip("/")}/{node}'
        is_theirs = ours in names and name != f'/{node}'
        if node in NODES and not _stands_for(name, ours) and not is_theirs:
            yield (f'the section {section} is without effect, for the node is {ours}: write '
                   f'/**/{node} or {ours}')


def _stands_for(section: str, node: str) -> bool:
    """Tell whether ROS gives a section to a node; both with a leading slash."""
    pattern = re.escape(section).replace(r'/\*\*', r'(/\w+)*').replace(r'/\*', r'/\w+')
    return re.fullmatch(pattern, node) is not None


def _read(path: Path) -> Mapping[str, Any]:
    try:
        # A safe loader: it makes plain values only.
        tree = yaml.load(path.read_text(encoding='utf-8'), Loader=_Loader)
    except OSError as error:
        raise ConfigError('parameter file cannot be read', got=str(error)) from error
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:
        # Beside YAML's own errors: what the text behind a tag such as !!int or !!bool raises, and
        # lists in lists without end.
        raise ConfigError(f'parameter file {path} is not YAML that ROS reads',
                          got=' '.join(str(error).split())) from error
    if not isinstance(tree, Mapping):
        raise ConfigError(f'parameter file {path} has no sections', got=type(tree).__name__,
                          expected=f'NODE: {_MARK}: PARAMETERS, as in config/default.yaml')
    return tree


def _sections(tree: Mapping[str, Any], place: str,
              path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the name of each section, namespaces and node joined by '/', and its parameters."""
    for key, value in tree.items():
        name = f'{place}/{key}'.replace('//', '/') if place else str(key)
        if not isinstance(value, Mapping):
            raise ConfigError(f'{path}: {name} holds no parameters', got=repr(value),
                              expected=f'{_MARK}: below the name of a node')
        if _MARK in value:
            parameters = value[_MARK] or {}
            if not isinstance(parameters, Mapping):
                raise ConfigError(f'{path}: {_MARK} of {name} holds no parameters',
                                  got=repr(parameters), expected='NAME: VALUE')
            yield name, parameters
        elif advice := closest_name(str(next(iter(value), '')), {_MARK: None}):
            raise ConfigError(f'{path}: {name} has no {_MARK}', fix=advice)
        else:
            yield from _sections(value, name, path)


def _check_values(place: str, node: str, parameters: Mapping[str, Any]) -> None:
    values = dict(_flat(parameters, ''))
    for settings in [SETTINGS_OF_NODE[node]] if node in NODES else SETTINGS_OF_NODE.values():
        for field in setting_fields(settings):
            if field.name in values:
                try:
                    check_setting(field, values[field.name])
                except ConfigError as error:
                    raise ConfigError(f'{place}: {error.message}', expected=error.expected,
                                      got=error.got, fix=error.fix) from error


def _flat(parameters: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in parameters.items():
        name = f'{prefix}{key}'
        if isinstance(value, Mapping):
            yield from _flat(value, f'{name}.')
        else:
            yield name, value
