# SPDX-License-Identifier: Apache-2.0
"""Code that CONTRIBUTING.md shows; the tests run it."""
