# SPDX-License-Identifier: Apache-2.0
"""SAMTok for ROS 2: words in, masks out."""
