@ fcntl64, glibc 2.28: what <fcntl.h> calls with _FILE_OFFSET_BITS=64. An older fcntl is the same call.
	.syntax unified
	.arm
	.text
	.globl	fcntl64
	.hidden	fcntl64
	.type	fcntl64, %function
fcntl64:
	b	fcntl(PLT)
	.size	fcntl64, .-fcntl64
	.section .note.GNU-stack, "", %progbits
