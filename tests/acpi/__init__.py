# SPDX-License-Identifier: Apache-2.0
"""ACPI tables for guests."""
