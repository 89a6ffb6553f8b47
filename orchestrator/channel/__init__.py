"""One virtio-serial channel: its protocol, its states, its connection."""
