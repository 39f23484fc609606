/* Makes RAUC older than 1.15.1 understand a kernel from 6.19 on.
 *
 * RAUC asks the kernel whether a bundle's dm-verity device is in order and takes nothing but "V" for
 * an answer. Linux 6.19 adds how many blocks were corrected, "-" where none can be:
 * "V -" (kernel.org, ae97648e14f7). RAUC 1.15.1 reads the first word (rauc, a45cdb14df26);
 * Debian 13 has 1.13. Loaded into RAUC's service by LD_PRELOAD, this cuts the answer after its
 * first word. Anything else, "C" for a corrupt bundle above all, is left as it is.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/dm-ioctl.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>

typedef int (*ioctl_function)(int, unsigned long, void *);

static void shorten(struct dm_ioctl *header)
{
    uint32_t offset = header->data_start;

    for (uint32_t i = 0; i < header->target_count; i++) {
        struct dm_target_spec *target;
        char *status = (char *)header + offset + sizeof(*target);

        if (offset > header->data_size || header->data_size - offset < sizeof(*target) + 2)
            return;
        target = (struct dm_target_spec *)((char *)header + offset);
        if (strcmp(target->target_type, "verity") == 0 && status[0] == 'V' && status[1] == ' ')
            status[1] = '\0';
        offset = header->data_start + target->next; /* dm-ioctl.h: from the first one's start */
    }
}

int ioctl(int file, unsigned long request, ...)
{
    static ioctl_function real;
    va_list rest;
    void *argument;
    int result;

    va_start(rest, request);
    argument = va_arg(rest, void *);
    va_end(rest);
    if (!real)
        real = (ioctl_function)dlsym(RTLD_NEXT, "ioctl");
    if (!real) {
        errno = ENOSYS;
        return -1;
    }
    result = real(file, request, argument);
    if (result == 0 && request == DM_TABLE_STATUS && argument)
        shorten(argument);
    return result;
}
