# SPDX-License-Identifier: Apache-2.0
"""The vision-language model: instructions, generation and the small model built from nothing."""
