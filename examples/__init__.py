# SPDX-License-Identifier: Apache-2.0
"""Examples; each of them runs in the test suite."""
