# SPDX-License-Identifier: Apache-2.0
"""The `samtok` command: one module per subcommand, each light to import."""
