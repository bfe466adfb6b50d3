"""What the dynamic loader does with a wheel's files, on each release."""
