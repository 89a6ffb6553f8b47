"""What all commands build on: options, help, errors, exit statuses, the daemon."""
