/* Loaded into the emulator: says that this kernel has no statx.
 *
 * Cause: qemu-user looks for files under its -L folder, but not in statx, which C libraries since 2.33 call for stat on
 * 32-bit machines; where the kernel has none it does as in fstatat, and there it looks.
 * Source: TARGET_NR_statx in https://gitlab.com/qemu-project/qemu/-/blob/v7.2.0/linux-user/syscall.c
 * To delete it: an emulator whose statx looks there, too. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/syscall.h>

__attribute__((visibility("default"))) long syscall(long number, long a, long b, long c, long d, long e, long f) {
    if (number == SYS_statx) {
        errno = ENOSYS;
        return -1;
    }
    long result;
    register long fourth __asm__("r10") = d;
    register long fifth __asm__("r8") = e;
    register long sixth __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth), "r"(fifth), "r"(sixth)
                     : "rcx", "r11", "memory");
    if (result < 0 && result > -4096) {
        errno = (int)-result;
        return -1;
    }
    return result;
}
