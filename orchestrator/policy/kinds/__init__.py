# SPDX-License-Identifier: Apache-2.0
"""The kinds of policies: one module for each, their contract and their table."""
