"""Main's side of the monitor: starts it, tells it what exists, hears what happens."""
