"""`pibuild run`: a command of a person's on an emulated Pi that has a wheel installed."""
