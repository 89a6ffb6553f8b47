# SPDX-License-Identifier: Apache-2.0
"""What operators and programs are shown: status, log and events."""
