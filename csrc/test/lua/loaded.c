/* A module that exports a type or protocol of each sort. Required by Lua, it tells how many seeds it has
** made and released, and what it was told. */
#include <lauxlib.h>
#include <string.h>

#include "../../core/alloc.h"
#include "../../rotor_lua.h"

/* -- seeds ------------------------------------------------------------------------------------- */

typedef struct seed {
    char text[32];
    uint32_t after_ms;
    int value, error, fail, children;
} seed;

static int made, released;
static char heard[64]; /* by `fatal` */

static int field(lua_State *L, int index, const char *name)
{
    lua_getfield(L, index, name);
    int value = (int)luaL_optinteger(L, -1, 0);
    lua_pop(L, 1);
    return value;
}

/* From an integer, which is returned (a positive one is a mistake); from a string; or from a table of the fields. */
static int from_lua(lua_State *L, int index, void **result)
{
    seed s = {0};
    if (lua_isinteger(L, index))
        return (int)lua_tointeger(L, index);
    if (lua_isstring(L, index)) {
        strncpy(s.text, lua_tostring(L, index), sizeof s.text - 1);
    } else {
        luaL_checktype(L, index, LUA_TTABLE);
        s.after_ms = (uint32_t)field(L, index, "after_ms");
        s.value = field(L, index, "value");
        s.error = field(L, index, "error");
        s.fail = field(L, index, "fail");
        s.children = field(L, index, "children");
    }
    lua_pushliteral(L, "left on the stack");
    seed *copy = rotor_alloc(sizeof *copy); /* when nothing can be thrown any more */
    if (!copy)
        return UV_ENOMEM;
    *copy = s;
    *result = copy;
    made++;
    return 0;
}

static void release(void *s)
{
    rotor_free(s);
    released++;
}

/* -- machines ---------------------------------------------------------------------------------- */

/* A table that has more to it than rotor knows. */
typedef struct delay_type {
    rotor_type type;
    int factor;
} delay_type;

typedef struct delay {
    rotor_machine machine;
    seed seed;
    int result;
} delay;

static rotor_response delay_create(rotor_machine *m, rotor_scope *scope, void *data)
{
    delay *t = (delay *)m;
    t->seed = *(seed *)data;
    t->result = t->seed.value * ((const delay_type *)m->type)->factor;
    if (t->seed.fail)
        return rotor_error(t->seed.fail);
    return rotor_ok_until(rotor_now(scope) + t->seed.after_ms);
}

static rotor_response delay_timeout(rotor_machine *m, rotor_scope *scope)
{
    const delay *t = (const delay *)m;
    return t->seed.error ? rotor_error(t->seed.error) : rotor_done();
}

static void delay_to_lua(lua_State *L, const rotor_machine *m)
{
    lua_pushinteger(L, ((const delay *)m)->result);
    lua_pushliteral(L, "one too many");
}

static const delay_type doubling = {.type = {.name = "delay",
                                             .size = sizeof(delay),
                                             .create = delay_create,
                                             .timeout = delay_timeout},
                                    .factor = 2};

/* Owns children, which it makes of seeds of its own. */
typedef struct owner {
    rotor_machine machine;
    seed child;
    int left, sum;
} owner;

static rotor_response owner_create(rotor_machine *m, rotor_scope *scope, void *data)
{
    owner *o = (owner *)m;
    o->left = ((const seed *)data)->children;
    o->child = *(const seed *)data;
    return rotor_spawn(scope, &doubling.type, &o->child);
}

static rotor_response owner_child_done(rotor_machine *m, rotor_scope *scope, rotor_machine *child,
                                       int status)
{
    owner *o = (owner *)m;
    o->sum += ((delay *)child)->result;
    if (status)
        return rotor_error(status);
    return --o->left > 0 ? rotor_spawn(scope, &doubling.type, &o->child) : rotor_done();
}

static void owner_to_lua(lua_State *L, const rotor_machine *m)
{
    lua_pushinteger(L, ((const owner *)m)->sum);
}

static const rotor_type owner_type = {
    .name = "owner", .size = sizeof(owner), .create = owner_create, .child_done = owner_child_done};

/* As large as its seed asks for. */
typedef struct row {
    rotor_machine machine;
    int n;
    int cells[];
} row;

static size_t row_size(const void *data)
{
    int n = data ? ((const seed *)data)->value : 0;
    return n < 0 ? 0 : sizeof(row) + (size_t)n * sizeof(int);
}

static rotor_response row_create(rotor_machine *m, rotor_scope *scope, void *data)
{
    row *r = (row *)m;
    r->n = data ? ((const seed *)data)->value : 0;
    for (int i = 0; i < r->n; i++)
        r->cells[i] = i;
    return rotor_ok_until(rotor_now(scope));
}

static rotor_response row_timeout(rotor_machine *m, rotor_scope *scope)
{
    return rotor_done();
}

static const rotor_type row_type = {
    .name = "row", .size_of = row_size, .create = row_create, .timeout = row_timeout};

/* -- a protocol -------------------------------------------------------------------------------- */

/* Greets with its seed, and answers lines with a mark, until "quit"; in two states, the second after
** "again". */
typedef struct marking {
    rotor_protocol protocol;
    char mark[4];
} marking;

static const marking marks;
static const rotor_protocol again;

static const marking *marking_of(const rotor_stream *s)
{
    return (const marking *)(const void *)rotor_protocol_of(s->protocol);
}

static rotor_intent mark_create(rotor_stream *s, rotor_scope *scope, void *data)
{
    const seed *given = data;
    if (given->fail)
        return rotor_intent_error(given->fail);
    (void)rotor_stream_write(s, given->text, strlen(given->text));
    return rotor_expect_delimiter("\n", 1, 100);
}

static rotor_intent mark_bytes_read(rotor_stream *s, rotor_scope *scope, size_t n)
{
    rotor_buf *input = rotor_stream_input(s);
    const marking *own = marking_of(s);
    if (n == 5 && memcmp(rotor_buf_data(input), "again", n) == 0)
        (void)rotor_become(s, &again);
    if (n == 4 && memcmp(rotor_buf_data(input), "fail", n) == 0)
        return rotor_intent_error(UV_EPROTO);
    if (n == 4 && memcmp(rotor_buf_data(input), "quit", n) == 0)
        return rotor_intent_done();
    (void)rotor_stream_write(s, rotor_buf_data(input), n);
    (void)rotor_stream_write(s, own->mark, strlen(own->mark));
    rotor_buf_consume(input, n + 1);
    return rotor_expect_delimiter("\n", 1, 100);
}

static rotor_intent again_bytes_read(rotor_stream *s, rotor_scope *scope, size_t n)
{
    (void)rotor_stream_write(s, "again: ", 7);
    return mark_bytes_read(s, scope, n);
}

static void mark_fatal(rotor_stream *s, rotor_scope *scope, int error)
{
    const seed *left = rotor_stream_seed_left(s);
    snprintf(heard, sizeof heard, "%s %s", rotor_err_name(error), left ? left->text : "");
}

static const marking marks = {.protocol = {.name = "marks",
                                           .size = sizeof(rotor_stream),
                                           .create = mark_create,
                                           .bytes_read = mark_bytes_read,
                                           .fatal = mark_fatal},
                              .mark = "!\n"};
static const rotor_protocol again = {
    .name = "again", .parent = &marks.protocol, .bytes_read = again_bytes_read};

/* -- a datagram protocol ----------------------------------------------------------------------- */

/* Sends datagrams back with its seed before them. */
typedef struct prefixing {
    rotor_datagram datagram;
    seed seed;
} prefixing;

static rotor_response prefix_create(rotor_datagram *d, rotor_scope *scope, void *data)
{
    prefixing *p = (prefixing *)d;
    p->seed = *(const seed *)data;
    return p->seed.fail ? rotor_error(p->seed.fail) : rotor_ok();
}

static rotor_response prefix_datagram(rotor_datagram *d, rotor_scope *scope, void *data, size_t n,
                                      const rotor_datagram_info *info)
{
    char text[64];
    int len = snprintf(text, sizeof text, "%s%.*s", ((const prefixing *)d)->seed.text, (int)n,
                       (const char *)data);
    return rotor_datagram_send(d, text, (size_t)len, &info->from) ? rotor_error(UV_EPROTO)
                                                                  : rotor_same();
}

static const rotor_datagram_protocol prefix = {.name = "prefix",
                                               .size = sizeof(prefixing),
                                               .create = prefix_create,
                                               .datagram = prefix_datagram};

/* -- one that is as simple as can be ----------------------------------------------------------- */

static rotor_intent bye_create(rotor_stream *s, rotor_scope *scope, void *data)
{
    (void)rotor_stream_write(s, "bye\n", 4);
    return data ? rotor_intent_error(UV_EINVAL) : rotor_intent_done();
}

static const rotor_protocol bye = {
    .name = "bye", .size = sizeof(rotor_stream), .create = bye_create};

/* Its seed is NULL, which is released like any other. */
static int from_nothing(lua_State *L, int index, void **result)
{
    made++;
    return 0;
}

ROTOR_EXPORTS(
    {.name = "Delay",
     .type = &doubling.type,
     .from_lua = from_lua,
     .release = release,
     .to_lua = delay_to_lua},
    {.name = "Owner",
     .type = &owner_type,
     .from_lua = from_lua,
     .release = release,
     .to_lua = owner_to_lua},
    {.name = "Row", .type = &row_type, .from_lua = from_lua, .release = release},
    {.name = "Plain", .type = &row_type, .release = release},
    {.name = "Marks", .protocol = &marks.protocol, .from_lua = from_lua, .release = release},
    {.name = "Prefix", .datagram = &prefix, .from_lua = from_lua, .release = release},
    {.name = "Bye", .protocol = &bye},
    {.name = "Nothing", .protocol = &bye, .from_lua = from_nothing, .release = release});

/* [-0, +3, m] seeds made, seeds released, what `fatal` was told */
static int l_counts(lua_State *L)
{
    lua_pushinteger(L, made);
    lua_pushinteger(L, released);
    lua_pushstring(L, heard);
    return 3;
}

int luaopen_loaded(lua_State *L);
int luaopen_loaded(lua_State *L)
{
    lua_pushcfunction(L, l_counts);
    return 1;
}
