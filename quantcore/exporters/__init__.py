"""What is taken away: one module a file format."""
