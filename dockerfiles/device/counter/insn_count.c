/* Counts the instructions that an ARM program executes: a TCG plugin for qemu-user.
 *
 *   cc -O2 -shared -fPIC -o insn_count.so insn_count.c
 *   qemu-arm -plugin ./insn_count.so,out=COUNTS[,blocks=FILE] PROGRAM ARGS
 *
 * COUNTS gets one decimal number per line: the instructions up to each mark, and at last those of the whole run. A mark
 * is a call of getppid(2), which ordinary programs never make; its line is there when the call returns, so a program
 * may read its own counts. FILE gets one line per translated block: guest address (hex), instructions, executions
 * between the first mark and the last (of the whole run, if there was no mark); ci/bench.d/hot.py makes functions of it.
 *
 * The same program on the same input gives the same number between two marks, under any load, if it does not look at the
 * clock (still_clock.c): that is why we judge code by it, and not by seconds under emulation.
 *
 * A block is entered at its first instruction and left after its last one, so instructions x executions is exact, but
 * for a block that a signal leaves half-way. An ARM instruction whose condition fails counts as executed, as it does
 * in a Pi's own counter. Executions are summed without a lock: use one thread, or accept that a few are lost.
 *
 * qemu needs `--enable-plugins`: Debian's has it from bookworm (7.2) on; bullseye's (5.2) and every -static one lack
 * it. Debian's packages before trixie hold no qemu-plugin.h, so what we use of the interface is declared here
 * (docs/devel/tcg-plugins.rst of qemu). These functions are alike in every version of it; only the number differs:
 * 1 for qemu 6 to 8, and for later ones -DPLUGIN_API=2 (9.0) and so on.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef PLUGIN_API
#define PLUGIN_API 1
#endif

#define EXPORT __attribute__((visibility("default")))

struct qemu_plugin_tb;
typedef uint64_t qemu_plugin_id_t;
enum { QEMU_PLUGIN_CB_NO_REGS };

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
                                           void (*callback)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, void (*callback)(unsigned, void *), int flags,
                                          void *data);
void qemu_plugin_register_vcpu_syscall_cb(qemu_plugin_id_t id,
                                          void (*callback)(qemu_plugin_id_t, unsigned, int64_t, uint64_t, uint64_t,
                                                           uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                                                           uint64_t));
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, void (*callback)(qemu_plugin_id_t, void *), void *data);

EXPORT int qemu_plugin_version = PLUGIN_API;

#define ARM_GETPPID 64

struct block {
    struct block *next;
    uint64_t address, instructions, executions, at_first_mark, at_last_mark;
};

static struct block *blocks;
static uint64_t total;
static unsigned marks;
static FILE *counts_file;
static const char *blocks_path;

static void when_executed(unsigned cpu, void *data)
{
    struct block *block = data;
    (void)cpu;
    block->executions++;
    total += block->instructions;
}

static void when_called(qemu_plugin_id_t id, unsigned cpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3,
                        uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
    (void)id, (void)cpu, (void)a1, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
    if (number != ARM_GETPPID)
        return;
    fprintf(counts_file, "%" PRIu64 "\n", total);
    if (blocks_path) {
        for (struct block *block = blocks; block; block = block->next) {
            block->at_last_mark = block->executions;
            if (!marks)
                block->at_first_mark = block->executions;
        }
    }
    marks++;
}

/* qemu holds its own lock while it translates, so the list needs none. */
static void when_translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    struct block *block = calloc(1, sizeof *block);
    (void)id;
    if (!block) {
        fputs("insn_count: out of memory\n", stderr);
        exit(1);
    }
    block->address = qemu_plugin_tb_vaddr(tb);
    block->instructions = qemu_plugin_tb_n_insns(tb);
    block->next = blocks;
    blocks = block;
    qemu_plugin_register_vcpu_tb_exec_cb(tb, when_executed, QEMU_PLUGIN_CB_NO_REGS, block);
}

static FILE *opened(const char *path)
{
    FILE *file = fopen(path, "w");
    if (!file) {
        perror(path);
        exit(1);
    }
    return file;
}

static void when_done(qemu_plugin_id_t id, void *data)
{
    FILE *file;
    (void)id, (void)data;
    fprintf(counts_file, "%" PRIu64 "\n", total);
    fclose(counts_file);
    if (!blocks_path)
        return;
    file = opened(blocks_path);
    for (const struct block *block = blocks; block; block = block->next) {
        uint64_t executions = marks ? block->at_last_mark - block->at_first_mark : block->executions;
        if (executions)
            fprintf(file, "%" PRIx64 " %" PRIu64 " %" PRIu64 "\n", block->address, block->instructions, executions);
    }
    fclose(file);
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; i++) {
        if (!strncmp(argv[i], "out=", 4)) {
            counts_file = opened(argv[i] + 4);
            setvbuf(counts_file, NULL, _IOLBF, BUFSIZ);
        } else if (!strncmp(argv[i], "blocks=", 7)) {
            blocks_path = strdup(argv[i] + 7);
        } else {
            fprintf(stderr, "insn_count: unknown option %s; it takes out= and blocks=\n", argv[i]);
            return 1;
        }
    }
    if (!counts_file) {
        fputs("insn_count: where to? Give out=FILE\n", stderr);
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, when_translated);
    qemu_plugin_register_vcpu_syscall_cb(id, when_called);
    qemu_plugin_register_atexit_cb(id, when_done, NULL);
    return 0;
}
