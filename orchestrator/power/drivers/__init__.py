"""One module for each scaling driver, and the contract that all of them implement."""
