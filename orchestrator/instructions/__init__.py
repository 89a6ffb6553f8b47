"""What scripts for DPDK's vm_power_manager say, and what is done about it."""
