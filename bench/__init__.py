"""vmpowerd beside the least possible work in C: same load, same packets, one run."""
