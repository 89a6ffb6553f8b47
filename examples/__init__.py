"""Examples, each of which runs in the test suite."""
