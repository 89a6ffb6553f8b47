# SPDX-License-Identifier: Apache-2.0
"""Immutable values that packages exchange, and their text forms."""
