# SPDX-License-Identifier: Apache-2.0
"""Regions of an answer, found again in the images that come after it."""
