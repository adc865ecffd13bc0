/* Streams of a script that are traced, and their diagram as tests like to read it. */
#ifndef ROTOR_TEST_TRACED_H
#define ROTOR_TEST_TRACED_H

#include "../stream/trace.h"
#include "script.h"

/* A trace of `protocol`. */
rotor_trace *traced_new(const rotor_protocol *protocol);

/* A stage whose stream is traced, with a peer that takes `window` bytes for now. The first says what
** rotor_memory_connect() did; with the second it must be 0. */
int traced_try_open(stage *st, rotor_trace **trace, script *sc, size_t window);
rotor_trace *traced_open(stage *st, script *sc, size_t window);
void traced_close(stage *st, rotor_trace *trace);

/* To act as in a script: become the next of the states (NULL: stay) that the script's context is an
** array of, one with each transition, and note where it is. */
void traced_step(script *sc, rotor_stream *s, rotor_scope *scope);

/* The diagram, in which a state is but "{name|bytes_read 2, timeout 1|1 here now}", dashed or not, and
** the lines of an arrow's label are divided by commas, too. Valid until the next is drawn. */
const char *traced_draw(const rotor_trace *trace);

/* Fail the test unless the diagram has the line (without its "  " and ";"). */
void traced_has(const rotor_trace *trace, const char *line);

#endif
