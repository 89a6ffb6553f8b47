# SPDX-License-Identifier: Apache-2.0
"""Metrics for Prometheus: families, what they are read from, and their text.

`families` defines every family with its labels and the bound of its series. A source
copies what its families need, in the asyncio thread, from what main knows and from the
shared table; it reads no file and calls no libvirt. `exposition` turns that into text
in another thread.
"""
