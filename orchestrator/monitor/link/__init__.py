"""What main and the monitor exchange: messages, descriptors, a shared memory table."""
