/* Connections of tasks: what the files about them share.
**
** A connection is two things with lives of their own: the object that Lua has, and the stream, which may end
** before (the peer has gone) or after (what was written is still being sent). What they share is a cell, which
** each of them keeps. So nothing is lost but time if the object's finalizer does not run, as happens when
** there is no memory to call it. The cell finds the stream by its handle. */
#ifndef ROTOR_LUA_CONN_H
#define ROTOR_LUA_CONN_H

#include "../core/private.h"
#include "lua_task.h"

/* What Lua has. */
typedef struct rotor__proxy {
    rotor__object object;
    void *cell; /* NULL: it could not be made */
} rotor__proxy;

/* Begins what the object and the machine share. */
typedef struct rotor__cell {
    rotor__lua_loop *ll;
    rotor_handle machine;
    int ref;    /* by which the machine keeps this */
    bool begun; /* the machine's `drop` is to come */
} rotor__cell;

/* [-0, +1, m] The object, of a new cell of `size` bytes, zero but for its beginning. Unless the machine begins,
** rotor__cell_let_go() is to be called. */
void *rotor__cell_new(lua_State *L, const rotor__kind *kind, rotor__lua_loop *ll, size_t size);

/* The machine keeps it no longer. Idempotent. */
void rotor__cell_let_go(void *cell);

/* The same if it has not begun; `release` of a seed that is the cell. */
void rotor__cell_release(void *cell);

/* [-0, +0, v] */
static inline void *rotor__cell_check(lua_State *L, int index, const rotor__kind *kind)
{
    return ((rotor__proxy *)rotor__lua_check(L, index, kind))->cell;
}

/* NULL once it has ended. */
static inline rotor_machine *rotor__cell_machine(const rotor__cell *cell)
{
    return cell->ll->loop ? rotor_find(cell->ll->loop, cell->machine) : NULL;
}

typedef struct rotor__conn rotor__conn;

typedef struct rotor__conn_stream {
    rotor_stream stream;
    rotor__conn *conn;
    bool ending, abort; /* nobody uses it any more */
    bool inside;        /* one of its transitions runs a task */
} rotor__conn_stream;

/* Unsent output with which writing waits, and until how much is left. */
enum { ROTOR__HIGH_WATER = 65536, ROTOR__LOW_WATER = ROTOR__HIGH_WATER / 2 };

enum rotor__read_mode {
    ROTOR__READ_SOME, /* at least one byte, and at most `size` */
    ROTOR__READ_BYTES,
    ROTOR__READ_UNTIL,
    ROTOR__READ_ALL
};

/* What a task waits to read. */
typedef struct rotor__reading {
    uint8_t mode;
    bool lines; /* UNTIL: what comes before the end is one, too */
    uint16_t delimiter_len;
    uint32_t size;         /* exactly, or at most */
    const char *delimiter; /* of a string on the stack of who waits */
} rotor__reading;

struct rotor__conn {
    rotor__cell cell;
    rotor_buf rest; /* what has come before the connection broke, and was not read yet */
    rotor__reading want;
    size_t found;          /* one more than where the delimiter is; 0: not known */
    rotor__waits reading;  /* one at most; also who connects */
    rotor__waits readable; /* those who select */
    rotor__waits writing, flushing;
    int error;   /* with which the connection broke, or could not be made; 0 */
    bool open;   /* it is made */
    bool eof;    /* the peer has closed its direction */
    bool closed; /* by whoever has the object */
};

extern const rotor__kind rotor__kind_conn;
extern const rotor_protocol rotor__conn_protocol; /* its seed is the rotor__conn */

/* [-0, +1, m] The object of one without a stream. */
rotor__conn *rotor__conn_new(lua_State *L, rotor__lua_loop *ll);

static inline rotor__conn *rotor__conn_check(lua_State *L)
{
    return rotor__cell_check(L, 1, &rotor__kind_conn);
}

/* NULL once it has ended. */
static inline rotor__conn_stream *rotor__conn_stream_of(const rotor__conn *c)
{
    return (rotor__conn_stream *)rotor__cell_machine(&c->cell);
}

/* Have the stream ask what is waited for, unless it is about to. */
static inline void rotor__conn_wake(rotor__conn_stream *s)
{
    if (!s->inside)
        (void)rotor_wake(s->stream.machine.loop, s->stream.machine.self);
}

/* All who wait, as it is closed or broken. */
void rotor__conn_tell_all(rotor__conn *c);

/* What the stream is to wait for. */
rotor_intent rotor__conn_next(const rotor__conn_stream *s);

/* [-0, +3, m] nil, "NAME: message (text)", "NAME". Returns 3. */
int rotor__conn_fail_at(lua_State *L, int error, const char *text);

/* [-0, +0, v] The task that runs, if it is of that loop: as rotor__task_here(). */
rotor__task *rotor__conn_any_task(lua_State *L, const rotor__lua_loop *ll);

/* The same, but nearly always by less. */
static inline rotor__task *rotor__conn_task(lua_State *L, const rotor__lua_loop *ll)
{
    rotor__task *t = ll->vm->tasks->running;
    if (t && t->L == L && rotor__task_ll(t) == ll && !rotor__task_why(t) && lua_isyieldable(L))
        return t;
    return rotor__conn_any_task(L, ll);
}

/* [-0, +0, v] As rotor__task_was_completed(), by less. */
static inline bool rotor__conn_was_completed(lua_State *L, const rotor__lua_loop *ll, bool *unwinds)
{
    const rotor__task *t = ll->vm->tasks->running;
    if (t && t->L == L && t->flags & ROTOR__TASK_COMPLETED)
        return true;
    return rotor__task_was_completed(L, unwinds);
}

/* [-0, +0, v] The loop of the task that runs, or the default one. */
rotor__lua_loop *rotor__conn_loop(lua_State *L);

/* For task.select { readable = conn } (task_conn_read.c). */
int rotor__conn_poll_readable(lua_State *L, int index);
rotor__waits *rotor__conn_readable_queue(lua_State *L, int index);

extern const luaL_Reg rotor__conn_read_methods[];

#endif
