/* Usage: rotor.load("build/examples/swap_lines.so").Lines, as in swap.lua
** The store of swap.lua once more, in C. Its seed is a table, too, of which it keeps a copy. */
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <rotor_lua.h>

enum { LONGEST_LINE = 4096, BUCKETS = 1024 };

typedef struct entry {
    struct entry *next;
    size_t key_len, len;
    char bytes[]; /* the key, and the value behind it */
} entry;

/* Of a listener and its connections; the last of them, which may be any, frees it. */
typedef struct store {
    size_t users;
    entry *buckets[BUCKETS];
} store;

typedef struct lines {
    rotor_stream stream;
    store *store;
} lines;

static entry **find(store *st, const char *key, size_t len)
{
    uint32_t hash = 2166136261;
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)key[i]) * 16777619;
    entry **at = &st->buckets[hash % BUCKETS];
    while (*at && ((*at)->key_len != len || memcmp((*at)->bytes, key, len) != 0))
        at = &(*at)->next;
    return at;
}

static int set(store *st, const char *key, size_t key_len, const char *value, size_t len)
{
    entry **at = find(st, key, key_len), *old = *at;
    entry *e = malloc(sizeof *e + key_len + len);
    if (!e)
        return UV_ENOMEM;
    *e = (entry){.next = old ? old->next : NULL, .key_len = key_len, .len = len};
    memcpy(e->bytes, key, key_len);
    memcpy(e->bytes + key_len, value, len);
    *at = e;
    free(old);
    return 0;
}

static void leave(void *seed)
{
    store *st = seed;
    if (--st->users > 0)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        for (entry *e = st->buckets[i], *next; e; e = next) {
            next = e->next;
            free(e);
        }
    free(st);
}

static int from_lua(lua_State *L, int index, void **seed)
{
    luaL_checktype(L, index, LUA_TTABLE);
    store *st = *seed = calloc(1, sizeof *st); /* from here on nothing throws */
    int error = st ? 0 : UV_ENOMEM;
    if (st)
        st->users = 1;
    for (lua_pushnil(L); !error && lua_next(L, index); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
            error = UV_EINVAL;
        else
            error = set(st, lua_tostring(L, -2), lua_rawlen(L, -2), lua_tostring(L, -1),
                        lua_rawlen(L, -1));
    }
    if (error && st)
        leave(st);
    return error;
}

static rotor_intent create(rotor_stream *s, rotor_scope *scope, void *seed)
{
    store *st = ((lines *)s)->store = seed;
    st->users++;
    return rotor_expect_delimiter("\n", 1, LONGEST_LINE);
}

static int answer(rotor_stream *s, store *st, const char *line, size_t n)
{
    const char *key = line + 4, *end = line + n;
    const char *space = n > 4 ? memchr(key, ' ', n - 4) : NULL;
    size_t key_len = n > 4 ? (size_t)((space ? space : end) - key) : 0;
    const char *value = space ? space + 1 : end;
    if (key_len > 0 && memcmp(line, "GET ", 4) == 0) {
        const entry *e = *find(st, key, key_len);
        int error = e ? rotor_stream_write(s, e->bytes + key_len, e->len) : 0;
        return error ? error : rotor_stream_write(s, "\n", 1);
    } else if (key_len > 0 && memcmp(line, "SET ", 4) == 0) {
        int error = set(st, key, key_len, value, (size_t)(end - value));
        return error ? error : rotor_stream_write(s, "OK\n", 3);
    }
    return rotor_stream_write(s, "WHAT?\n", 6);
}

static rotor_intent bytes_read(rotor_stream *s, rotor_scope *scope, size_t n)
{
    rotor_buf *input = rotor_stream_input(s);
    int error = answer(s, ((lines *)s)->store, rotor_buf_data(input), n);
    if (error)
        return rotor_intent_error(error);
    rotor_buf_consume(input, n + 1);
    return rotor_expect_delimiter("\n", 1, LONGEST_LINE);
}

static void drop(rotor_stream *s)
{
    leave(((lines *)s)->store);
}

static const rotor_protocol protocol = {"Lines", sizeof(lines), .create = create,
                                        .bytes_read = bytes_read, .drop = drop};

ROTOR_EXPORTS({.name = "Lines", .protocol = &protocol, .from_lua = from_lua, .release = leave});
