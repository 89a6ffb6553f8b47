# SPDX-License-Identifier: Apache-2.0
"""Services of the operating system: lock files, open files, the service manager."""
