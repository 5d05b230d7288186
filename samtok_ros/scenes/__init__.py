# SPDX-License-Identifier: Apache-2.0
"""Rendered tabletop scenes with exact masks: what the model 'tabletop' learns from."""
