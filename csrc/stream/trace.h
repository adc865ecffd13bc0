/* Tracing: counts what the streams of a protocol do, and draws it as a diagram.
**
** A trace wraps the protocol, in tables of its own, and those who are to be counted are given the
** wrapped one. All others run the protocol's own table as ever, so that nothing is paid for tracing
** where it is not used.
**
** A trace belongs to one thread: that of the loop, or loops, its streams are in. */
#ifndef ROTOR_STREAM_TRACE_H
#define ROTOR_STREAM_TRACE_H

#include "stream.h"

typedef struct rotor_trace rotor_trace;

/* Make a trace of `protocol`, which must stay in place as long as the trace does, its states, too.
** 0; UV_ENOMEM; UV_EINVAL when it has no create, a size below a stream's, or is a state. */
int rotor_trace_new(rotor_trace **trace, const rotor_protocol *protocol);

/* Have `state` drawn also if no stream gets there, and in this order. States that streams do get to
** need not be added. 0; UV_ENOMEM; UV_EINVAL when it is no state of the trace's protocol. */
int rotor_trace_add(rotor_trace *trace, const rotor_protocol *state);

/* What to listen or connect with in place of the protocol. It behaves the same, and its transitions
** see the protocol's own tables in `s->protocol`; outside of them that is a table of the trace's. */
const rotor_protocol *rotor_trace_protocol(const rotor_trace *trace);

/* Append the diagram to `dot`, in the language of Graphviz, which `dot -Tsvg` makes a picture of: the
** states, nested as they are, with how often each of their transitions ran; an arrow for each move
** between two, and for each way to end, with the transitions that led there and how often; and how
** many streams are where at present. The same counts make the same text. A connection that was
** cancelled before it was made is not seen. 0, or UV_ENOMEM with `dot` as it was.
**
** Counting goes on when memory is short. What could not be counted then is given as a sum. */
int rotor_trace_diagram(const rotor_trace *trace, rotor_buf *dot);

/* Free the trace, once nothing more can begin with its protocol: its listeners have ended, and
** connections were made or have failed. If streams of it live on, it stays until the last of them
** has ended. NULL is fine. */
void rotor_trace_free(rotor_trace *trace);

#endif
