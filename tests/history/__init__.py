# SPDX-License-Identifier: Apache-2.0
"""What is collected, held and kept of days and weeks."""
