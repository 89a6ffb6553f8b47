"""Services of the operating system: lock files, open files, the service manager."""
