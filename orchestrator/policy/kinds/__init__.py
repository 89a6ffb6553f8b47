"""One file for each kind of policy, and the contract that all of them fulfil."""
