"""Bytes of machine code become facts; no knowledge of targets or Pis."""
