"""What operators write down, as values."""
