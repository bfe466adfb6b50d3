/* Loaded into every program of a Pi whose CPU is ARMv8: qemu-arm calls that machine armv8l, which no Pi's kernel does.
 * MACHINE is what it says there. */
#define _GNU_SOURCE
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

__attribute__((visibility("default"))) int uname(struct utsname *name) {
    int failed = syscall(SYS_uname, name);
    if (!failed) strcpy(name->machine, MACHINE);
    return failed;
}
