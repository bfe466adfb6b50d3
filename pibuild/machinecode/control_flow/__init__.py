"""Where control goes in machine code, and what a file asks about the CPU before it uses an instruction."""
