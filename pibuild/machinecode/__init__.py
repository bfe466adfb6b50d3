"""What is in ELF files: instructions, symbols, control flow. Knows no targets and no Pis."""
