"""What single instructions do to registers, memory and control."""
