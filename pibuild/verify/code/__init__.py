"""What a wheel's machine code needs of a CPU."""
