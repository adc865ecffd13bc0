/* Passing a connection on: the stream ends, and another one has its place in the loop, with what it had
** received and not sent. Structs differ in size, so that is another struct, and as a uv_poll_t cannot
** move, the descriptor is watched anew. */
#include "../core/private.h"
#include "private.h"

/* The descriptor, if that is what the transport watches, can be watched by one of them only. */
static int watch_anew(rotor_stream *s, rotor_stream *to)
{
    to->io.fd = s->io.fd;
    if (!s->io.open)
        return 0;
    rotor_io_close(&s->io);
    return rotor_io_open(&to->io, &to->machine, to->io.fd);
}

static int make_heir(rotor_stream *s, rotor_stream **heir)
{
    const rotor_protocol *protocol = s->intent.next.protocol;
    *heir = NULL;
    if (!rotor__protocol_is_valid(protocol))
        return UV_EINVAL;
    int error = rotor__stream_return_blocks(s);
    rotor_stream *to = error ? NULL : (rotor_stream *)rotor__heir_new(&s->machine, protocol->size);
    if (!to)
        return UV_ENOMEM;
    error = watch_anew(s, to);
    if (error)
        rotor__heir_free(&to->machine);
    else
        *heir = to;
    return error;
}

rotor_response rotor__stream_pass(rotor_stream *s, rotor_scope *scope)
{
    rotor_stream *to;
    int error = make_heir(s, &to);
    if (error) {
        rotor_response r = rotor__stream_finish(s, rotor_error(error));
        if (s->intent.next.release)
            s->intent.next.release(s->intent.next.seed);
        return r;
    }
    to->protocol = s->intent.next.protocol;
    to->transport = s->transport;
    to->input = s->input;
    to->output = s->output;
    to->stalled_ms = s->stalled_ms;
    to->flags = ROTOR__HANDSHAKE | ROTOR__PASSED | (s->flags & ROTOR__LASTING);
    to->opening.seed = s->intent.next.seed;
    to->opening.release = s->intent.next.release;
    to->opening.deadline = ROTOR_NEVER;
    s->transport = &rotor__nowhere;
    s->input = s->output = (rotor_buf)ROTOR_BUF_INIT;
    if (to->transport->passed)
        to->transport->passed(to);
    return rotor__stream_finish(s, rotor__succeed(scope, &to->machine));
}
