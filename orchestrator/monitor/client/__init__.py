# SPDX-License-Identifier: Apache-2.0
"""Main's side of the monitor: starts it, sends commands, receives reports."""
