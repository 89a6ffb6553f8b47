"""What the checks are about: each module has values, and a function that reads them."""
