# SPDX-License-Identifier: Apache-2.0
"""Reads counters of the host and of libvirt for any component that needs them.

Theory of operation: a sampler reads one kind of counter and computes what happened
between two readings. `kinds` is the table of samplers. Sampling makes no decisions and
does not depend on policies, its present users.

Reads can block (a call into libvirt for half a minute) and belong in threads.
"""
