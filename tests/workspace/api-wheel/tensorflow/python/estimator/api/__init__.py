"""Nothing; it is listed, so it is there."""
