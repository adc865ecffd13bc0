/* rotor.buf: bytes that are filled at the back and taken at the front, without a Lua string for each step.
**
** The input of a stream is read by the same functions. Between threads a buf moves, and nothing is copied. */
#include <string.h>

#include "../core/alloc.h"
#include "travel.h"

static const rotor__kind kind_buf = {.name = "rotor.buf"};

typedef struct buf_object {
    rotor__object object;
    rotor_buf buf;
} buf_object;

static rotor_buf *check_buf(lua_State *L)
{
    return &((buf_object *)rotor__lua_check(L, 1, &kind_buf))->buf;
}

/* [-0, +1, m] */
static rotor_buf *push_buf(lua_State *L)
{
    rotor__lua_check_not_closing(L, rotor__lua_vm(L));
    return &((buf_object *)rotor__lua_new(L, &kind_buf, sizeof(buf_object), 0))->buf;
}

enum { MOST_OWED = 65536 };

/* [-0, +0, m] A buf has got that many bytes more, which for the collector are as good as allocated in Lua: it is to
** work as much. Finalizers may run. */
static void owe(lua_State *L, size_t n)
{
    rotor__vm *vm = rotor__lua_vm(L);
    vm->owed += n;
    if (vm->owed < MOST_OWED || !lua_gc(L, LUA_GCISRUNNING))
        return;
    int kilobytes = (int)(vm->owed >> 10);
    vm->owed = 0;
    (void)lua_gc(L, LUA_GCSTEP, kilobytes);
}

const char *rotor__lua_buf_bytes(lua_State *L, int index, size_t *len)
{
    const buf_object *object = rotor__lua_test(L, index, &kind_buf);
    if (!object)
        return NULL;
    *len = rotor_buf_len(&object->buf);
    return *len > 0 ? rotor_buf_data(&object->buf) : "";
}

/* -- what bufs and streams have in common ------------------------------------------------------ */

/* [-0, +0, v] The count at index 2 (absent: all), of what is there. */
static size_t check_count(lua_State *L, const rotor_buf *b)
{
    size_t have = rotor_buf_len(b);
    lua_Integer n = luaL_optinteger(L, 2, (lua_Integer)have);
    if (n < 0 || (size_t)n > have) {
        lua_pushfstring(L, "%I bytes asked for, there are %I", (LUAI_UACINT)n, (LUAI_UACINT)have);
        luaL_argerror(L, 2, lua_tostring(L, -1));
    }
    return (size_t)n;
}

/* What finalizers do meanwhile counts as done before. */
int rotor__lua_buf_take(lua_State *L, rotor_buf *b)
{
    for (;;) {
        size_t n = check_count(L, b), held = rotor_buf_len(b);
        const char *data = rotor_buf_data(b), *taken = lua_pushlstring(L, data, n);
        if (rotor_buf_data(b) == data && rotor_buf_len(b) == held &&
            (n == 0 || memcmp(taken, data, n) == 0)) {
            rotor_buf_consume(b, n);
            return 1;
        }
        lua_pop(L, 1);
    }
}

int rotor__lua_buf_peek(lua_State *L, const rotor_buf *b)
{
    size_t n = check_count(L, b);
    lua_pushlstring(L, rotor_buf_data(b), n);
    return 1;
}

int rotor__lua_buf_consume(lua_State *L, rotor_buf *b)
{
    luaL_checkinteger(L, 2);
    rotor_buf_consume(b, check_count(L, b));
    return 0;
}

int rotor__lua_buf_split(lua_State *L, rotor_buf *b)
{
    (void)check_count(L, b);
    lua_settop(L, 2);
    rotor_buf *head = push_buf(L);
    if (rotor_buf_split(b, check_count(L, b), head))
        return luaL_error(L, "not enough memory");
    owe(L, rotor_buf_len(head));
    return 1;
}

/* -- methods ----------------------------------------------------------------------------------- */

/* [-0, +0, e] Append what is at `first` to `last`: all of it, or nothing. */
static int append(lua_State *L, rotor_buf *b, int first, int last)
{
    size_t len, total = 0;
    for (int i = first; i <= last; i++)
        (void)rotor__lua_check_bytes(L, i, &len);
    for (int i = first; i <= last; i++) { /* numbers are strings now, so nothing changes any more */
        (void)rotor__lua_check_bytes(L, i, &len);
        if (len > ROTOR_BUF_MAX - rotor_buf_len(b) - total)
            return luaL_error(L, "a buf holds at most %I bytes", (LUAI_UACINT)ROTOR_BUF_MAX);
        total += len;
    }
    if (total == 0)
        return 0;
    char *to = rotor_buf_reserve(b, total);
    if (!to)
        return luaL_error(L, "not enough memory");
    for (int i = first; i <= last; i++) {
        const char *data = rotor__lua_check_bytes(L, i, &len); /* of this buf itself, say */
        memcpy(to, data, len);
        to += len;
    }
    rotor_buf_commit(b, total);
    owe(L, total);
    return 0;
}

/* [-0, +0, e] append(...): strings, and what is in other bufs */
static int buf_append(lua_State *L)
{
    return append(L, check_buf(L), 2, lua_gettop(L));
}

/* [-0, +1, e] buf(...) */
static int l_buf(lua_State *L)
{
    int last = lua_gettop(L);
    rotor_buf *b = push_buf(L);
    (void)append(L, b, 1, last);
    return 1;
}

/* [-0, +1, e] find(delimiter[, offset]): how many bytes are before it; nil: it is not there */
static int buf_find(lua_State *L)
{
    rotor_buf *b = check_buf(L);
    size_t len;
    const char *delimiter = luaL_checklstring(L, 2, &len);
    luaL_argcheck(L, len > 0, 2, "at least one byte expected");
    lua_Integer offset = luaL_optinteger(L, 3, 0);
    luaL_argcheck(L, offset >= 0, 3, "an offset from 0 on expected");
    ssize_t at = rotor_buf_find(b, delimiter, len, (size_t)offset);
    if (at < 0)
        lua_pushnil(L);
    else
        lua_pushinteger(L, (lua_Integer)at);
    return 1;
}

static int buf_take(lua_State *L)
{
    return rotor__lua_buf_take(L, check_buf(L));
}

static int buf_peek(lua_State *L)
{
    return rotor__lua_buf_peek(L, check_buf(L));
}

static int buf_consume(lua_State *L)
{
    return rotor__lua_buf_consume(L, check_buf(L));
}

static int buf_split(lua_State *L)
{
    return rotor__lua_buf_split(L, check_buf(L));
}

/* [-0, +1, e] #buf: bytes in it */
static int buf_len(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)rotor_buf_len(check_buf(L)));
    return 1;
}

/* [-0, +1, m] */
static int buf_tostring(lua_State *L)
{
    size_t len = rotor_buf_len(check_buf(L));
    lua_pushfstring(L, "rotor.buf: %I byte%s", (LUAI_UACINT)len, len == 1 ? "" : "s");
    return 1;
}

/* [-0, +0, e] Also when it is closed: it is empty, and holds no memory. */
static int buf_gc(lua_State *L)
{
    rotor_buf_fini(check_buf(L));
    return 0;
}

/* -- travelling -------------------------------------------------------------------------------- */

/* To one other state the block goes as it is: a buf is but a pointer to it. */

static void *take_nothing(lua_State *L, void *object)
{
    return NULL;
}

static void *depart(void *object, void *nothing)
{
    rotor_buf *b = &((buf_object *)object)->buf;
    rotor_block *block = b->block;
    b->block = NULL;
    return block;
}

/* Where it has arrived, or at home again, as it could not be sent. */
static void settle(void *object, void *block)
{
    ((buf_object *)object)->buf.block = block;
}

static void release_block(void *block)
{
    rotor_free(block);
}

static void push_empty(lua_State *L, void *block)
{
    const rotor_buf b = {block};
    (void)push_buf(L);
    owe(L, rotor_buf_len(&b));
}

/* To several, each gets a copy. */

static void copy(lua_State *L, const rotor_buf *from, rotor_buf *to)
{
    if (rotor_buf_extend(to, rotor_buf_data(from), rotor_buf_len(from)))
        luaL_error(L, "not enough memory");
}

static void *take_copy(lua_State *L, void *object)
{
    rotor_buf b = ROTOR_BUF_INIT;
    copy(L, &((buf_object *)object)->buf, &b);
    return b.block;
}

static void push_copy(lua_State *L, void *block)
{
    const rotor_buf b = {block};
    copy(L, &b, push_buf(L));
    owe(L, rotor_buf_len(&b));
}

static const rotor__moving moving = {depart, settle, settle};
static const rotor__passage copying = {
    .kind = &kind_buf, .take = take_copy, .release = release_block, .push = push_copy};
const rotor__passage rotor__passage_buf = {.kind = &kind_buf,
                                           .take = take_nothing,
                                           .release = release_block,
                                           .push = push_empty,
                                           .moving = &moving,
                                           .copying = &copying};

static const luaL_Reg methods[] = {
    {"append", buf_append}, {"find", buf_find},       {"take", buf_take}, {"peek", buf_peek},
    {"split", buf_split},   {"consume", buf_consume}, {NULL, NULL}};
static const luaL_Reg meta[] = {{"__len", buf_len},
                                {"__tostring", buf_tostring},
                                {"__gc", buf_gc},
                                {"__close", buf_gc},
                                {NULL, NULL}};

void rotor__lua_open_buf(lua_State *L)
{
    rotor__lua_kind(L, &kind_buf, methods, meta);
    lua_pushcfunction(L, l_buf);
    lua_setfield(L, -2, "buf");
}
