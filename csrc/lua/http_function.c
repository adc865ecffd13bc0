/* Servers whose requests one function handles; a task does, once it has to wait.
**
** Making the two objects of a request anew would cost a quarter of the whole answer, so a pair whose
** request was answered before its handler returned serves the next request, too. A pair that somebody
** may still answer with is never used again. So it is with the thread on which the handler runs: it is
** kept for the next, unless it has become a task. All that a call needs stays on its stack, as values
** are taken from there in a third of the time that the registry takes. */
#include "../core/alloc.h"
#include "lua_http.h"

/* -- what the next request needs --------------------------------------------------------------- */

/* The stack of the thread, from 1 on. */
enum { CATCH = 1, FUNCTION, REQUEST, RESPONSE, KEPT = RESPONSE };

static rotor__task *become_task(rotor__candidate *candidate);

static int make_ready(lua_State *D)
{
    rotor__lua_server *server = lua_touserdata(D, 1);
    if (!server->candidate.L) {
        rotor__tasks *tasks = server->ll->vm->tasks;
        server->candidate = (rotor__candidate){.ll = server->ll, .adopt = become_task};
        server->candidate.L = rotor__task_take_thread(D, tasks, &server->thread_ref);
    }
    lua_pushcfunction(D, rotor__task_catch);
    lua_rawgeti(D, LUA_REGISTRYINDEX, server->function);
    server->request = rotor__lua_new(D, &rotor__kind_request, sizeof *server->request, 0);
    rotor__exchange_object *response =
        rotor__lua_new(D, &rotor__kind_response, sizeof *response, 0);
    server->request->ll = response->ll = server->ll;
    lua_xmove(D, server->candidate.L, KEPT);
    server->response = response;
    return 0;
}

/* Leave the pair to whoever holds it. */
static void give_pair_away(rotor__lua_server *server)
{
    lua_settop(server->candidate.L, 0);
    server->response = NULL;
}

/* The thread is another's, or in the middle of something. */
static void leave_thread(rotor__lua_server *server)
{
    server->candidate.L = NULL;
    server->response = NULL;
}

void rotor__lua_free_function(rotor__lua_server *server)
{
    rotor__vm *vm = server->ll->vm;
    luaL_unref(vm->D, LUA_REGISTRYINDEX, server->function);
    if (server->candidate.L)
        rotor__task_give_thread(vm->D, vm->tasks, server->candidate.L, server->thread_ref);
}

/* -- tasks ------------------------------------------------------------------------------------- */

/* The request is looked at again in its own transition. */
static void on_ended(void *context, int status)
{
    rotor__lua_exchange *e = context;
    rotor__lua_loop *ll = rotor__task_ll(e->task);
    if (status == ROTOR_ELUA)
        rotor__lua_report(ll, "http", "handler");
    e->task = NULL;
    e->status = status;
    if (!e->h) {
        rotor_free(e);
        return;
    }
    e->ended = true;
    rotor_stream *s = rotor_http_stream(e->h);
    (void)rotor_wake(s->machine.loop, s->machine.self);
}

static rotor__task *become_task(rotor__candidate *candidate)
{
    rotor__lua_server *server = ROTOR__CONTAINER(candidate, rotor__lua_server, candidate);
    lua_State *L = candidate->L;
    rotor__lua_exchange *e = rotor__lua_exchange_of(server->handled);
    rotor__task_tail tail = {.at = ROTOR_NEVER, .kept = KEPT, .ended = on_ended, .context = e};
    rotor__task_seed seed = {
        .L = L, .ref = server->thread_ref, .place = server->place, .tail = &tail, .running = true};
    rotor__task *t = NULL;
    int error = e ? rotor__task_new(candidate->ll, &seed, &t) : UV_ENOMEM;
    if (error)
        luaL_error(L, "no task: %s: %s", rotor_err_name(error), rotor_strerror(error));
    e->h = server->handled;
    e->task = t;
    leave_thread(server);
    candidate->ll->vm->tasks->running = t;
    return t;
}

static int throw_unanswered(lua_State *D)
{
    const rotor_http *h = lua_touserdata(D, 1);
    rotor_text method = rotor_http_method(h), path = rotor_http_path(h);
    lua_pushlstring(D, method.data, method.len);
    lua_pushlstring(D, path.data, path.len);
    return luaL_error(D, "the task that handles %s %s has ended without %s", lua_tostring(D, -2),
                      lua_tostring(D, -1),
                      rotor_http_is_started(h) ? "finishing its answer" : "an answer");
}

/* Its task has ended, so nobody will answer the request any more. */
static rotor_response conclude(rotor_http *h)
{
    const rotor__lua_server *server = rotor_http_context(h);
    const rotor__lua_exchange *e = *rotor_http_data(h);
    if (rotor_http_is_sent(h))
        return rotor_done();
    if (e->status == ROTOR_ELUA)
        return rotor_error(ROTOR_ELUA);
    if (e->status)
        return rotor__lua_unavailable(h);
    (void)rotor__lua_run(server->ll, throw_unanswered, h, "http", "handler");
    return rotor_done();
}

void rotor__lua_leave_exchange(rotor_http *h)
{
    rotor__lua_exchange *e = *rotor_http_data(h);
    e->h = NULL;
    if (!rotor_http_is_sent(h)) /* there is nobody to do it for; or else it may have more to do */
        rotor__task_cancel(e->task);
}

/* -- running ----------------------------------------------------------------------------------- */

static int main_done(lua_State *L, int status, lua_KContext context)
{
    return status == LUA_OK || status == LUA_YIELD ? 0 : rotor__task_thrown(L);
}

/* [rotor__task_catch, handler, request, response] */
static int handler_main(lua_State *L)
{
    return main_done(L, lua_pcallk(L, 2, 0, 1, 0, main_done), 0);
}

/* [thread] What the handler has thrown before it was a task is on top of that. */
static int throw_again(lua_State *D)
{
    lua_State *L = lua_touserdata(D, 1);
    lua_xmove(L, D, 1);
    rotor__task_explain(D, L, NULL);
    return 1;
}

static void report(rotor__lua_server *server)
{
    lua_State *D = server->ll->vm->D;
    lua_pushcfunction(D, throw_again);
    lua_pushlightuserdata(D, server->candidate.L);
    (void)lua_pcall(D, 1, 1, 0);
    rotor__lua_report(server->ll, "http", "handler");
}

static int blame_yield(lua_State *D)
{
    return luaL_error(D, "a handler has called coroutine.yield; it waits by what rotor.task has "
                         "for that");
}

/* The handler has become task `t`; or has failed before, with `status` and `n` of lua_resume(). */
static __attribute__((noinline)) rotor_response settle(rotor_http *h, rotor__task *t, int status,
                                                       int n)
{
    rotor__lua_server *server = rotor_http_context(h);
    if (t) {
        const rotor__lua_exchange *e = *rotor_http_data(h);
        rotor__task_adopted(t, status, n);
        if (e->ended)
            return conclude(h);
        return rotor_http_is_sent(h) ? rotor_done() : rotor_ok();
    }
    if (status == LUA_YIELD)
        (void)rotor__lua_run(server->ll, blame_yield, NULL, "http", "handler");
    else
        report(server);
    if (status == LUA_OK) {
        give_pair_away(server);
    } else {
        (void)lua_resetthread(server->candidate.L);
        luaL_unref(server->ll->vm->D, LUA_REGISTRYINDEX, server->thread_ref);
        leave_thread(server);
    }
    return rotor_error(ROTOR_ELUA);
}

static rotor_response on_request(rotor_http *h, rotor_scope *scope)
{
    rotor__lua_server *server = rotor_http_context(h);
    const rotor__vm *vm = server->ll->vm;
    rotor__tasks *tasks = vm->tasks;
    if (!server->response && rotor__lua_run(server->ll, make_ready, server, "http", NULL))
        return rotor_error(ROTOR_ELUA);
    server->request->ref = server->response->ref = rotor_http_ref_of(h);
    server->response->status = 200;
    lua_State *L = server->candidate.L;
    lua_pushcfunction(L, handler_main);
    lua_pushvalue(L, CATCH);
    lua_pushvalue(L, FUNCTION);
    lua_pushvalue(L, REQUEST);
    lua_pushvalue(L, RESPONSE);
    rotor__task *outer = tasks->running;
    rotor__candidate *before = tasks->candidate;
    server->handled = h;
    tasks->running = NULL;
    tasks->candidate = &server->candidate;
    int n, status = lua_resume(L, vm->D, 4, &n);
    rotor__task *t = tasks->running;
    tasks->running = outer;
    tasks->candidate = before;
    if (t || status != LUA_OK || n > KEPT)
        return settle(h, t, status, n);
    if (rotor_http_is_sent(h))
        return rotor_done();
    give_pair_away(server);
    return rotor_ok();
}

/* -- what else happens to a request ------------------------------------------------------------- */

static rotor_response on_flushed(rotor_http *h, rotor_scope *scope)
{
    rotor_response r;
    const rotor__lua_exchange *e = *rotor_http_data(h);
    if (rotor__lua_pump(h, &r))
        return r;
    if (e && e->ended)
        return conclude(h);
    return e && e->task ? rotor_ok()
                        : rotor_same(); /* which has written, so its time begins anew */
}

static rotor_response on_timeout(rotor_http *h, rotor_scope *scope)
{
    const rotor__lua_exchange *e = *rotor_http_data(h);
    if (e && e->task)
        rotor__task_cancel(e->task);
    return rotor__lua_unanswered(h);
}

/* What on_hangup() was given is called once. Without that, a task has nobody left to work for. */
static rotor_response on_hangup(rotor_http *h, rotor_scope *scope)
{
    const rotor__lua_server *server = rotor_http_context(h);
    rotor__lua_exchange *e = *rotor_http_data(h);
    lua_State *D = server->ll->vm->D;
    if (e && e->hangup == LUA_NOREF && e->task)
        rotor__task_cancel(e->task);
    if (!e || e->hangup == LUA_NOREF)
        return rotor_same();
    rotor__lua_push_handler(D);
    lua_rawgeti(D, LUA_REGISTRYINDEX, e->hangup);
    luaL_unref(D, LUA_REGISTRYINDEX, e->hangup);
    e->hangup = LUA_NOREF;
    int error = rotor__lua_protect(server->ll, 0, "http", "on_hangup");
    return error ? rotor_error(error) : rotor_same();
}

static void on_request_over(rotor_http *h)
{
    if (*rotor_http_data(h))
        rotor__lua_free_exchange(((rotor__lua_server *)rotor_http_context(h))->ll, h);
}

const rotor_http_handler rotor__lua_function = {
    .name = "http",
    .request_received = on_request,
    .flushed = on_flushed,
    .wakeup = on_flushed,
    .timeout = on_timeout,
    .hangup = on_hangup,
    .request_over = on_request_over,
};
