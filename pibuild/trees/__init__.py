"""Archives and folders become trees: ordered, hashed, normalised."""
