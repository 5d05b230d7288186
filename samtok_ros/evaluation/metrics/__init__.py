# SPDX-License-Identifier: Apache-2.0
"""The figures that the papers report: pure functions from results to named measures."""
