"""The CPUs of the host: topology, back ends, journal, simulated CPUs."""
