"""Facts for the checks: each module has values, and the function that reads them."""
