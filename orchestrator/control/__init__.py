"""The daemon's API: models, calls, server, client."""
