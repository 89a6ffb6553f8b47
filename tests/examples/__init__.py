"""The examples, run as a person runs them."""
