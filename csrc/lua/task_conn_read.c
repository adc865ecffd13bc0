/* Reading from connections of tasks.
**
** Bytes leave the input when they are handed to who has asked for them, and not before: a read that was
** canceled or has timed out has taken nothing. */
#include "lua_conn.h"

enum { LONGEST_LINE = 65536, MOST = 1 << 24 }; /* unless told otherwise, bytes */

static rotor_buf *input_of(rotor__conn *c)
{
    rotor__conn_stream *s = rotor__conn_stream_of(c);
    return s ? rotor_stream_input(&s->stream) : &c->rest;
}

/* [-0, +1, m] The first `n` bytes of the input, which go with `skip` more. */
static int take(lua_State *L, rotor__conn *c, size_t n, size_t skip)
{
    lua_pushlstring(L, rotor_buf_data(input_of(c)), n);
    rotor_buf *input = input_of(c); /* a finalizer may have closed the connection */
    if (rotor_buf_len(input) >= n + skip)
        rotor_buf_consume(input, n + skip);
    return 1;
}

/* [-0, +1 or 3 or 0, m] Up to a delimiter. 0: it has not come yet. */
static int take_until(lua_State *L, rotor__conn *c, rotor_buf *input, const rotor__reading *want)
{
    size_t have = rotor_buf_len(input), len = want->delimiter_len;
    ssize_t at = (ssize_t)c->found - 1;
    c->found = 0;
    if (at < 0)
        at = rotor_buf_find(input, want->delimiter, len, 0);
    if (at >= 0 && (size_t)at <= want->size)
        return take(L, c, (size_t)at, len);
    if (at >= 0 || (have >= len && have - len >= want->size))
        return rotor__lua_fail(L, ROTOR_ELIMIT);
    return 0;
}

/* [-0, +1 or 3 or 0, m] What is wanted, or why it does not come; -1: it may come yet. */
static int try(lua_State *L, rotor__conn *c, const rotor__reading *want)
{
    rotor__conn_stream *s = rotor__conn_stream_of(c);
    rotor_buf *input = input_of(c);
    size_t have = rotor_buf_len(input);
    int n = 0;
    if (c->closed)
        return rotor__lua_fail(L, ROTOR_ECLOSED);
    switch (want->mode) {
    case ROTOR__READ_SOME:
        if (have > 0)
            return take(L, c, have < want->size ? have : want->size, 0);
        break;
    case ROTOR__READ_BYTES:
        if (have >= want->size)
            return take(L, c, want->size, 0);
        break;
    case ROTOR__READ_UNTIL:
        n = take_until(L, c, input, want);
        break;
    case ROTOR__READ_ALL:
        if (have > want->size)
            return rotor__lua_fail(L, ROTOR_ELIMIT);
        if (c->eof)
            return take(L, c, have, 0);
        break;
    }
    if (n > 0)
        return n;
    if (c->eof && want->lines && have > 0)
        return take(L, c, have, 0);
    if (c->eof)
        return rotor__lua_fail(L, ROTOR_EEOF);
    return s ? -1 : rotor__lua_fail(L, c->error ? c->error : ROTOR_ECLOSED);
}

static int wait(lua_State *L, rotor__task *t, rotor__conn *c, uint64_t deadline);

static int arrived(lua_State *L, int status, lua_KContext deadline)
{
    rotor__conn *c = rotor__conn_check(L);
    bool unwinds;
    if (!rotor__conn_was_completed(L, c->cell.ll, &unwinds)) {
        rotor__conn_stream *s = rotor__conn_stream_of(c);
        if (s && c->want.mode == ROTOR__READ_UNTIL && !s->ending)
            s->stream.intent = rotor__conn_next(s); /* the delimiter does not stay in place */
        return unwinds ? rotor__task_unwind(L) : rotor__lua_fail(L, ROTOR_ETIMEDOUT);
    }
    int n = try(L, c, &c->want);
    return n >= 0 ? n : wait(L, rotor__task_here(L), c, (uint64_t)deadline);
}

static int wait(lua_State *L, rotor__task *t, rotor__conn *c, uint64_t deadline)
{
    rotor__conn_wake(rotor__conn_stream_of(c));
    return rotor__task_wait(L, t, &c->reading, 0, deadline, (lua_KContext)deadline, arrived);
}

/* [-0, +1 or 3, e] */
static int start(lua_State *L, rotor__conn *c, const rotor__reading *want, uint64_t ms)
{
    rotor__task *t = rotor__conn_task(L, c->cell.ll);
    if (rotor__waits_first(&c->reading))
        return luaL_error(L, "another task reads from this connection; one at a time can");
    int n = try(L, c, want);
    if (n >= 0)
        return rotor__task_breathe(L, t, n);
    c->want = *want;
    return wait(L, t, c, rotor__task_deadline(t, ms));
}

static uint32_t check_size(lua_State *L, int index, lua_Integer least, lua_Integer otherwise)
{
    lua_Integer n = luaL_optinteger(L, index, otherwise);
    if (n < least || n > (lua_Integer)ROTOR_BUF_MAX) {
        lua_pushfstring(L, "%I to %I bytes expected, got %I", (LUAI_UACINT)least,
                        (LUAI_UACINT)ROTOR_BUF_MAX, (LUAI_UACINT)n);
        luaL_argerror(L, index, lua_tostring(L, -1));
    }
    return (uint32_t)n;
}

/* [-0, +1 or 3, e] read(n[, seconds]) exactly n bytes */
static int conn_read(lua_State *L)
{
    rotor__conn *c = rotor__conn_check(L);
    luaL_checkinteger(L, 2);
    rotor__reading want = {.mode = ROTOR__READ_BYTES, .size = check_size(L, 2, 0, 0)};
    return start(L, c, &want, rotor__lua_check_ms(L, 3));
}

/* [-0, +1 or 3, e] read_some([max[, seconds]]) what is there, at least one byte */
static int conn_read_some(lua_State *L)
{
    rotor__conn *c = rotor__conn_check(L);
    rotor__reading want = {.mode = ROTOR__READ_SOME,
                           .size = check_size(L, 2, 1, (lua_Integer)ROTOR_BUF_MAX)};
    return start(L, c, &want, rotor__lua_check_ms(L, 3));
}

/* [-0, +1 or 3, e] read_all([max[, seconds]]) until the peer closes */
static int conn_read_all(lua_State *L)
{
    rotor__conn *c = rotor__conn_check(L);
    rotor__reading want = {.mode = ROTOR__READ_ALL, .size = check_size(L, 2, 0, MOST)};
    return start(L, c, &want, rotor__lua_check_ms(L, 3));
}

/* [conn, delimiter, max, seconds] */
static int read_until(lua_State *L, bool lines)
{
    rotor__conn *c = rotor__conn_check(L);
    size_t len;
    rotor__reading want = {.mode = ROTOR__READ_UNTIL, .lines = lines};
    want.delimiter = luaL_checklstring(L, 2, &len);
    luaL_argcheck(L, len > 0 && len <= UINT16_MAX, 2, "1 to 65535 bytes expected");
    want.delimiter_len = (uint16_t)len;
    want.size = check_size(L, 3, 0, LONGEST_LINE);
    return start(L, c, &want, rotor__lua_check_ms(L, 4));
}

/* [-0, +1 or 3, e] read_until(delimiter[, max[, seconds]]) what comes before it */
static int conn_read_until(lua_State *L)
{
    return read_until(L, false);
}

/* -- lines ------------------------------------------------------------------------------------- */

/* [-0, +1 or 3, e] The last line need not end. */
static int next_line(lua_State *L)
{
    lua_settop(L, 0);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushliteral(L, "\n");
    lua_pushvalue(L, lua_upvalueindex(2));
    return read_until(L, true);
}

/* [-0, +1, e] lines([max]) an iterator */
static int conn_lines(lua_State *L)
{
    (void)rotor__conn_check(L);
    uint32_t max = check_size(L, 2, 0, LONGEST_LINE);
    lua_settop(L, 1);
    lua_pushinteger(L, max);
    lua_pushcclosure(L, next_line, 2);
    return 1;
}

/* -- select ------------------------------------------------------------------------------------ */

int rotor__conn_poll_readable(lua_State *L, int index)
{
    const rotor__conn *c = rotor__cell_check(L, index, &rotor__kind_conn);
    (void)rotor__conn_task(L, c->cell.ll);
    rotor__conn_stream *s = rotor__conn_stream_of(c);
    if (s && !c->closed && !c->eof && rotor_buf_len(rotor_stream_input(&s->stream)) == 0)
        return -1;
    lua_pushboolean(L, 1); /* or reading tells */
    return 1;
}

rotor__waits *rotor__conn_readable_queue(lua_State *L, int index)
{
    rotor__conn *c = rotor__cell_check(L, index, &rotor__kind_conn);
    rotor__conn_wake(rotor__conn_stream_of(c));
    return &c->readable;
}

const luaL_Reg rotor__conn_read_methods[] = {
    {"read", conn_read},         {"read_some", conn_read_some}, {"read_until", conn_read_until},
    {"read_all", conn_read_all}, {"lines", conn_lines},         {NULL, NULL}};
