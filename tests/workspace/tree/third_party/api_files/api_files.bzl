"""The Python API files that were made before, as paths from the root of the tree."""

API_FILES = []
