/* Modules in C for programs in Lua: rotor.load("./hello.so") gives them the machine types and protocols
** that a shared object exports, to be used like those declared in Lua.
**
** This is a whole one, hello.c:
**
**     #include <lauxlib.h>
**     #include <rotor_lua.h>
**     #include <stdlib.h>
**     #include <string.h>
**
**     static rotor_intent create(rotor_stream *s, rotor_scope *scope, void *seed)
**     {
**         rotor_stream_write(s, seed, strlen(seed));
**         return rotor_expect_delimiter("\n", 1, 4096);
**     }
**
**     static rotor_intent bytes_read(rotor_stream *s, rotor_scope *scope, size_t n)
**     {
**         rotor_buf *input = rotor_stream_input(s);
**         int error = rotor_stream_write(s, rotor_buf_data(input), n + 1);
**         rotor_buf_consume(input, n + 1);
**         return error ? rotor_intent_error(error) : rotor_expect_delimiter("\n", 1, 4096);
**     }
**
**     static const rotor_protocol hello = {.name = "hello", .size = sizeof(rotor_stream),
**                                          .create = create, .bytes_read = bytes_read};
**
**     static int from_lua(lua_State *L, int index, void **seed)
**     {
**         *seed = strdup(luaL_checkstring(L, index));
**         return *seed ? 0 : UV_ENOMEM;
**     }
**
**     ROTOR_EXPORTS({.name = "Hello", .protocol = &hello, .from_lua = from_lua, .release = free});
**
** It is made by `cc -shared -fPIC hello.c -o hello.so $(pkg-config --cflags rotor lua5.4)`. It is linked
** neither with librotor nor with Lua: rotor's functions are those of the Lua module that loads it. And
** this is how it is used:
**
**     local Hello = assert(rotor.load("./hello.so")).Hello
**     rotor.listen("127.0.0.1:3000", Hello, { seed = "Good evening.\n" })
**
** The loops are Lua's, and so is their context: rotor_loop_context() and rotor_context() are not for
** modules, and no loop is to be run, freed or given an on_signal by them. In the transitions and in
** `release` there is no Lua. */
#ifndef ROTOR_LUA_H
#define ROTOR_LUA_H

#include "rotor.h"

struct lua_State;

/* What is loaded under one name: a machine type, a protocol, or one of datagrams. It stays in place
** until the process ends, as a module is never unloaded. */
typedef struct rotor_export {
    const char *name; /* NULL ends the list */

    /* One of the three. Their transitions find it in `m->type`, `s->protocol` or `d->protocol`. */
    const rotor_type *type;
    const rotor_protocol *protocol;
    const rotor_datagram_protocol *datagram;

    /* Make a seed for `create` of what is at `index` (nil when no seed is given). Called once for each
    ** use by listen, connect, persist, udp, add and spawn. The seed of a listener or of persist is for
    ** all its connections. Returns 0; or a negative code, which becomes nil, a message and the code's
    ** name (of scope:spawn: spawn_error). May throw, as nearly all of Lua's functions do: what is
    ** allocated before would be lost. The stack is restored. NULL: the seed is NULL, and to give one
    ** is an error. */
    int (*from_lua)(struct lua_State *L, int index, void **seed);

    /* Called once for each seed that from_lua has made, also a NULL one: when the last `create` that is
    ** given it has returned, or none will be. Connections may live longer than their listener's
    ** seed. NULL: nothing is to be done. */
    void (*release)(void *seed);

    /* Push one value: what the parent's child_done gets when the machine `m` is done, without an error.
    ** May throw. NULL: that is nil. For a type only. */
    void (*to_lua)(struct lua_State *L, const rotor_machine *m);
} rotor_export;

/* private: the symbol that is looked for. The first two fields tell whether the rest can be read. */
typedef struct rotor__module {
    const char *version;
    size_t sizes[8];
    const rotor_export *exports;
} rotor__module;

/* private: what the inline functions of the headers, or the machines, rely on. */
#define ROTOR__SIZES                                                                               \
    {                                                                                              \
        sizeof(rotor_stream), sizeof(rotor_machine), sizeof(rotor_protocol), sizeof(rotor_type),   \
            sizeof(rotor_io), sizeof(rotor_block), sizeof(rotor_datagram), sizeof(rotor_export)    \
    }

/* Export these, each a rotor_export in braces; once, in one of the module's files. A module works with
** the version of rotor only whose headers it was made with. */
#define ROTOR_EXPORTS(...)                                                                         \
    static const rotor_export rotor__exports[] = {__VA_ARGS__, {.name = NULL}};                    \
    extern const rotor__module rotor_exports;                                                      \
    __attribute__((visibility("default")))                                                         \
    const rotor__module rotor_exports = {ROTOR_VERSION, ROTOR__SIZES, rotor__exports}

#endif
