# SPDX-License-Identifier: Apache-2.0
"""One virtio-serial channel: its protocol, its states, its connection."""
