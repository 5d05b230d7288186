# SPDX-License-Identifier: Apache-2.0
"""From message bytes to model pixels and back."""
