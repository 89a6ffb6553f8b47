"""Code that CONTRIBUTING.md shows; the tests run it."""
