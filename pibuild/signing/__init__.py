"""Ed25519 keys in files; signatures of files, and of JSON in envelopes (DSSE)."""
