# SPDX-License-Identifier: Apache-2.0
"""Settings of the nodes: the only place with a default, unit, range and description.

ROS parameters, `config/*.yaml` and docs/parameters.md follow from these dataclasses; a test keeps
them equal. Settings marked live may change between two frames, all others are fixed once the node
exists.
"""
