# SPDX-License-Identifier: Apache-2.0
"""One module for each mechanism that sets frequencies, and their common contract.

A mechanism works with every scaling driver of the kernel that offers its files; see
docs/drivers.md.
"""
