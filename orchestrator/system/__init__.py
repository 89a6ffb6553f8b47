"""What the operating system offers a daemon: files, locks, its service manager."""
