"""What the command shows: documents to sheets, sheets to text; all of it pure."""
