"""Domain XML: parse, build, edit; pure."""
