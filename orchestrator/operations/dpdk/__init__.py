# SPDX-License-Identifier: Apache-2.0
"""The JSON messages and FIFOs of DPDK's vm_power_manager."""
