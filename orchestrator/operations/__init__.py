# SPDX-License-Identifier: Apache-2.0
"""What operators can do: over the control API, and with DPDK's own tools."""
