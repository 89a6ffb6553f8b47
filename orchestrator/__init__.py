# SPDX-License-Identifier: Apache-2.0
"""The vmpower daemon: finds poweragent channels by itself and serves them."""

__version__ = "0.1.0"
