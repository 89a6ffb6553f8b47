# SPDX-License-Identifier: Apache-2.0
"""What main and the monitor exchange: messages, descriptors, a shared memory table."""
