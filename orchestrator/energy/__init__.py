# SPDX-License-Identifier: Apache-2.0
"""Who used how much energy, and what lower frequencies saved; pure."""
