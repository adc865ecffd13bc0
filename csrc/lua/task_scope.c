/* What bounds a task from the inside: scopes, deadlines, shields.
**
** Each is a frame on the task's chain while its function runs, and lies on the task's stack. What unwinds
** the task is caught by the outermost frame that is over. */
#include "lua_task.h"

/* -- frames ------------------------------------------------------------------------------------ */

static const rotor__kind kind_frame = {.name = "rotor.task.frame"};

typedef struct frame_object {
    rotor__object object;
    rotor__frame frame;
} frame_object;

/* What is at `index` has the frame, and is closed with the stack. */
static void enter(lua_State *L, int index, rotor__task *t, rotor__frame *f)
{
    lua_toclose(L, index);
    f->task = t;
    f->prev = t->frame;
    t->frame = f;
}

/* If the task's coroutine was closed or resumed by somebody, or is dropped, its frames go with the stack. */
static void close_frame(const rotor__frame *f)
{
    rotor__frame **at = &f->task->frame;
    while (*at && *at != f)
        at = &(*at)->prev;
    if (*at)
        *at = f->prev;
}

static int frame_close(lua_State *L)
{
    if (!rotor__task_on(L))
        close_frame(&((frame_object *)lua_touserdata(L, 1))->frame);
    return 0;
}

/* The task that goes on here, which its loop has resumed, or that is an error. */
static rotor__task *task_of(lua_State *L)
{
    rotor__task *t = rotor__task_on(L);
    if (!t)
        rotor__task_blame_resumer(L);
    return t;
}

static rotor__task *leave(lua_State *L, const rotor__frame *f)
{
    rotor__task *t = task_of(L);
    t->frame = f->prev;
    return t;
}

static bool failed(int status)
{
    return status != LUA_OK && status != LUA_YIELD;
}

/* [frame, message handler, results or error] */
static int frame_done(lua_State *L, int status, lua_KContext context)
{
    const rotor__frame *f = &((frame_object *)lua_touserdata(L, 1))->frame;
    rotor__task *t = leave(L, f);
    if (!failed(status))
        return lua_gettop(L) - 2;
    if (!rotor__task_is_unwinding(L, -1))
        return lua_error(L);
    if (!f->shield && rotor__task_why(t)) /* it is for one further out */
        return rotor__task_unwind(L);
    if (f->at > t->machine.loop->now) /* somebody has thrown again what he has caught before */
        return lua_error(L);
    return rotor__lua_fail(L, ROTOR_ETIMEDOUT);
}

/* [seconds, fn, arguments] */
static int call_in_frame(lua_State *L, bool shield)
{
    uint64_t ms = rotor__lua_check_ms(L, 1);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    rotor__tasks *tasks = rotor__lua_vm(L)->tasks;
    /* One that unwinds may still shield what it has to do. */
    rotor__task *t =
        shield && tasks->running && tasks->running->L == L ? tasks->running : rotor__task_here(L);
    frame_object *object = rotor__lua_new(L, &kind_frame, sizeof *object, 0);
    object->frame.at = rotor__task_deadline(t, ms);
    object->frame.shield = shield;
    lua_replace(L, 1);
    lua_pushcfunction(L, rotor__task_catch);
    lua_insert(L, 2);
    enter(L, 1, t, &object->frame);
    int status = lua_pcallk(L, lua_gettop(L) - 3, LUA_MULTRET, 2, 0, frame_done);
    return frame_done(L, status, 0);
}

/* [-n, +n, e] deadline(seconds, fn, ...) */
static int l_deadline(lua_State *L)
{
    luaL_checknumber(L, 1);
    return call_in_frame(L, false);
}

/* [-n, +n, e] shield(seconds or nil, fn, ...) */
static int l_shield(lua_State *L)
{
    return call_in_frame(L, true);
}

/* -- scopes ------------------------------------------------------------------------------------ */

static const rotor__kind kind_scope = {.name = "rotor.task.scope"};

typedef struct rotor__scope {
    rotor__object object;
    rotor__lua_loop *ll;
    rotor__frame frame;
    bool open;
    bool failed;          /* its function, or the first of its children, with `error` */
    bool unwound;         /* its function was */
    bool thrown;          /* by its function, which is what has failed */
    rotor__link children; /* of their tails */
    rotor__waits empty;   /* where its task waits for them */
    rotor_handle owner;
    int error; /* reference to what the first has thrown; its text, if that is a string */
    int trace; /* or else reference to the text, which says where */
    int self;  /* reference to this, as long as there are children */
} scope;

static scope *check_scope(lua_State *L)
{
    return rotor__lua_check(L, 1, &kind_scope);
}

/* Whose scope that is; NULL: it has ended, or is being dropped with its loop. */
static rotor__task *owner_of(const scope *s)
{
    bool lives = s->open && s->ll->loop;
    rotor__task *t = lives ? (rotor__task *)rotor_find(s->ll->loop, s->owner) : NULL;
    return t && t->state != ROTOR__TASK_ENDED ? t : NULL;
}

static rotor__task *child_of(rotor__link *link)
{
    return (rotor__task *)ROTOR__CONTAINER(link, rotor__task_tail, link) - 1;
}

static void cancel_children(scope *s)
{
    rotor__link *first = rotor__link_first(&s->children);
    for (rotor__link *link = first; link && link != &s->children; link = link->next)
        rotor__task_cancel(child_of(link));
}

static void cancel(scope *s)
{
    s->frame.canceled = true;
    cancel_children(s);
    rotor__task *owner = owner_of(s);
    if (owner)
        rotor__task_kick(owner);
}

/* [task, text] */
static int keep_error(lua_State *D)
{
    rotor__task *t = lua_touserdata(D, 1);
    scope *s = rotor__task_tail_of(t)->scope;
    if (lua_type(t->L, -1) != LUA_TSTRING) {
        s->trace = luaL_ref(D, LUA_REGISTRYINDEX);
        lua_pushvalue(t->L, -1);
        lua_xmove(t->L, D, 1);
    }
    s->error = luaL_ref(D, LUA_REGISTRYINDEX);
    s->failed = true;
    return 0;
}

void rotor__scope_child_ended(rotor__task *t, int status)
{
    rotor__task_tail *tail = rotor__task_tail_of(t);
    scope *s = tail->scope;
    lua_State *D = s->ll->vm->D;
    rotor__link_remove(&tail->link);
    if (status == ROTOR_ELUA && !s->failed) {
        lua_pushcfunction(D, keep_error);
        lua_insert(D, -2);
        lua_pushlightuserdata(D, t);
        lua_insert(D, -2);
        if (lua_pcall(D, 2, 0, 0) != LUA_OK)
            rotor__lua_report(s->ll, "task", "scope");
    } else if (status == ROTOR_ELUA) {
        rotor__lua_report(s->ll, "task", NULL); /* only the first is thrown again */
    }
    tail->scope = NULL;
    if (status == ROTOR_ETIMEDOUT) /* the deadline around the scope has passed */
        s->unwound = true;
    if (status == ROTOR_ELUA || status == ROTOR_ETIMEDOUT)
        cancel(s);
    if (!rotor__link_first(&s->children)) {
        rotor__task_complete_all(&s->empty);
        luaL_unref(D, LUA_REGISTRYINDEX, s->self);
        s->self = LUA_NOREF;
    }
}

static void give_back(lua_State *L, scope *s)
{
    luaL_unref(L, LUA_REGISTRYINDEX, s->error);
    luaL_unref(L, LUA_REGISTRYINDEX, s->trace);
    luaL_unref(L, LUA_REGISTRYINDEX, s->self);
    s->error = s->trace = s->self = LUA_NOREF;
}

/* [scope, message handler, results] All children have ended. */
static int end_scope(lua_State *L, scope *s)
{
    rotor__task *t = leave(L, &s->frame);
    s->open = false;
    if (s->self != LUA_NOREF) { /* a spawn has failed */
        luaL_unref(L, LUA_REGISTRYINDEX, s->self);
        s->self = LUA_NOREF;
    }
    if (s->thrown) {
        lua_settop(L, 3);
        return lua_error(L);
    }
    if (s->failed) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, s->error);
        if (s->trace != LUA_NOREF) {
            lua_rawgeti(L, LUA_REGISTRYINDEX, s->trace);
            rotor__task_keep_trace(L);
        }
        give_back(L, s);
        return lua_error(L);
    }
    if (!s->unwound)
        return lua_gettop(L) - 2;
    if (rotor__task_why(t))
        return rotor__task_unwind(L);
    return rotor__lua_fail(L, ROTOR_ECANCELED);
}

static int wait_for_children(lua_State *L, scope *s);

static int children_ended(lua_State *L, int status, lua_KContext context)
{
    scope *s = lua_touserdata(L, 1);
    bool unwinds;
    if (!rotor__task_was_completed(L, &unwinds) && unwinds) {
        s->unwound = true;
        cancel(s);
    }
    return wait_for_children(L, s);
}

static int wait_for_children(lua_State *L, scope *s)
{
    if (!rotor__link_first(&s->children))
        return end_scope(L, s);
    if (s->frame.canceled || s->unwound) { /* then nothing keeps it from waiting for them */
        s->frame.shield = true;
        s->frame.canceled = false;
    }
    return rotor__task_wait(L, task_of(L), &s->empty, 0, ROTOR_NEVER, 0, children_ended);
}

/* [scope, message handler, results or error] */
static int body_done(lua_State *L, int status, lua_KContext context)
{
    scope *s = lua_touserdata(L, 1);
    if (failed(status)) {
        s->unwound = rotor__task_is_unwinding(L, -1);
        if (!s->unwound && !s->failed)
            s->failed = s->thrown = true; /* it stays on the stack: nothing may be thrown here */
        else
            lua_settop(L, 2);
        cancel(s);
    }
    return wait_for_children(L, s);
}

/* [-n, +n, e] scope(fn, ...): fn(scope, ...) */
static int l_scope(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    rotor__task *t = rotor__task_here(L);
    scope *s = rotor__lua_new(L, &kind_scope, sizeof *s, 0);
    s->ll = rotor__task_ll(t);
    s->frame.at = ROTOR_NEVER;
    s->error = s->trace = s->self = LUA_NOREF;
    s->owner = t->machine.self;
    s->open = true;
    lua_insert(L, 1);
    lua_pushcfunction(L, rotor__task_catch);
    lua_insert(L, 2);
    lua_pushvalue(L, 1);
    lua_insert(L, 4);
    enter(L, 1, t, &s->frame);
    int status = lua_pcallk(L, lua_gettop(L) - 3, LUA_MULTRET, 2, 0, body_done);
    return body_done(L, status, 0);
}

/* The earliest deadline around the children. */
static uint64_t deadline_of(const scope *s, rotor__task *owner)
{
    const rotor__task_tail *tail = rotor__task_tail_of(owner);
    uint64_t at = ROTOR_NEVER;
    for (const rotor__frame *f = &s->frame; f; f = f->prev) {
        at = f->at < at ? f->at : at;
        if (f->shield)
            return at;
    }
    return tail && tail->at < at ? tail->at : at;
}

/* [-n, +1, e] scope:spawn(fn, ...) */
static int scope_spawn(lua_State *L)
{
    scope *s = check_scope(L);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    rotor__task *owner = owner_of(s);
    if (!owner)
        return luaL_error(L, "the scope has ended; its tasks are spawned while its function runs");
    if (s->self == LUA_NOREF) {
        lua_pushvalue(L, 1);
        s->self = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    rotor__task_tail tail = {.scope = s, .at = deadline_of(s, owner)};
    rotor__task_spawn(L, s->ll, 2, &tail);
    rotor__task *t = rotor__task_of_handle(L, -1);
    rotor__link_add(&s->children, &rotor__task_tail_of(t)->link);
    if (s->frame.canceled || s->failed || s->unwound) /* it ends where it first waits */
        rotor__task_cancel(t);
    return 1;
}

/* [-0, +0, e] scope:cancel() */
static int scope_cancel(lua_State *L)
{
    scope *s = check_scope(L);
    if (s->open)
        cancel(s);
    return 0;
}

/* [-0, +1, e] #scope: how many of its tasks have not ended */
static int scope_len(lua_State *L)
{
    const scope *s = check_scope(L);
    lua_Integer n = 0;
    const rotor__link *first = rotor__link_first(&s->children);
    for (const rotor__link *link = first; link && link != &s->children; link = link->next)
        n++;
    lua_pushinteger(L, n);
    return 1;
}

/* It has children only if the Lua state closes, before the loop does: they are on their own then. */
static int scope_gc(lua_State *L)
{
    scope *s = check_scope(L);
    for (rotor__link *link; (link = rotor__link_first(&s->children));) {
        ROTOR__CONTAINER(link, rotor__task_tail, link)->scope = NULL;
        rotor__link_remove(link);
    }
    give_back(L, s);
    return 0;
}

static const luaL_Reg scope_methods[] = {
    {"spawn", scope_spawn}, {"cancel", scope_cancel}, {NULL, NULL}};

/* Not for the program, to which it does nothing. */
static int scope_close(lua_State *L)
{
    scope *s = check_scope(L);
    if (s->open && !rotor__task_on(L)) {
        close_frame(&s->frame);
        s->open = false;
    }
    return 0;
}

static const luaL_Reg frame_meta[] = {{"__close", frame_close}, {NULL, NULL}};

static const luaL_Reg scope_meta[] = {
    {"__len", scope_len}, {"__close", scope_close}, {"__gc", scope_gc}, {NULL, NULL}};

static const luaL_Reg functions[] = {
    {"scope", l_scope}, {"deadline", l_deadline}, {"shield", l_shield}, {NULL, NULL}};

void rotor__lua_open_task_scope(lua_State *L)
{
    luaL_setfuncs(L, functions, 0);
    rotor__lua_kind(L, &kind_frame, NULL, frame_meta);
    rotor__lua_kind(L, &kind_scope, scope_methods, scope_meta);
}
