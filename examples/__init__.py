"""Examples; each of them runs in the test suite."""
