# SPDX-License-Identifier: Apache-2.0
"""What domains did, over days and weeks: collected by the minute, kept in SQLite."""
