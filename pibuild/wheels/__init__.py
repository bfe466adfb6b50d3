"""Wheel files: reading, checking and writing them, their tags, and which tags pip accepts."""
