# SPDX-License-Identifier: Apache-2.0
"""Published models: which files are needed, fetching them, checking them again later."""
