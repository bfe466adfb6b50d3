"""Ed25519 keys in files, and what they sign: files as they are, and JSON in envelopes."""
