# SPDX-License-Identifier: Apache-2.0
"""ACPI tables for guests, as bytes. Pure.

Synchronization: none required, functions of values.
"""
