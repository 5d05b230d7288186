# SPDX-License-Identifier: Apache-2.0
"""How good a model is, measured on scenes it was never trained on."""
