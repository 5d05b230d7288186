# SPDX-License-Identifier: Apache-2.0
"""The arguments of `perception.launch.py` and of `samtok up`: one table for both."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from samtok_ros.errors import ConfigError
from samtok_ros.settings.fields import setting_fields
from samtok_ros.settings.grounding import GroundingSettings
from samtok_ros.settings.nodes import SETTINGS_OF_NODE

SWITCH = ('true', 'false')
NODES = tuple(SETTINGS_OF_NODE)
"""Names of the nodes, which are also the programs that run one of them alone."""

_CHOICES_OF_SETTING = {field.name: field.choices for field in setting_fields(GroundingSettings)}


@dataclass(frozen=True)
class Argument:
    """One argument.

    Attributes:
        name: as in `name:=value` and, with dashes, as in `--name value`.
        default: value when it is not given.
        description: one clause without a full stop.
        choices: the only values allowed, or empty.
        parameter: parameter of the nodes that it sets when its value is not empty, or ''.
        is_shared_file: True when the default is a file of this package, below its share folder.
    """

    name: str
    default: str
    description: str
    choices: tuple[str, ...] = ()
    parameter: str = ''
    is_shared_file: bool = False

    @property
    def is_switch(self) -> bool:
        """True when it is either on or off."""
        return self.choices == SWITCH


def _changes(name: str, parameter: str, description: str) -> Argument:
    """Return an argument that sets a parameter, with the choices of that parameter."""
    choices = _CHOICES_OF_SETTING[parameter]
    return Argument(name, '', f'{description}; empty: as the parameter file says',
                    ('', *choices) if choices else (), parameter)


ARGUMENTS = (
    Argument('namespace', 'samtok', 'namespace of the nodes and of all their names'),
    Argument('params_file', 'config/default.yaml',
             'parameter file; config/replay.yaml is the one for bags', is_shared_file=True),
    Argument('image', 'image', 'image topic of the camera, without /compressed; written from the '
             'root, such as /camera/color/image_raw, unless it lies in the same namespace'),
    Argument('depth', '', 'depth topic, aligned to the colour image; empty: nothing is lifted to '
             '3D'),
    Argument('camera_info', '', 'calibration of the camera; empty: camera_info beside the depth '
             'topic'),
    _changes('transport', 'input.transport', 'raw or compressed images'),
    _changes('model', 'model.name', 'tabletop, a model directory, or owner/name'),
    _changes('backend', 'model.backend', 'what runs the model'),
    _changes('device', 'model.device', 'where it runs'),
    Argument('split', 'false', 'true: one process for each node; the name of a node: that one '
             'alone, for the other one runs on another machine; lifting runs with the mask '
             'tokenizer', ('false', 'true', *NODES)),
    Argument('use_sim_time', 'false', 'take the time from /clock, as with ros2 bag play --clock',
             SWITCH),
    Argument('autostart', 'true', 'configure and activate the nodes', SWITCH),
    Argument('lifecycle_manager', 'false', "let Nav2's lifecycle manager do so, and nothing else "
             '(config/lifecycle_manager.yaml)', SWITCH),
    Argument('rviz', 'false', 'show pictures and masks in RViz (config/rviz/samtok.rviz)', SWITCH),
    Argument('respawn', 'false', 'start a process again that has died, instead of ending all',
             SWITCH),
    Argument('log_level', 'info', 'least severe log lines to show',
             ('debug', 'info', 'warn', 'error', 'fatal')),
)


def check_arguments(values: Mapping[str, str]) -> None:
    """Check the values of arguments against their choices.

    Raises:
        ConfigError: an unknown argument, or a value that is not among its choices.
    """
    known = {argument.name: argument for argument in ARGUMENTS}
    for name, value in values.items():
        if name not in known:
            raise ConfigError(f'unknown argument {name}', expected=', '.join(known))
        choices = known[name].choices
        if choices and value not in choices:
            raise ConfigError(f'argument {name} has an unknown value', got=repr(value),
                              expected=', '.join(map(repr, choices)))


def changed_parameters(values: Mapping[str, str], nodes: Iterable[str]) -> dict[str, str | bool]:
    """Return the parameters of nodes that arguments change, by name.

    What is not named stays as the parameter file says.

    Args:
        values: of all arguments.
        nodes: names; what none of them has is left out.
    """
    known = {field.name for node in nodes for field in setting_fields(SETTINGS_OF_NODE[node])}
    changed: dict[str, str | bool] = {
        argument.parameter: values[argument.name] for argument in ARGUMENTS
        if argument.parameter in known and values[argument.name]}
    is_managed = values['lifecycle_manager'] == 'true'
    changed['autostart'] = values['autostart'] == 'true' and not is_managed
    if values['use_sim_time'] == 'true':
        changed['use_sim_time'] = True
    return changed
