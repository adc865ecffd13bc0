/* Requests that are not answered at once, or not at all; and what a handler may do when. */
#include "test.h"

#include "../core/notifier.h"
#include "support.h"
#include "web.h"

#define HOST        "Host: h\r\n"
#define GET(target) "GET " target " HTTP/1.1\r\n" HOST "\r\n"

static void open_and_connect(web *w)
{
    assert_int_equal(web_open(w), 0);
    assert_int_equal(web_connect(w), 0);
}

static bool is(rotor_text text, const char *other)
{
    return text.len == strlen(other) && memcmp(text.data, other, text.len) == 0;
}

/* A machine that answers the request received last, a second after it was asked to. */
typedef struct clerk {
    rotor_machine machine;
    web *web;
} clerk;

static rotor_response clerk_create(rotor_machine *m, rotor_scope *scope, void *seed)
{
    ((clerk *)m)->web = seed;
    return rotor_ok();
}

static rotor_response clerk_wakeup(rotor_machine *m, rotor_scope *scope)
{
    return rotor_ok_until(rotor_now(scope) + 1000);
}

static rotor_response clerk_timeout(rotor_machine *m, rotor_scope *scope)
{
    web *w = ((clerk *)m)->web;
    rotor_http *h = rotor_http_find(scope->loop, w->ref);
    web_note(w, h ? "found" : "gone");
    if (h) {
        assert_int_equal(web_answer(h, scope).kind, ROTOR_DONE);
        assert_true(rotor_http_is_sent(h));
        assert_int_equal(rotor_http_send_text(h, 200, "twice"), ROTOR_ESTATE);
    }
    return rotor_ok();
}

static const rotor_type clerk_type = {.name = "clerk",
                                      .size = sizeof(clerk),
                                      .create = clerk_create,
                                      .wakeup = clerk_wakeup,
                                      .timeout = clerk_timeout};

static rotor_response ask_clerk(rotor_http *h, rotor_scope *scope)
{
    const rotor_handle *the_clerk = web_of(h)->context;
    assert_int_equal(rotor_wake(scope->loop, *the_clerk), 0);
    assert_false(rotor_http_is_sent(h));
    return rotor_ok();
}

static void hire(web *w, rotor_handle *the_clerk)
{
    w->received = ask_clerk;
    w->context = the_clerk;
    assert_int_equal(web_open(w), 0);
    assert_int_equal(rotor_add(w->loop, &clerk_type, w, the_clerk), 0);
}

/* -- answers from elsewhere -------------------------------------------------------------------- */

static const char burst[] =
    GET("/1") "POST /2 HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc"
              "POST /3 HTTP/1.1\r\n" HOST
              "Transfer-Encoding: chunked\r\n\r\n2\r\nde\r\n1\r\nf\r\n0\r\n\r\n" GET("/4");
static const char log_of_burst[] =
    "GET /1 found over POST /2 found over POST /3 found over GET /4 found over";

/* One after the other: what was sent behind a request waits for its answer. */
static void receive_burst(web *w)
{
    web_wait(w, 1000);
    assert_string_equal(web_received(w), OK(6, "GET /1"));
    web_wait(w, 1000);
    assert_string_equal(web_received(w), OK(11, "POST /2 abc"));
    web_wait(w, 999);
    assert_string_equal(web_received(w), "");
    web_wait(w, 1);
    assert_string_equal(web_received(w), OK(11, "POST /3 def"));
    web_wait(w, 1000);
    assert_string_equal(web_received(w), OK(6, "GET /4"));
    assert_string_equal(w->log, log_of_burst);
    w->log[0] = '\0';
}

static void another_machine_answers(void **state)
{
    web w = {0};
    rotor_handle the_clerk;
    hire(&w, &the_clerk);

    assert_int_equal(web_connect(&w), 0);
    web_send(&w, burst);
    receive_burst(&w);
    assert_int_equal(rotor_memory_writes(w.client), 4);

    assert_int_equal(web_connect(&w), 0);
    rotor_memory_split(w.client, 1);
    web_send(&w, burst);
    receive_burst(&w);

    for (size_t cut = 1; cut < sizeof burst - 1; cut++) {
        assert_int_equal(web_connect(&w), 0);
        web_send_bytes(&w, burst, cut);
        web_send(&w, burst + cut);
        receive_burst(&w);
    }
    assert_int_equal(rotor_end(w.loop, the_clerk, 0), 0);
    web_close(&w);
}

/* The order is kept also when only some are late. */
static rotor_response mixed(rotor_http *h, rotor_scope *scope)
{
    return rotor_http_query(h).data ? ask_clerk(h, scope) : web_answer(h, scope);
}

static void late_and_early_answers_keep_their_order(void **state)
{
    web w = {0};
    rotor_handle the_clerk;
    hire(&w, &the_clerk);
    w.received = mixed;
    assert_int_equal(web_connect(&w), 0);
    web_asks(&w, GET("/1") GET("/2?") GET("/3") GET("/4?") GET("/5"), OK(6, "GET /1"));
    web_wait(&w, 1000);
    assert_string_equal(web_received(&w), OK(7, "GET /2?") OK(6, "GET /3"));
    web_wait(&w, 1000);
    assert_string_equal(web_received(&w), OK(7, "GET /4?") OK(6, "GET /5"));

    /* And so does a refusal. */
    web_asks(&w, GET("/6?") "bad\n" GET("/7"), "");
    web_wait(&w, 1000);
    char expected[1024];
    snprintf(expected, sizeof expected, "%s%s", OK(7, "GET /6?"),
             web_refusal(400, rotor_strerror(ROTOR_HTTP_ECONTROL)));
    assert_string_equal(web_received(&w), expected);
    assert_true(web_is_shut(&w));
    assert_int_equal(w.requests, 6);
    web_close(&w);
}

static void the_program_answers_between_turns(void **state)
{
    web w = {.received = web_waits};
    open_and_connect(&w);
    web_send(&w, GET("/1") GET("/2"));
    rotor_http_ref first = w.ref;
    rotor_http *h = rotor_http_find(w.loop, first);
    assert_int_equal(rotor_http_add_text(h, "A", "b"), 0);
    assert_int_equal(rotor_http_send_text(h, 201, "one"), 0);
    assert_ptr_equal(rotor_http_find(w.loop, first), h); /* over in the next turn */
    assert_int_equal(rotor_http_send_text(h, 201, "two"), ROTOR_ESTATE);
    assert_int_equal(rotor_http_add_text(h, "A", "b"), ROTOR_ESTATE);
    web_turn(&w);
    assert_null(rotor_http_find(w.loop, first));
    assert_string_equal(web_received(&w),
                        "HTTP/1.1 201 Created\r\n" DATE "A: b\r\nContent-Length: 3\r\n\r\none");

    /* The connection is the same, the request is another. */
    assert_int_equal(first.stream.slot, w.ref.stream.slot);
    assert_int_equal(first.stream.generation, w.ref.stream.generation);
    assert_int_not_equal(first.serial, w.ref.serial);
    assert_non_null(rotor_http_find(w.loop, w.ref));
    assert_null(rotor_http_find(w.loop, first));
    assert_null(rotor_http_find(w.loop, (rotor_http_ref){.serial = 0}));
    web_close(&w);
}

static void answered_when_its_deadline_is_due(void **state)
{
    web w = {.received = web_waits};
    open_and_connect(&w);
    web_send(&w, GET("/1") GET("/2"));
    assert_int_equal(rotor_http_send_text(rotor_http_find(w.loop, w.ref), 200, "one"), 0);
    web_wait(&w, 30000);
    assert_string_equal(web_received(&w), OK(3, "one"));
    assert_string_equal(w.log, "GET /1 over GET /2");
    web_close(&w);
}

/* -- wakeups ----------------------------------------------------------------------------------- */

static void a_wakeup_answers(void **state)
{
    web w = {.received = web_waits, .wakeup = web_waits};
    open_and_connect(&w);
    web_send(&w, GET("/1"));
    rotor_wake(w.loop, w.connection);
    web_turn(&w);
    rotor_wake(w.loop, w.connection);
    rotor_wake(w.loop, w.connection); /* both are one */
    web_turn(&w);
    w.wakeup = web_answer;
    rotor_notifier *notifier = rotor_notifier_new(w.loop, w.connection);
    assert_int_equal(rotor_wakeup(notifier), 0);
    web_turn(&w);
    rotor_notifier_release(notifier);
    assert_string_equal(web_received(&w), OK(6, "GET /1"));
    assert_string_equal(w.log, "GET /1 wakeup wakeup wakeup over");

    rotor_wake(w.loop, w.connection); /* while there is no request */
    web_turn(&w);
    web_send(&w, "GET /2");
    rotor_wake(w.loop, w.connection); /* … or only a part of one */
    web_turn(&w);
    assert_string_equal(w.log, "GET /1 wakeup wakeup wakeup over");
    web_close(&w);
}

static void without_a_wakeup_it_waits_on(void **state)
{
    web w = {.received = web_waits};
    open_and_connect(&w);
    web_send(&w, GET("/1"));
    rotor_wake(w.loop, w.connection);
    web_turn(&w);
    assert_string_equal(web_received(&w), "");
    assert_string_equal(w.log, "GET /1");
    web_close(&w);
}

/* -- handlers that fail ------------------------------------------------------------------------ */

static rotor_response spawns(rotor_http *h, rotor_scope *scope)
{
    return rotor_spawn(scope, &clerk_type, NULL);
}

static rotor_response error_of_no_error(rotor_http *h, rotor_scope *scope)
{
    return rotor_error(0);
}

static const struct {
    web_transition *transition;
    int errors, error;
} failures[] = {
    {web_done, 0, 0},
    {web_error, 1, UV_EIO},
    {error_of_no_error, 1, ROTOR_EUNEXPECTED},
    {spawns, 1, ROTOR_EUNEXPECTED},
};

static void who_gives_no_answer_is_answered_for(void **state)
{
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
        web w = {.received = failures[i].transition};
        open_and_connect(&w);
        web_asks(&w, GET("/1") GET("/2"), web_refusal(500, NULL));
        assert_true(web_is_shut(&w));
        assert_string_equal(w.log, "GET /1 over");
        assert_int_equal(w.errors, failures[i].errors);
        assert_int_equal(w.error, failures[i].error);
        web_close(&w);

        w = (web){.received = web_waits, .wakeup = failures[i].transition};
        open_and_connect(&w);
        web_send(&w, GET("/1") GET("/2"));
        rotor_wake(w.loop, w.connection);
        web_turn(&w);
        assert_string_equal(web_received(&w), web_refusal(500, NULL));
        assert_string_equal(w.log, "GET /1 wakeup over");
        assert_int_equal(w.errors, failures[i].errors);
        assert_int_equal(w.error, failures[i].error);
        web_close(&w);
    }
}

static rotor_response answer_and_fail(rotor_http *h, rotor_scope *scope)
{
    web_answer(h, scope);
    return rotor_error(UV_EIO);
}

static rotor_response answer_and_wait(rotor_http *h, rotor_scope *scope)
{
    web_answer(h, scope);
    return rotor_ok();
}

static void an_answer_stands_whatever_follows(void **state)
{
    web w = {.received = answer_and_wait};
    open_and_connect(&w);
    web_asks(&w, GET("/1") GET("/2"), OK(6, "GET /1") OK(6, "GET /2"));
    assert_string_equal(w.log, "GET /1 over GET /2 over");
    w.received = answer_and_fail;
    web_asks(&w, GET("/3") GET("/4"), OK(6, "GET /3"));
    assert_true(web_is_shut(&w));
    assert_int_equal(w.errors, 1);
    assert_int_equal(w.error, UV_EIO);
    assert_int_equal(w.requests, 3);
    web_close(&w);
}

/* -- clients that go --------------------------------------------------------------------------- */

static void read_request(rotor_http *h)
{
    assert_true(is(rotor_http_method(h), "POST"));
    assert_true(is(rotor_http_body(h), "abc"));
    assert_true(is(rotor_http_header(h, "host", 4), "h"));
    assert_int_equal(rotor_http_send_text(h, 200, "too late"), ROTOR_ESTATE);
}

static const char post[] = "POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc";

static void a_reset_ends_the_request(void **state)
{
    web w = {.received = web_waits, .wakeup = web_answer, .over = read_request};
    open_and_connect(&w);
    web_send(&w, post);
    rotor_memory_fail(w.client, UV_ECONNRESET);
    web_turn(&w);
    assert_string_equal(w.log, "POST / over");
    assert_true(web_is_gone(&w));
    assert_null(rotor_http_find(w.loop, w.ref));
    assert_int_equal(w.error, UV_ECONNRESET);
    web_close(&w);
}

/* Also while there are earlier answers that it has not taken yet. */
static void a_reset_is_noticed_by_what_is_unsent(void **state)
{
    web w = {0};
    open_and_connect(&w);
    rotor_memory_window(w.client, 0);
    web_send(&w, GET("/"));
    w.received = web_waits;
    w.over = read_request;
    web_send(&w, post);
    assert_string_equal(w.log, "GET / over POST /");
    rotor_memory_fail(w.client, UV_ECONNRESET);
    web_turn(&w);
    assert_true(web_is_gone(&w));
    assert_string_equal(w.log, "GET / over POST / over");
    web_close(&w);
}

static void a_reset_before_the_request(void **state)
{
    static const char *const parts[] = {"", "GET",
                                        "POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nab"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        web w = {0};
        open_and_connect(&w);
        web_asks(&w, parts[i], "");
        rotor_memory_fail(w.client, UV_ECONNRESET);
        web_turn(&w);
        assert_true(web_is_gone(&w));
        assert_int_equal(w.error, UV_ECONNRESET);
        assert_int_equal(w.requests, 0);
        web_close(&w);
    }
}

static void so_does_its_end_by_others(void **state)
{
    web w = {.received = web_waits, .over = read_request};
    open_and_connect(&w);
    web_send(&w, post);
    rotor_end(w.loop, w.connection, UV_ECANCELED);
    web_turn(&w);
    assert_true(web_is_gone(&w));
    assert_null(rotor_http_find(w.loop, w.ref));
    assert_string_equal(w.log, "POST / over");
    web_close(&w);
}

static void and_the_end_of_the_loop(void **state)
{
    web w = {.received = web_waits, .over = read_request};
    open_and_connect(&w);
    web_send(&w, post);
    web_close(&w);
    assert_string_equal(w.log, "POST / over");

    web idle = {0}; /* and neither a request that is not there yet … */
    open_and_connect(&idle);
    web_send(&idle, "POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nab");
    web_close(&idle);
    assert_int_equal(idle.requests, 0);
}

/* Who shuts down its direction still wants to read. */
static void a_half_closed_client_is_answered(void **state)
{
    web w = {0};
    rotor_handle the_clerk;
    hire(&w, &the_clerk);
    assert_int_equal(web_connect(&w), 0);
    web_send(&w, GET("/1") GET("/2"));
    rotor_memory_shutdown(w.client);
    web_wait(&w, 1000);
    assert_string_equal(web_received(&w), OK(6, "GET /1"));
    web_wait(&w, 1000);
    assert_string_equal(web_received(&w), OK(6, "GET /2"));
    assert_true(web_is_gone(&w));
    assert_int_equal(w.errors, 0);
    rotor_end(w.loop, the_clerk, 0);
    web_close(&w);
}

static void what_ends_too_early_is_malformed(void **state)
{
    static const char *const parts[] = {"G", "\r\n", "GET / HTTP/1.1\r\n" HOST,
                                        "POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nab",
                                        "POST / HTTP/1.1\r\n" HOST
                                        "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        web w = {0};
        open_and_connect(&w);
        web_send(&w, GET("/1"));
        web_send(&w, parts[i]);
        assert_string_equal(web_received(&w), OK(6, "GET /1"));
        rotor_memory_shutdown(w.client);
        web_turn(&w);
        assert_string_equal(web_received(&w), web_refusal(400, rotor_strerror(ROTOR_EEOF)));
        assert_true(web_is_gone(&w));
        assert_int_equal(w.requests, 1);
        assert_int_equal(w.errors, 0);
        web_close(&w);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(another_machine_answers),
        TEST(late_and_early_answers_keep_their_order),
        TEST(the_program_answers_between_turns),
        TEST(answered_when_its_deadline_is_due),
        TEST(a_wakeup_answers),
        TEST(without_a_wakeup_it_waits_on),
        TEST(who_gives_no_answer_is_answered_for),
        TEST(an_answer_stands_whatever_follows),
        TEST(a_reset_ends_the_request),
        TEST(a_reset_is_noticed_by_what_is_unsent),
        TEST(a_reset_before_the_request),
        TEST(so_does_its_end_by_others),
        TEST(and_the_end_of_the_loop),
        TEST(a_half_closed_client_is_answered),
        TEST(what_ends_too_early_is_malformed),
    };
    return cmocka_run_group_tests_name("server_late", tests, NULL, NULL);
}
