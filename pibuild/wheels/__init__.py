"""Wheel files: names, tags, contents, and how they are rewritten."""
