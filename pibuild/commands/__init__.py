"""The command line: one module for each command, and the way from argv to an exit code."""
