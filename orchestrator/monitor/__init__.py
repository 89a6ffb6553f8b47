"""The monitor process: packets to clocks, with as little between as possible."""
