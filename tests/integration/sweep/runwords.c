/* Runs single instructions: reads 8 bytes for each from stdin (0 for A32 or 1 for Thumb; the instruction, of a 32-bit
 * Thumb one the first halfword on top), writes one byte: 'I' if the CPU refused it with SIGILL where it stood, '.' for
 * anything else. Freestanding and ARMv6, so that any CPU model of qemu-user can run it:
 *   arm-linux-gnueabihf-gcc -nostdlib -static -O1 -marm -march=armv6 -mfloat-abi=soft -o runwords runwords.c
 */
typedef unsigned int u32;

enum { SYS_exit = 1, SYS_read = 3, SYS_write = 4, SYS_setitimer = 104, SYS_rt_sigaction = 174, SYS_sigaltstack = 186,
       SYS_mmap2 = 192, SYS_cacheflush = 0xf0002 };
enum { SIGILL = 4, SIGTRAP = 5, SIGBUS = 7, SIGFPE = 8, SIGSEGV = 11, SIGALRM = 14 };
enum { SA_SIGINFO = 0x4, SA_RESTORER = 0x04000000, SA_ONSTACK = 0x08000000, SA_NODEFER = 0x40000000 };

struct action { void *handler; u32 flags; void *restorer; u32 mask[2]; };
struct ucontext { u32 flags, link, stack[3], trap, error, oldmask, reg[16], cpsr, fault; };

static volatile char verdict;
static volatile u32 alarms;
static u32 page_at;
static char alternate[65536];
static u32 questions[8192];
static char answers[4096];

extern volatile u32 start[];
void run(u32 entry);
void back(void);
void restorer(void);
int call(int number, u32 a, u32 b, u32 c, u32 d, u32 e, u32 f);

__asm__(".text\n.arm\n"
        "call: push {r4, r5, r7, lr}\n mov r7, r0\n mov r0, r1\n mov r1, r2\n mov r2, r3\n"
        " ldr r3, [sp, #16]\n ldr r4, [sp, #20]\n ldr r5, [sp, #24]\n svc #0\n pop {r4, r5, r7, pc}\n"
        "restorer: mov r7, #173\n svc #0\n"
        "run: push {r4-r11, lr}\n ldr r1, =saved_sp\n str sp, [r1]\n ldr sp, =start\n str r0, [sp, #56]\n"
        " ldm sp, {r0-r12, lr, pc}\n" /* all zero; what the instruction pushes or pops lies in an area of its own */
        "back: ldr sp, =saved_sp\n ldr sp, [sp]\n pop {r4-r11, pc}\n.ltorg\n"
        ".bss\n.align 3\nsaved_sp: .space 8\n .space 8192\nstart: .space 8192\n.text\n");

static void handler(int number, void *info, struct ucontext *context)
{
    u32 pc = context->reg[15] & ~1u;
    (void)info;
    if (number == SIGALRM && ++alarms < 5)
        return;
    verdict = number == SIGILL && pc == page_at ? 'I' : '.';
    context->reg[15] = (u32)back;
    context->cpsr &= ~0x0600fe20u; /* A32, little-endian, outside of any IT block */
}

static char judged(u32 thumb, u32 word)
{
    u32 *page = (u32 *)page_at, i = 1;
    page[0] = !thumb ? word : word >> 16 ? word >> 16 | word << 16 : word | 0x46c00000u;
    if (thumb)
        page[i++] = 0x46c04778u; /* bx pc; mov r8, r8: into A32 */
    page[i] = 0xe51ff004u;       /* ldr pc, [pc, #-4] */
    page[i + 1] = (u32)back;
    alarms = 0;
    verdict = '.';
    for (i = 0; i < 14; i++)
        start[i] = 0;
    call(SYS_cacheflush, page_at, page_at + 64, 0, 0, 0, 0);
    run(page_at | thumb);
    return verdict;
}

void _start(void)
{
    static const char fatal[] = {SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGALRM};
    u32 timer[4] = {0, 5000, 0, 5000}, stack[3] = {(u32)alternate, 0, sizeof alternate}, i;
    call(SYS_sigaltstack, (u32)stack, 0, 0, 0, 0, 0);
    for (i = 0; i < sizeof fatal; i++) {
        struct action action = {handler, SA_SIGINFO | SA_RESTORER | SA_ONSTACK | SA_NODEFER, restorer, {0, 0}};
        call(SYS_rt_sigaction, fatal[i], (u32)&action, 0, 8, 0, 0);
    }
    page_at = (u32)call(SYS_mmap2, 0, 3 * 65536, 7, 0x22, (u32)-1, 0) + 65536;
    call(SYS_setitimer, 0, (u32)timer, 0, 0, 0, 0);
    for (;;) {
        u32 have = 0, want = sizeof questions;
        int got = 1;
        while (have < want && got) {
            got = call(SYS_read, 0, (u32)questions + have, want - have, 0, 0, 0);
            if (got == -4) /* EINTR */
                got = 1;
            else
                have += (u32)got;
        }
        for (i = 0; i < have / 8; i++)
            answers[i] = judged(questions[2 * i], questions[2 * i + 1]);
        call(SYS_write, 1, (u32)answers, have / 8, 0, 0, 0);
        if (!got)
            call(SYS_exit, 0, 0, 0, 0, 0, 0);
    }
}
