# SPDX-License-Identifier: Apache-2.0
"""The output of the command: lines, tables, pictures, full screens."""
