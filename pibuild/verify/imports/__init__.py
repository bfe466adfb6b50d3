"""What a wheel's Python code imports and loads, on each Python."""
