"""A command on an emulated Pi that has a wheel installed."""
