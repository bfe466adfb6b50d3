"""A set of proven wheels becomes a package index, whole or not at all: locally, then wherever it is to go."""
