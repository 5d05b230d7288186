# SPDX-License-Identifier: Apache-2.0
"""Mask tokenizer: masks <-> codes, against one image."""
