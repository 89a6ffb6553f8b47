"""What operators and programs are shown: status, log and events."""
