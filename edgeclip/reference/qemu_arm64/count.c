/* A plugin of QEMU that counts the instructions of one emulated processor.
 *
 * Whenever the program calls getpriority(MARK, n), which fails and does nothing else, a line "n count" is written to the file
 * given as out=FILE. Declared here is what is used of version 1 of the plugin interface, as QEMU documents it
 * (https://www.qemu.org/docs/master/devel/tcg-plugins.html), since Debian has no package with its header.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define MARK 0x45434c50u
#define GETPRIORITY 141 /* of ARM64 Linux */
#define INLINE_ADD_U64 0

struct block;
typedef void translated(uint64_t plugin, struct block *block);
typedef void called(uint64_t plugin, unsigned processor, int64_t number, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                    uint64_t, uint64_t);
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t plugin, translated *function);
void qemu_plugin_register_vcpu_syscall_cb(uint64_t plugin, called *function);
void qemu_plugin_register_vcpu_tb_exec_inline(struct block *block, int operation, void *place, uint64_t value);
size_t qemu_plugin_tb_n_insns(const struct block *block);

EXPORT int qemu_plugin_version = 1;
static uint64_t count;
static FILE *out;

static void on_translation(uint64_t plugin, struct block *block)
{
    (void)plugin;
    qemu_plugin_register_vcpu_tb_exec_inline(block, INLINE_ADD_U64, &count, qemu_plugin_tb_n_insns(block));
}

static void on_call(uint64_t plugin, unsigned processor, int64_t number, uint64_t which, uint64_t who, uint64_t c, uint64_t d,
                    uint64_t e, uint64_t f, uint64_t g, uint64_t h)
{
    (void)plugin, (void)processor, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
    if (number == GETPRIORITY && (uint32_t)which == MARK) {
        fprintf(out, "%" PRIu64 " %" PRIu64 "\n", who, count);
        fflush(out);
    }
}

EXPORT int qemu_plugin_install(uint64_t plugin, const void *system, int argc, char **argv)
{
    (void)system;
    if (argc != 1 || strncmp(argv[0], "out=", 4) != 0 || !(out = fopen(argv[0] + 4, "w")))
        return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(plugin, on_translation);
    qemu_plugin_register_vcpu_syscall_cb(plugin, on_call);
    return 0;
}
