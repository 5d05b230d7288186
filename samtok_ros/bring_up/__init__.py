# SPDX-License-Identifier: Apache-2.0
"""What is started with which arguments; read by the launch files and by `samtok up`."""
