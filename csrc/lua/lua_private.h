/* What the files of the Lua module share.
**
** Transitions written in Lua run on a thread (a coroutine) of their own, `vm->D`, never on the thread
** that called rotor.run(): its stack holds the message handler at index 1 and is otherwise empty
** between calls. Every userdata begins with a tag that says what it is, which is cheaper to check
** than a metatable. */
#ifndef ROTOR_LUA_PRIVATE_H
#define ROTOR_LUA_PRIVATE_H

#include <lauxlib.h>
#include <lua.h>

#include "../rotor.h"

typedef struct rotor__vm rotor__vm;

/* A loop as Lua knows it. Allocated until the Lua state closes, so that objects may keep pointing to
** it; `loop` is NULL once it is closed. */
typedef struct rotor__lua_loop {
    rotor__vm *vm;
    rotor_loop *loop;
    rotor_scope *scope; /* of the transition that runs now */
    int on_error;       /* reference to a function, or LUA_NOREF */
    int context;        /* reference to any value, or LUA_NOREF */
    int scope_object;   /* reference to the one userdata that scopes appear as */
    struct rotor__lua_loop *next;
} rotor__lua_loop;

struct rotor__vm {
    lua_State *D;
    rotor__lua_loop *loops;
    rotor__lua_loop *usual; /* the default loop, made when first needed */
};

/* -- userdata (core.c) ------------------------------------------------------------------------- */

/* A kind of userdata; its address is the tag. */
typedef struct rotor__kind {
    const char *name; /* as in "rotor.stream", also the metatable's registry key */
} rotor__kind;

/* Begins every userdata. */
typedef struct rotor__object {
    const rotor__kind *kind;
} rotor__object;

/* [-0, +1, m] A userdata of `size` bytes, all zero but the kind, with its metatable. */
void *rotor__lua_new(lua_State *L, const rotor__kind *kind, size_t size, int uservalues);

/* [-0, +0, -] The userdata at `index` if it is of `kind`, else NULL. */
void *rotor__lua_test(lua_State *L, int index, const rotor__kind *kind);

/* [-0, +0, v] The same, or an argument error. */
void *rotor__lua_check(lua_State *L, int index, const rotor__kind *kind);

/* [-0, +0, m] Make the metatable of `kind`: `methods` behind __index (unless `meta` has one of its
** own), and `meta` in the metatable itself; either may be NULL. */
void rotor__lua_kind(lua_State *L, const rotor__kind *kind, const luaL_Reg *methods,
                     const luaL_Reg *meta);

/* -- results and arguments (core.c) ------------------------------------------------------------ */

/* [-0, +3, m] nil, "NAME: message", "NAME". Returns 3. */
int rotor__lua_fail(lua_State *L, int error);

/* [-0, +1 or 3, m] true, or the failure if `error` < 0. */
int rotor__lua_result(lua_State *L, int error);

/* [-0, +0, v] Seconds at `index` as ms, rounded up; ROTOR_NEVER for none, nil or infinity. */
uint64_t rotor__lua_check_ms(lua_State *L, int index);

/* [-0, +0, v] As above, as a deadline of that loop. */
uint64_t rotor__lua_check_deadline(lua_State *L, int index, const rotor_loop *loop);

/* [-0, +0, v] The integer field `name` of the options table at `index` (or none), within [least, most]
** and 0 when absent; the same in seconds, as ms; the same as a boolean. */
lua_Integer rotor__lua_option(lua_State *L, int index, const char *name, lua_Integer least,
                              lua_Integer most);
uint32_t rotor__lua_option_ms(lua_State *L, int index, const char *name);
bool rotor__lua_option_bool(lua_State *L, int index, const char *name);

/* [-0, +0, v] Refuse options that are not in the NULL-terminated list. Absent or nil is fine. */
void rotor__lua_check_options(lua_State *L, int index, const char *const *names);

/* -- calling Lua (core.c) ---------------------------------------------------------------------- */

/* [-(n+1), +0, -] On vm->D: call the function below its `n` arguments. Whatever it throws is reported
** with a traceback as coming from `name` and `transition`. 0 or ROTOR_ELUA. */
int rotor__lua_protect(rotor__lua_loop *ll, int n, const char *name, const char *transition);

/* [-0, +0, -] The same for the C function `fn`, with `data` as a light userdata at its index 1. What may
** throw, out of memory included, belongs in there. */
static inline int rotor__lua_run(rotor__lua_loop *ll, lua_CFunction fn, void *data,
                                 const char *name, const char *transition)
{
    lua_pushcfunction(ll->vm->D, fn);
    lua_pushlightuserdata(ll->vm->D, data);
    return rotor__lua_protect(ll, 1, name, transition);
}

/* [-1, +0, -] On vm->D: hand the value on top to the loop's on_error, or print it. */
void rotor__lua_report(rotor__lua_loop *ll, const char *name, const char *transition);

/* -- loops (loop.c) ---------------------------------------------------------------------------- */

extern const rotor__kind rotor__kind_loop, rotor__kind_handle;

/* A userdata of these kinds points to its loop right behind the object. */
rotor__lua_loop *rotor__lua_check_loop(lua_State *L, int index);

/* [-0, +0, e] Where the arguments begin (2 in a method of a loop, 1 in a function of the module, which
** is about the default loop), with *ll set to the loop that is meant. */
int rotor__lua_args(lua_State *L, rotor__lua_loop **ll);

/* The options that listening takes, from the table at `index` (or none). */
void rotor__lua_listen_options(lua_State *L, int index, rotor_listen_options *options);

/* [-0, +1 or 3, m] The handle, or the failure with the address in its message. */
int rotor__lua_opened(lua_State *L, rotor__lua_loop *ll, const char *address, int error,
                      rotor_handle handle);

void rotor__lua_push_handle(lua_State *L, rotor__lua_loop *ll, rotor_handle handle);
void rotor__lua_push_loop(lua_State *L, rotor__lua_loop *ll);
void rotor__lua_free_loop(rotor__lua_loop *ll);
rotor_handle rotor__lua_to_handle(lua_State *L, int index);

/* -- types and protocols (class.c, machine.c, protocol.c) -------------------------------------- */

extern const rotor__kind rotor__kind_type, rotor__kind_scope, rotor__kind_protocol,
    rotor__kind_stream;

enum { ROTOR__LUA_TRANSITIONS = 8 };

/* A machine type or protocol declared in Lua. */
typedef struct rotor__lua_class {
    rotor__object object;
    rotor__vm *vm;
    const char *const *names;               /* of its transitions, NULL-terminated */
    int transitions[ROTOR__LUA_TRANSITIONS]; /* references, LUA_NOREF where there is none */
    int metatable;                          /* of `self`: __index is the table of the declaration */
    union {
        rotor_type type;
        rotor_protocol protocol;
    };
} rotor__lua_class;

/* [-0, +1, e] The class declared by the name at index 1 and the table at index 2. */
rotor__lua_class *rotor__lua_new_class(lua_State *L, const rotor__kind *kind,
                                       const char *const *names);
int rotor__lua_class_gc(lua_State *L);
const char *rotor__lua_class_name(const rotor__lua_class *class);

/* [-0, +1, m] A new `self` for a machine of the class. */
void rotor__lua_push_self(lua_State *L, const rotor__lua_class *class);

static inline bool rotor__lua_has(const rotor__lua_class *class, int which)
{
    return class->transitions[which] != LUA_NOREF;
}

static inline void rotor__lua_push_transition(lua_State *L, const rotor__lua_class *class, int which)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, class->transitions[which]);
}

/* What a transition must return: the value that scope and stream methods answer with, whose meaning
** they have noted. */
void rotor__lua_push_verdict(lua_State *L);
bool rotor__lua_is_verdict(lua_State *L, int index);

/* What a Lua machine is created from. References are the machine's once it is created. */
typedef struct rotor__lua_seed {
    rotor__lua_loop *ll;
    rotor__lua_class *class;
    int ref;       /* to the seed's value */
    int class_ref; /* keeps the class */
    int box_ref;   /* keeps the userdata that this struct is in, or LUA_NOREF */
} rotor__lua_seed;

/* [-2, +1 or 3, e] Add a machine of the type at index 1 with the seed at index 2. */
int rotor__lua_add(lua_State *L, rotor__lua_loop *ll);

/* [-0, +1 or 0, -] On D: why a machine of a Lua type has ended with an error, if that is still to be
** reported; false if not. */
bool rotor__lua_push_reason(rotor__lua_loop *ll, const rotor_machine *m);

/* [-0, +1, e] A notifier for that machine. */
void rotor__lua_push_notifier(lua_State *L, rotor__lua_loop *ll, rotor_handle machine);

/* -- functions of loops that live in other files ------------------------------------------------ */

int rotor__lua_future(lua_State *L);
int rotor__lua_all(lua_State *L);
int rotor__lua_first(lua_State *L);
int rotor__lua_serve(lua_State *L);

/* -- opening ----------------------------------------------------------------------------------- */

/* Each adds its functions to the module's table on top of the stack. */
void rotor__lua_open_loop(lua_State *L);
void rotor__lua_open_machine(lua_State *L);
void rotor__lua_open_protocol(lua_State *L);
void rotor__lua_open_stream(lua_State *L);
void rotor__lua_open_future(lua_State *L);
void rotor__lua_open_http(lua_State *L);

rotor__vm *rotor__lua_vm(lua_State *L);

#endif
