/* Makes the Cortex-A53 and A72 of qemu-aarch64 those of a Pi, which have no AES, PMULL and SHA: a TCG plugin.
 *
 *   cc -O2 -shared -fPIC -o no_crypto.so no_crypto.c
 *   qemu-aarch64 -cpu cortex-a72 -plugin ./no_crypto.so PROGRAM ARGS
 *
 * Cause: Broadcom left the Cryptographic Extension out, and qemu has no option that takes it from these CPUs
 * (target/arm/cpu64.c, ID_AA64ISAR0 of aarch64_a53_initfn and aarch64_a72_initfn).
 * The program does not see the extension in AT_HWCAP. An instruction of it raises SIGILL, after the instructions that qemu
 * translated with it; `-d plugin` logs it. ID_AA64ISAR0 itself still has it.
 *
 * Debian's packages before trixie hold no qemu-plugin.h, so what we use of the interface is declared here
 * (docs/devel/tcg-plugins.rst of qemu). */
#define _GNU_SOURCE
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef PLUGIN_API
#define PLUGIN_API 1 /* 2 for qemu 9.0 and so on */
#endif

#define EXPORT __attribute__((visibility("default")))

struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef uint64_t qemu_plugin_id_t;
enum { QEMU_PLUGIN_CB_NO_REGS };

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
                                           void (*callback)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, void (*callback)(unsigned, void *),
                                            int flags, void *data);
void qemu_plugin_outs(const char *text);

EXPORT int qemu_plugin_version = PLUGIN_API;

/* ARM DDI 0487, C4.1.90 (Cryptographic AES, two- and three-register SHA) and C7.2.253 (PMULL of 64 bits). */
static const struct {
    uint32_t mask, value;
} crypto[] = {
    {0xFFFFCC00, 0x4E284800}, /* AESE, AESD, AESMC, AESIMC */
    {0xFFE08C00, 0x5E000000}, /* SHA1C, SHA1P, SHA1M, SHA1SU0, SHA256H, SHA256H2, SHA256SU1 */
    {0xFFFFCC00, 0x5E280800}, /* SHA1H, SHA1SU1, SHA256SU0 */
    {0xBFE0FC00, 0x0EE0E000}, /* PMULL, PMULL2 with a result of 128 bits */
};
enum { AT_NULL = 0, AT_PHENT = 4, AT_PHNUM = 5, AT_HWCAP = 16, SIZE_OF_PHDR = 56 };
#define HWCAP_CRYPTO (1 << 3 | 1 << 4 | 1 << 5 | 1 << 6) /* AES, PMULL, SHA1, SHA2 */
#define LARGEST_STACK (64 << 20)

static void when_executed(unsigned cpu, void *line)
{
    (void)cpu;
    qemu_plugin_outs(line);
    raise(SIGILL); /* qemu passes it on to the program */
}

static int hide_in(uint64_t *words, const uint64_t *end)
{
    for (; words + 3 < end; words++) {
        if (words[0] != AT_PHENT || words[1] != SIZE_OF_PHDR || words[2] != AT_PHNUM)
            continue;
        for (uint64_t *entry = words; entry + 1 < end && entry[0] != AT_NULL; entry += 2) {
            if (entry[0] == AT_HWCAP) {
                entry[1] &= ~(uint64_t)HWCAP_CRYPTO;
                return 1;
            }
        }
    }
    return 0;
}

/* When the first code is translated, the program's stack has its auxiliary vector. The stack is memory without a name. */
static void hide_from_program(void)
{
    char line[512], access[8], name[256];
    uint64_t begin, end;
    int is_hidden = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && !is_hidden && fgets(line, sizeof line, maps)) {
        name[0] = 0;
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %*s %*s %*s %255s", &begin, &end, access, name) < 3)
            continue;
        if (!strcmp(access, "rw-p") && !name[0] && end - begin <= LARGEST_STACK)
            is_hidden = hide_in((uint64_t *)begin, (uint64_t *)end);
    }
    if (maps)
        fclose(maps);
    if (!is_hidden) {
        fputs("no_crypto: this qemu keeps the auxiliary vector elsewhere\n", stderr);
        exit(1);
    }
}

static void when_translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    static int is_hidden;
    (void)id;
    if (!is_hidden)
        hide_from_program();
    is_hidden = 1;
    for (size_t index = 0; index < qemu_plugin_tb_n_insns(tb); index++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, index);
        uint32_t word;
        memcpy(&word, qemu_plugin_insn_data(insn), sizeof word);
        for (size_t kind = 0; kind < sizeof crypto / sizeof *crypto; kind++) {
            char *text;
            if ((word & crypto[kind].mask) != crypto[kind].value)
                continue;
            if (asprintf(&text, "illegal here: %08" PRIx32 " at 0x%" PRIx64 "\n", word, qemu_plugin_insn_vaddr(insn)) > 0)
                qemu_plugin_register_vcpu_insn_exec_cb(insn, when_executed, QEMU_PLUGIN_CB_NO_REGS, text);
        }
    }
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
    (void)info, (void)argc, (void)argv;
    qemu_plugin_register_vcpu_tb_trans_cb(id, when_translated);
    return 0;
}
