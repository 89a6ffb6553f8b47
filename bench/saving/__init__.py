# SPDX-License-Identifier: Apache-2.0
"""What frequency control saves, and costs, over a day of traffic; in virtual time."""
