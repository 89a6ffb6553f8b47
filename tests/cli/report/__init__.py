# SPDX-License-Identifier: Apache-2.0
"""Reports and advice from histories."""
