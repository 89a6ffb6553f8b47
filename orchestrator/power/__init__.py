"""The CPUs of the host: topology, drivers, journal, simulated CPUs."""
