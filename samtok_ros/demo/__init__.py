# SPDX-License-Identifier: Apache-2.0
"""The demo: a camera bag with its truth, its replay through the nodes, its score. No ROS."""
