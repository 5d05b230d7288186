# SPDX-License-Identifier: Apache-2.0
"""What turns plain dataclasses into settings: facts per field, checks, names.

The modules beside this one say which settings there are; this one reads them. A setting's name is
the path to its field, `model.device` for the field `device` of the group `model`: the ROS
parameter, the key in the yaml files and the row in docs/parameters.md are all derived from it.
"""

import dataclasses
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from samtok_ros.errors import ConfigError

SettingValue = bool | int | float | str
Settings = TypeVar('Settings')


@dataclass(frozen=True)
class SettingField:
    """One setting with everything that is known about it.

    Attributes:
        name: path to the field, groups joined by dots.
        default: value when nobody sets it; its type is the setting's type.
        description: what it does, one clause without a full stop.
        unit: '' for a plain number, text or switch.
        minimum, maximum: inclusive bounds of a number, else None.
        choices: the only texts allowed, or empty.
        live: True when it may change while the node runs, between two frames.
    """

    name: str
    default: SettingValue
    description: str
    unit: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]
    live: bool


def setting(
    default: SettingValue, description: str, *, unit: str = '',
    bounds: tuple[float, float] | None = None, choices: tuple[str, ...] = (), live: bool = False,
) -> Any:
    """Declare a field of a settings dataclass; see `SettingField` for the arguments."""
    facts = {'description': description, 'unit': unit, 'bounds': bounds, 'choices': choices,
             'live': live}
    return dataclasses.field(default=default, metadata=facts)


def setting_fields(settings_class: type, prefix: str = '') -> Iterator[SettingField]:
    """List the settings of a dataclass and of the groups in it, in the order they are written."""
    for field in dataclasses.fields(settings_class):
        if dataclasses.is_dataclass(field.type):
            yield from setting_fields(field.type, f'{prefix}{field.name}.')
            continue
        facts = field.metadata
        minimum, maximum = facts['bounds'] or (None, None)
        yield SettingField(f'{prefix}{field.name}', field.default, facts['description'],
                           facts['unit'], minimum, maximum, facts['choices'], facts['live'])


def check_settings(settings: object) -> None:
    """Check each own field of a settings dataclass against its type, bounds and choices.

    Raises:
        ConfigError: the first field that is wrong, with what would be right.
    """
    for field in setting_fields(type(settings)):
        if '.' not in field.name:
            check_setting(field, getattr(settings, field.name))


def check_setting(field: SettingField, value: object) -> None:
    """Check one value.

    Raises:
        ConfigError: wrong type, out of bounds or not among the choices.
    """
    kind = type(field.default)
    if type(value) is not kind:
        fix = f'write {value}.0' if kind is float and type(value) is int else None
        raise ConfigError(f'{field.name} has the wrong type', expected=_type_name(kind),
                          got=f'{value!r} ({_type_name(type(value))})', fix=fix)
    if field.choices and value not in field.choices:
        raise ConfigError(f'{field.name} has an unknown value',
                          expected=' or '.join(field.choices), got=repr(value))
    if field.minimum is not None and not field.minimum <= value <= field.maximum:
        raise ConfigError(f'{field.name} is out of range', expected=range_text(field), got=value)


def build_settings(settings_class: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Build a settings dataclass from values by name; what is not named keeps its default.

    Raises:
        ConfigError: an unknown name, or a value that the dataclass refuses.
    """
    fields = {field.name: field for field in setting_fields(settings_class)}
    for name, value in values.items():
        if name not in fields:
            raise ConfigError(f'unknown setting {name}', fix=closest_name(name, fields))
        check_setting(fields[name], value)
    return _build_group(settings_class, values, '')


def settings_values(settings: object, prefix: str = '') -> dict[str, SettingValue]:
    """Return the values by name; `build_settings` is the inverse."""
    values: dict[str, SettingValue] = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            values.update(settings_values(value, f'{prefix}{field.name}.'))
        else:
            values[f'{prefix}{field.name}'] = value
    return values


def closest_name(name: str, known: Mapping[str, object]) -> str | None:
    """Return advice that names the known setting which looks most like `name`, or None."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f'perhaps {close[0]} is meant' if close else None


def range_text(field: SettingField) -> str:
    """Say what values a setting takes, for tables and messages."""
    if field.choices:
        return ', '.join(field.choices)
    if field.minimum is None:
        return ''
    return f'{field.minimum} to {field.maximum}'


def value_text(value: SettingValue) -> str:
    """Write a value as yaml wants it; doubles keep their point."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}'" if isinstance(value, str) else str(value)


def _build_group(settings_class: type, values: Mapping[str, Any], prefix: str) -> Any:
    arguments = {}
    for field in dataclasses.fields(settings_class):
        name = f'{prefix}{field.name}'
        if dataclasses.is_dataclass(field.type):
            arguments[field.name] = _build_group(field.type, values, f'{name}.')
        elif name in values:
            arguments[field.name] = values[name]
    return settings_class(**arguments)


def _type_name(kind: type) -> str:
    names = {bool: 'true or false', int: 'integer', float: 'double', str: 'text'}
    return names.get(kind, kind.__name__)


class CheckedSettings:
    """Base of the settings: a record that exists is a record that is right."""

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ConfigError: a value has the wrong type, is out of range or not among the choices.
        """
        check_settings(self)
