# SPDX-License-Identifier: Apache-2.0
"""The vmpower command."""
