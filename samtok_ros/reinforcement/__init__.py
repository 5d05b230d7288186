# SPDX-License-Identifier: Apache-2.0
"""Reinforcement learning of mask generation: rewards, and GRPO through trl."""
