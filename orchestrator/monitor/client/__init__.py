"""Main's side of the monitor: starts it, sends commands, receives reports."""
