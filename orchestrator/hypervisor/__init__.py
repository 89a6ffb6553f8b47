"""Libvirt, and nothing else: connection, events, devices."""
