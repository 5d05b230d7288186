# SPDX-License-Identifier: Apache-2.0
"""Mask words: vocabulary, spans in text, and the grammar that constrains generation."""
