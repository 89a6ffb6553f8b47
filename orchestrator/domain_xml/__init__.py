# SPDX-License-Identifier: Apache-2.0
"""Parses, builds and edits domain XML: text in, values or text out, no I/O.

Source: libvirt's formatdomain, "Channel" and "Controllers".
"""
