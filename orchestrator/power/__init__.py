# SPDX-License-Identifier: Apache-2.0
"""The CPUs of the host: topology, drivers, journal, simulated CPUs."""
