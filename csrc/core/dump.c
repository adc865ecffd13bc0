/* What the loop and the types of its machines know of them, put into words. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "dump.h"
#include "private.h"

void rotor_loop_each(rotor_loop *loop, bool (*fn)(void *context, rotor_machine *m), void *context)
{
    for (uint32_t i = 0; i < loop->nslots; i++) /* `fn` may make there be more */
        if (loop->slots[i].machine && !fn(context, loop->slots[i].machine))
            return;
}

uint64_t rotor_machine_since(const rotor_machine *m)
{
    uint64_t now = m->loop->now;
    return m->flags & (ROTOR__END | ROTOR__ENDED) ? now : now - ((uint32_t)now - m->since);
}

uint64_t rotor_machine_deadline(const rotor_machine *m)
{
    return m->flags & (ROTOR__CREATE | ROTOR__SPAWN) ? ROTOR_NEVER : m->deadline.at;
}

static const char *interest_of(const rotor_io *io)
{
    switch (io->interest & (ROTOR_READABLE | ROTOR_WRITABLE)) {
    case 0:
        return "";
    case ROTOR_READABLE:
        return "readable";
    case ROTOR_WRITABLE:
        return "writable";
    default:
        return "readable or writable";
    }
}

/* What is waited for on descriptors; false if nothing is. */
static bool describe_ios(const rotor_machine *m, char *text, size_t size)
{
    size_t used = 0;
    for (const rotor_io *io = m->ios; io && used + 1 < size; io = io->next) {
        if (io->open != 1 || !*interest_of(io))
            continue;
        int n = snprintf(text + used, size - used, "%sdescriptor %d %s", used ? ", " : "", io->fd,
                         interest_of(io));
        used += n > 0 ? (size_t)n : 0;
    }
    return used > 0;
}

void rotor_machine_describe(const rotor_machine *m, char *text, size_t size)
{
    const char *words = NULL;
    if (m->flags & (ROTOR__END | ROTOR__ENDED))
        words = "its end";
    else if (m->flags & ROTOR__CREATE)
        words = "its create";
    else if (m->flags & ROTOR__SPAWN)
        words = "the machine it spawns";
    else if (m->type->describe)
        m->type->describe(m, text, size);
    else if (!describe_ios(m, text, size))
        words = m->flags & ROTOR__WAITS        ? "a free slot"
                : m->deadline.at < ROTOR_NEVER ? "its deadline"
                                               : "a wakeup";
    if (words)
        snprintf(text, size, "%s", words);
}

void rotor_machine_line(const rotor_machine *m, char *text, size_t size)
{
    char what[ROTOR_LINE_SIZE];
    rotor_machine_describe(m, what, sizeof what);
    uint64_t now = m->loop->now, since = now - rotor_machine_since(m);
    uint64_t at = rotor_machine_deadline(m), left = at > now ? at - now : 0;
    char until[64] = "";
    if (at < ROTOR_NEVER)
        snprintf(until, sizeof until, "; deadline in %" PRIu64 ".%03u s", left / 1000,
                 (unsigned)(left % 1000));
    /* The ends are not to be what is cut. */
    char times[128];
    int reserved = snprintf(times, sizeof times, "; for %" PRIu64 ".%03u s%s", since / 1000,
                            (unsigned)(since % 1000), until);
    int n = snprintf(text, size, "%s %u.%u: %s", rotor_machine_name(m), m->self.slot,
                     m->self.generation, what);
    size_t used = n > 0 ? (size_t)n : 0,
           room = size > (size_t)reserved ? size - (size_t)reserved : 1;
    if (size > 0)
        snprintf(text + (used < room ? used : room - 1), size - (used < room ? used : room - 1),
                 "%s", times);
    for (size_t i = 0; i < size && text[i]; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 127)
            text[i] = '?';
}

typedef struct dump {
    void (*fn)(void *context, const char *line);
    void *context;
} dump;

static bool tell(void *context, rotor_machine *m)
{
    const dump *d = context;
    char line[ROTOR_LINE_SIZE];
    rotor_machine_line(m, line, sizeof line);
    d->fn(d->context, line);
    return true;
}

void rotor_loop_dump(rotor_loop *loop, void (*fn)(void *context, const char *line), void *context)
{
    rotor_loop_each(loop, tell, &(dump){fn, context});
}
