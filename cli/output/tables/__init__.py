# SPDX-License-Identifier: Apache-2.0
"""Tables of the command: documents to sheets, sheets to text; pure."""
