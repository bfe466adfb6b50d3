"""A package index of proven wheels: published in a folder, completely or not at all, then copied to destinations."""
