"""`pibuild run` and `verify --run`: a wheel is installed on an emulated Pi, and commands run there."""
