"""One file for each scaling driver, and the contract that all of them fulfil."""
