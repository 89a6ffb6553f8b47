"""vmpowerd compared with minimal loops in C: same load, same packets, one run."""
