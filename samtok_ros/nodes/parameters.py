# SPDX-License-Identifier: Apache-2.0
"""Settings dataclasses -> declared ROS parameters -> settings dataclasses."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from samtok_ros.errors import ConfigError
from samtok_ros.settings.fields import (
    SettingField,
    build_settings,
    check_setting,
    closest_name,
    range_text,
    setting_fields,
    settings_values,
)

Settings = TypeVar('Settings')
_NOT_OURS = ('use_sim_time', 'qos_overrides.', 'start_type_description_service')


def declare_parameters(node: Node, settings_class: type[Settings]) -> Settings:
    """Declare every setting as a parameter and return the settings that result.

    Raises:
        ConfigError: an override has the wrong type or value, in words that say what to write.
    """
    overrides = parameter_overrides(node)
    fields = tuple(setting_fields(settings_class))
    for field in fields:
        if field.name in overrides:
            _check_override(field, overrides[field.name])
    for field in fields:
        node.declare_parameter(field.name, field.default, descriptor_of(field))
    return read_settings(node, settings_class)


def read_settings(node: Node, settings_class: type[Settings]) -> Settings:
    """Build the settings from the parameters as they are now.

    Raises:
        ConfigError: settings that contradict each other.
    """
    names = [field.name for field in setting_fields(settings_class)]
    return build_settings(settings_class, {name: node.get_parameter(name).value for name in names})


def changed_settings(settings: Settings, parameters: Iterable[Parameter]) -> Settings:
    """Return the settings with parameters changed; other parameters are passed over.

    Raises:
        ConfigError: the settings would be wrong or contradict each other.
    """
    values = settings_values(settings)
    values.update({p.name: p.value for p in parameters if p.name in values})
    return build_settings(type(settings), values)


def check_change(settings: Settings, parameters: Iterable[Parameter]) -> SetParametersResult:
    """Answer rclpy whether a change of parameters is fine; changes nothing."""
    try:
        changed_settings(settings, parameters)
    except ConfigError as error:
        return SetParametersResult(successful=False, reason=str(error))
    return SetParametersResult(successful=True)


def unknown_overrides(node: Node, elsewhere: Iterable[str] = ()) -> list[str]:
    """List overrides that no declared parameter reads, with a guess at what was meant.

    Args:
        node: after it has declared all its parameters.
        elsewhere: names that other nodes of the process read.
    """
    # rclpy accepts such overrides in silence: a typo in yaml would go unnoticed.
    known = [*node._parameters, *elsewhere]
    return [
        f'parameter {name} is set, but nothing reads it'
        + (f': {advice}' if (advice := closest_name(name, dict.fromkeys(known))) else '')
        for name in parameter_overrides(node)
        if name not in known and not name.startswith(_NOT_OURS)]


def parameter_overrides(node: Node) -> Mapping[str, Parameter]:
    """Return what the command line and yaml files set for a node."""
    return getattr(node, '_parameter_overrides', {})


def descriptor_of(field: SettingField) -> ParameterDescriptor:
    """Describe a setting to the people who list parameters."""
    unit = f' [{field.unit}]' if field.unit else ''
    descriptor = ParameterDescriptor(
        description=f'{field.description}{unit}', read_only=not field.live,
        additional_constraints=range_text(field) if field.choices else '')
    if field.minimum is not None:
        if isinstance(field.default, float):
            descriptor.floating_point_range = [FloatingPointRange(
                from_value=float(field.minimum), to_value=float(field.maximum))]
        else:
            descriptor.integer_range = [IntegerRange(
                from_value=int(field.minimum), to_value=int(field.maximum), step=1)]
    return descriptor


def _check_override(field: SettingField, override: Parameter) -> None:
    try:
        check_setting(field, override.value)
    except ConfigError as error:
        raise ConfigError(f'parameter {error.message}', expected=error.expected, got=error.got,
                          fix=error.fix) from error
