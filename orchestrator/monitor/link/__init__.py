"""What main and the monitor speak: messages, descriptors, a table in shared memory."""
