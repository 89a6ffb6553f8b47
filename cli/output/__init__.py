"""The output of the command: lines, tables, pictures, full screens."""
