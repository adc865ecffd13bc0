/* rotor_io over uv_poll_t. */
#include "private.h"

_Static_assert((int)ROTOR_READABLE == (int)UV_READABLE && (int)ROTOR_WRITABLE == (int)UV_WRITABLE &&
                   (int)ROTOR_HANGUP == (int)UV_DISCONNECT,
               "events are passed through");

int rotor_io_open(rotor_io *io, rotor_machine *m, int fd)
{
    int error = io->open ? UV_EBUSY : uv_poll_init(m->loop->uv, &io->poll, fd);
    if (error)
        return error;
    io->poll.data = m;
    io->fd = fd;
    io->interest = 0;
    io->open = 1;
    io->next = m->ios;
    m->ios = io;
    m->loop->handles++;
    return 0;
}

int rotor_io_new(rotor_io **io, size_t size, rotor_machine *m, int fd)
{
    *io = rotor_alloc_zero(size);
    if (!*io)
        return UV_ENOMEM;
    int error = rotor_io_open(*io, m, fd);
    (*io)->heap = 1;
    if (error) {
        rotor_free(*io);
        *io = NULL;
    }
    return error;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    rotor_io *io = (rotor_io *)poll;
    rotor_machine *m = poll->data;
    rotor_loop *loop = m->loop;
    if (status < 0) {
        /* libuv has stopped polling; recv and send will tell the machine what it is. */
        events = io->interest;
        io->interest = 0;
    }
    rotor__loop_enter(loop);
    rotor__machine_ready(m, io, (unsigned)events);
    rotor__loop_leave(loop);
}

int rotor_io_want(rotor_io *io, unsigned events)
{
    if (io->interest == events || io->open != 1)
        return 0;
    int error = events ? uv_poll_start(&io->poll, (int)events, on_poll) : uv_poll_stop(&io->poll);
    if (!error)
        io->interest = (uint16_t)events;
    return error;
}

static void on_closed(uv_handle_t *handle)
{
    rotor_io *io = (rotor_io *)handle;
    rotor_machine *m = handle->data;
    rotor_io **link = &m->ios;
    while (*link != io)
        link = &(*link)->next;
    *link = io->next;
    io->open = 0;
    if (io->heap)
        rotor_free(io);
    rotor__machine_io_closed(m);
}

void rotor_io_close(rotor_io *io)
{
    if (io->open != 1)
        return;
    io->open = 2;
    io->interest = 0;
    uv_close((uv_handle_t *)&io->poll, on_closed);
}
