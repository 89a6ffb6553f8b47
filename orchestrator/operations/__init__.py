"""What operators can do: over the control API, and with DPDK's own tools."""
