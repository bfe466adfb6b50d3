"""Every night: what changed in the matrix is built and proven, recorded, and reported."""
