# SPDX-License-Identifier: Apache-2.0
"""Published data sets: reading them as they are laid out, and running a model over them."""
