# SPDX-License-Identifier: Apache-2.0
"""Training of the embedded model: data, losses, loops. Nothing else imports it."""
