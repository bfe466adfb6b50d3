"""What stands for the outside in tests: engines, servers, programs."""
