/* Machine types and protocols written in C, loaded from shared objects; see rotor_lua.h. */
#include <dlfcn.h>
#include <string.h>

#include "lua_private.h"

/* -- seeds and results ------------------------------------------------------------------------- */

int rotor__lua_from_lua(lua_State *L, const rotor__lua_class *class, int index, void **made)
{
    int top = lua_gettop(L);
    const rotor_export *e = class->exported;
    *made = NULL;
    if (!e->from_lua && !lua_isnoneornil(L, index))
        luaL_error(L, "%s takes no seed", class->title);
    int error = e->from_lua ? e->from_lua(L, index, made) : 0;
    lua_settop(L, top);
    if (error > 0)
        luaL_error(L, "%s: its from_lua returned %d, which is neither 0 nor an error", class->title,
                   error);
    return error;
}

void rotor__lua_release_made(const rotor__lua_class *class, void *made)
{
    const rotor_export *e = class->exported;
    if (e->from_lua && e->release)
        e->release(made);
}

void rotor__lua_push_done(lua_State *L, const rotor_machine *m)
{
    int top = lua_gettop(L);
    lua_rawgetp(L, LUA_REGISTRYINDEX, m->type);
    const rotor_export *e = lua_touserdata(L, -1);
    lua_pop(L, 1);
    if (e && e->to_lua)
        e->to_lua(L, m);
    lua_settop(L, top + 1);
}

/* -- machines ---------------------------------------------------------------------------------- */

/* A loaded machine begins with a type of ours, which turns the seed into its own. */
static size_t size_of(const void *data)
{
    const rotor__lua_seed *seed = data;
    const rotor_type *type = seed->class->exported->type;
    if (seed->error)
        return sizeof(rotor_machine);
    return type->size_of ? type->size_of(seed->made) : type->size;
}

static rotor_response on_create(rotor_machine *m, rotor_scope *scope, void *data)
{
    rotor__lua_seed *seed = data;
    if (seed->error)
        return rotor_error(seed->error);
    m->type = seed->class->exported->type;
    rotor_response r = m->type->create(m, scope, seed->made);
    if (seed->passed)
        rotor__lua_free_seed(seed);
    else
        rotor__lua_clear_seed(seed);
    return r;
}

/* -- loading ----------------------------------------------------------------------------------- */

/* [-0, +3, m] nil, "NAME: why", "NAME" */
static int fail(lua_State *L, int error, const char *why)
{
    lua_pushnil(L);
    lua_pushfstring(L, "%s: %s", rotor_err_name(error), why);
    lua_pushstring(L, rotor_err_name(error));
    return 3;
}

/* A module is linked without librotor. What it needs of it is in the object that this function is part
** of, which Lua has loaded for itself alone: let it be seen. Where it is the program itself that has
** rotor, nothing is to be done, and if that does not show its functions, loading will say so. */
static void show_functions(void)
{
    Dl_info self;
    if (dladdr((void *)show_functions, &self))
        (void)dlopen(self.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL);
}

/* [-0, +1 or 0, m] Why the module cannot be used here, if so. */
static bool push_other_version(lua_State *L, const rotor__module *module)
{
    static const size_t sizes[] = ROTOR__SIZES;
    if (strcmp(module->version, ROTOR_VERSION) != 0)
        lua_pushfstring(L, "made for rotor %s, and this is rotor %s", module->version,
                        ROTOR_VERSION);
    else if (memcmp(module->sizes, sizes, sizeof sizes) != 0)
        lua_pushfstring(
            L, "made for a rotor %s whose structs are of other sizes than in this rotor %s",
            module->version, ROTOR_VERSION);
    else
        return false;
    return true;
}

/* [-0, +1 or 0, m] What is wrong with an export, if anything. */
static bool push_mistake(lua_State *L, const rotor_export *e)
{
    const rotor_type *t = e->type;
    const rotor_protocol *p = e->protocol;
    const rotor_datagram_protocol *d = e->datagram;
    const char *wrong = NULL;
    if (!t + !p + !d != 2)
        wrong = "it has to have either a type or a protocol or a datagram protocol";
    else if (p && !rotor__protocol_is_valid(p))
        wrong = "a protocol has a create, a size as of a rotor_stream at least, and no parent";
    else if (d && (!d->create || d->size < sizeof(rotor_datagram)))
        wrong = "a datagram protocol has a create, and a size as of a rotor_datagram at least";
    else if (t && (!t->create || (!t->size_of && t->size < sizeof(rotor_machine))))
        wrong = "a type has a create, and a size as of a rotor_machine at least";
    if (wrong)
        lua_pushfstring(L, "%s: %s", e->name, wrong);
    return wrong;
}

/* [-0, +1, m] The object for an export. */
static void push_class(lua_State *L, const rotor_export *e)
{
    const rotor__kind *kind = e->type       ? &rotor__kind_type
                              : e->protocol ? &rotor__kind_protocol
                                            : &rotor__kind_datagram;
    rotor__lua_class *class = rotor__lua_bare_class(L, kind);
    class->title = e->name;
    class->exported = e;
    if (!e->type) {
        lua_newtable(L); /* its states are not known before they are entered */
        lua_setiuservalue(L, -2, ROTOR__CLASS_STATES);
        return;
    }
    class->type = (rotor_type){.name = e->type->name,
                               .size_of = size_of,
                               .create = on_create,
                               .child_done = e->type->child_done};
    lua_pushlightuserdata(L, (void *)e);
    lua_rawsetp(L, LUA_REGISTRYINDEX, e->type); /* for rotor__lua_push_done() */
}

/* [-0, +1, m] A copy of the table at `index`. */
static void push_copy(lua_State *L, int index)
{
    lua_newtable(L);
    lua_pushnil(L);
    while (lua_next(L, index)) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -4);
    }
}

/* [-0, +1 or 3, e] load(path): a table of what the module exports, by name */
static int l_load(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    if (!strchr(path, '/')) /* it is a file as any other, not to be searched for */
        path = lua_pushfstring(L, "./%s", path);
    show_functions();
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL); /* and never closed */
    if (!object)
        return fail(L, ROTOR_ELOAD, dlerror());
    const rotor__module *module = dlsym(object, "rotor_exports");
    if (!module) {
        lua_pushfstring(L, "%s: it has no ROTOR_EXPORTS", path);
        return fail(L, ROTOR_ELOAD, lua_tostring(L, -1));
    }
    if (push_other_version(L, module)) {
        lua_pushfstring(L, "%s: %s", path, lua_tostring(L, -1));
        return fail(L, ROTOR_EVERSION, lua_tostring(L, -1));
    }
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, object) == LUA_TNIL) {
        lua_newtable(L);
        for (const rotor_export *e = module->exports; e->name; e++) {
            if (push_mistake(L, e)) {
                lua_pushfstring(L, "%s: %s", path, lua_tostring(L, -1));
                return fail(L, UV_EINVAL, lua_tostring(L, -1));
            }
            push_class(L, e);
            lua_setfield(L, -2, e->name);
        }
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, object);
    }
    push_copy(L, lua_gettop(L));
    return 1;
}

void rotor__lua_open_load(lua_State *L)
{
    lua_pushcfunction(L, l_load);
    lua_setfield(L, -2, "load");
}
