"""A plan becomes a proven wheel: artifacts, images, containers, the proof and its record."""
