"""What a person sees: lines, tables, pictures, and a screen that is drawn again."""
