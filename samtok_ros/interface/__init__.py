# SPDX-License-Identifier: Apache-2.0
"""Every name that the nodes have in ROS, and what is written from that table."""
