"""Tables of the command: documents to sheets, sheets to text; pure."""
