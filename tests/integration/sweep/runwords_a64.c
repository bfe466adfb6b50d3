/* Runs single A64 instructions: reads 4 bytes for each from stdin, writes one byte: 'I' if the CPU refused it with
 * SIGILL where it stood, '.' for anything else. All registers are zero; a breakpoint follows.
 *   aarch64-linux-gnu-gcc -static -O1 -o runwords_a64 runwords_a64.c
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <ucontext.h>

static sigjmp_buf back;
static uint32_t *page;
static volatile char verdict;
static char alternate[65536], scratch[65536] __attribute__((aligned(16)));

void run(void *entry, void *stack);
__asm__(".text\nrun: mov x17, x0\n mov sp, x1\n"
        " .irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,18,19,20,21,22,23,24,25,26,27,28,29,30\n mov x\\n, #0\n .endr\n"
        " br x17\n");

static void handler(int number, siginfo_t *info, void *context)
{
    ucontext_t *at = context;
    (void)info;
    verdict = number == SIGILL && at->uc_mcontext.pc == (uintptr_t)page ? 'I' : '.';
    siglongjmp(back, 1);
}

int main(void)
{
    static const int fatal[] = {SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV};
    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    uint32_t word;
    sigaltstack(&stack, 0);
    for (unsigned i = 0; i < sizeof fatal / sizeof *fatal; i++)
        sigaction(fatal[i], &action, 0);
    page = mmap(0, 65536, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    while (fread(&word, 4, 1, stdin) == 1) {
        if (!sigsetjmp(back, 0)) {
            page[0] = word;
            page[1] = 0xd4200000; /* brk */
            __builtin___clear_cache((char *)page, (char *)(page + 2));
            run(page, scratch + sizeof scratch / 2);
        }
        putchar(verdict);
    }
    return 0;
}
