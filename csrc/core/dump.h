/* Looking at a loop: its machines, and what each of them waits for, since when and until when. For people
** who want to know why a program does not go on. */
#ifndef ROTOR_CORE_DUMP_H
#define ROTOR_CORE_DUMP_H

#include "loop.h"

/* No line of rotor_machine_line() is longer, its final NUL included. */
#define ROTOR_LINE_SIZE 512

/* Call `fn` with each machine that is alive, in the order of their slots, until it returns false. It may
** do what any transition of the loop may; machines that are added meanwhile may be told or not. Loop's
** thread only. */
void rotor_loop_each(rotor_loop *loop, bool (*fn)(void *context, rotor_machine *m), void *context);

/* When the machine began to wait for what it waits for now, in ms of the loop's clock: its last transition
** that has not answered `same`, or its beginning. Right for 49 days. */
uint64_t rotor_machine_since(const rotor_machine *m);

/* Its deadline in ms of the loop's clock, or ROTOR_NEVER. */
uint64_t rotor_machine_deadline(const rotor_machine *m);

/* What it waits for, in words, cut to `size` bytes with the final NUL: what its type's `describe` says, or
** what the loop sees: its descriptors, its deadline, a wakeup. */
void rotor_machine_describe(const rotor_machine *m, char *text, size_t size);

/* All of that in one line without a line break, cut to `size` bytes with the final NUL:
**
**     NAME SLOT.GENERATION: WHAT; for SECONDS s[; deadline in SECONDS s]
**
** as in `echo 3.1: "\n" within 4096 bytes, peer 127.0.0.1:4242; for 1.250 s; deadline in 58.750 s`. A
** deadline that has passed is one "in 0.000 s". Control characters appear as "?". */
void rotor_machine_line(const rotor_machine *m, char *text, size_t size);

/* Call `fn` with the line of each machine, in the order of rotor_loop_each(); it is valid during the
** call. */
void rotor_loop_dump(rotor_loop *loop, void (*fn)(void *context, const char *line), void *context);

#endif
