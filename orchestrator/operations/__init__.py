"""What operators may do: over the control API, and in the words of DPDK's own tools."""
