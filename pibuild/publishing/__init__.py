"""A set of proven wheels becomes a package index, whole or not at all: first in a folder, then at its destinations."""
