# SPDX-License-Identifier: Apache-2.0
"""Which domains get channels, which channels they get, and what has to change for that.

Pure: the controller plans for the configuration's rules, the command for an operator.
"""
