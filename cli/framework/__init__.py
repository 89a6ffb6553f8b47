"""What every command stands on: options, help, errors, exit statuses, sessions."""
