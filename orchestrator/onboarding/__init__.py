"""Which channels the rules of the configuration want for a domain."""
