# SPDX-License-Identifier: Apache-2.0
"""Training of the embedded model: data, losses and loops; imports the core, is never imported by it."""
