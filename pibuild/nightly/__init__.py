"""Nights: the cells of the matrix that changed are built, proven, recorded and reported."""
