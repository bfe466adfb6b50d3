@ From glibc 2.28 on, <fcntl.h> with _FILE_OFFSET_BITS=64 calls fcntl64, which an older glibc lacks: there, plain fcntl
@ is the same call. Linked in only when the floor is older than that.
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
