# SPDX-License-Identifier: Apache-2.0
"""Writes what follows from the models and the table of calls of the control API."""
