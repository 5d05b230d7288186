# SPDX-License-Identifier: Apache-2.0
"""How fast this package is against the published pipeline, on one machine and the same weights."""
