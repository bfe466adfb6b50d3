"""Bytes to values and back; no knowledge of targets, recipes or the machine."""
