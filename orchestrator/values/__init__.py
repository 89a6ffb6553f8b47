"""What travels between packages: immutable values, and how they are written."""
