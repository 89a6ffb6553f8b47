"""One virtio-serial channel: protocol, lifecycle, endpoint."""
