# SPDX-License-Identifier: Apache-2.0
"""What a history means: figures, reasons, advice, charts and a page; pure."""
