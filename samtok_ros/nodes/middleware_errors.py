# SPDX-License-Identifier: Apache-2.0
"""What the middleware raises, as people can read it."""

from collections.abc import Iterator
from contextlib import contextmanager

from rcl_interfaces.msg import SetParametersResult
from rclpy.exceptions import ParameterException
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import InvalidQosOverridesError

from samtok_ros.errors import ConfigError

_MOST_DEPTH = 2**31 - 1
"""What the middleware can take; a larger number would end in a TypeError of its bindings."""


def first_line(error: Exception) -> str:
    """Return what an error says, without where in its own sources the middleware gave up."""
    return (str(error).splitlines() or [type(error).__name__])[0].split(', at /')[0]


@contextmanager
def checked_overrides(deed: str) -> Iterator[None]:
    """Create a publisher or a subscription whose QoS can be overridden by parameters.

    Args:
        deed: what is done, such as 'publish masks', for the text of the error.
    Raises:
        ConfigError: the QoS overrides cannot be used.
    """
    try:
        yield
    except (InvalidQosOverridesError, ParameterException, RuntimeError) as error:
        # The parameters are read-only: they keep what the node was started with.
        raise ConfigError(f'cannot {deed}', got=first_line(error),
                          fix='correct its qos_overrides and start the node again') from error


def check_depth(qos: QoSProfile) -> SetParametersResult:
    """Refuse an overridden depth that is no number of messages; a callback for QoS overrides."""
    if not 0 <= qos.depth <= _MOST_DEPTH:
        return SetParametersResult(
            successful=False, reason=f'depth must be 0 to {_MOST_DEPTH}, got {qos.depth}')
    return SetParametersResult(successful=True)
