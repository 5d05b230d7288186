# SPDX-License-Identifier: Apache-2.0
"""From a mask and the depth image of the same stamp to points, a box and how far to trust them."""
