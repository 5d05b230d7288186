# SPDX-License-Identifier: Apache-2.0
"""Masks as run lengths, scores and pictures."""
