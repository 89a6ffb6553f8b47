# SPDX-License-Identifier: Apache-2.0
"""Tries the domain XML of other projects on everything that edits domain XML."""
