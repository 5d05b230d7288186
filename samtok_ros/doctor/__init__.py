# SPDX-License-Identifier: Apache-2.0
"""What this machine has, what a model needs, and what to do where the two do not meet."""
