"""Complete, valid domain XML to start from."""
