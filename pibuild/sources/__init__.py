"""Sources: downloaded from one of their places, compared with the pinned hash, and put into the store."""
