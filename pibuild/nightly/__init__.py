"""Every night: what of the matrix changed is built and proven, and what came of it is remembered and told."""
