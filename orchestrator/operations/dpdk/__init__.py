"""The JSON messages and FIFOs of DPDK's vm_power_manager."""
