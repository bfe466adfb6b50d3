"""Pins become trees in the store."""
