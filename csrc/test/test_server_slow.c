/* Ten thousand clients that never come to the end of their request heads: what they cost, that
** others do not notice, and when they are gone. What they do to others' latency is measured by
** bench/. */
#include "test.h"

#include "support.h"
#include "web.h"

enum { SLOW = 10000, MOST_BYTES = 4096, HEAD_MS = 10000, LAST_MS = 1000 };

#define GET "GET / HTTP/1.1\r\nHost: h\r\n"

typedef struct crowd {
    web web; /* its client is the one that is not slow */
    rotor_memory *slow[SLOW];
    rotor_handle connections[SLOW];
    size_t bytes; /* before they connected */
} crowd;

/* A client's own memory is counted, too; so it is there before the server's is looked at. */
static crowd *crowd_open(void)
{
    crowd *c = calloc(1, sizeof *c);
    assert_non_null(c);
    assert_int_equal(web_open(&c->web), 0);
    assert_int_equal(web_connect(&c->web), 0);
    web_asks(&c->web, GET "\r\n", OK(5, "GET /"));
    for (int i = 0; i < SLOW; i++) {
        c->slow[i] = rotor_memory_new();
        assert_non_null(c->slow[i]);
    }
    c->bytes = test_alloc_bytes();
    for (int i = 0; i < SLOW; i++)
        assert_int_equal(rotor_memory_connect(c->slow[i], c->web.loop,
                                              rotor_http_protocol(c->web.server), c->web.server,
                                              &c->connections[i]),
                         0);
    web_turn(&c->web);
    return c;
}

static void crowd_close(crowd *c)
{
    for (int i = 0; i < SLOW; i++)
        rotor_memory_free(c->slow[i]);
    web_close(&c->web);
    free(c);
}

static void each_sends(crowd *c, const char *text)
{
    for (int i = 0; i < SLOW; i++)
        assert_int_equal(rotor_memory_send(c->slow[i], text, strlen(text)), 0);
    web_turn(&c->web);
}

static int still_there(const crowd *c)
{
    int n = 0;
    for (int i = 0; i < SLOW; i++)
        n += rotor_find(c->web.loop, c->connections[i]) != NULL;
    return n;
}

static void others_are_served(crowd *c)
{
    web_asks(&c->web, GET "\r\n", OK(5, "GET /"));
}

/* Each slow client sends `first`, and then `next` every second until the last before the limit. */
static void dripping(const char *first, const char *next)
{
    crowd *c = crowd_open();
    each_sends(c, first);
    for (int ms = 1000; ms < HEAD_MS; ms += 1000) {
        web_wait(&c->web, 1000);
        each_sends(c, next);
        others_are_served(c);
    }
    assert_int_equal(still_there(c), SLOW);
    assert_in_range((test_alloc_bytes() - c->bytes) / SLOW, 1, MOST_BYTES);

    web_wait(&c->web, 1000);
    for (int i = 0; i < SLOW; i++) {
        rotor_buf *received = rotor_memory_received(c->slow[i]);
        const char *expected = *first ? web_refusal(408, NULL) : "";
        assert_int_equal(rotor_buf_len(received), strlen(expected));
        assert_memory_equal(rotor_buf_data(received), expected, strlen(expected));
        rotor_buf_fini(received);
    }
    others_are_served(c);
    web_wait(&c->web, LAST_MS);
    assert_int_equal(still_there(c), 0);
    others_are_served(c);
    crowd_close(c);
}

static void who_says_nothing_is_gone(void **state)
{
    dripping("", "");
}

static void who_says_a_byte_at_a_time_is_gone(void **state)
{
    dripping("G", "E");
}

static void who_says_a_field_at_a_time_is_gone(void **state)
{
    dripping(GET,
             "X-A-Field-That-Is-As-Long-As-Some: 0123456789012345678901234567890123456789012345"
             "678901234567890123456789\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(who_says_nothing_is_gone),
        TEST(who_says_a_byte_at_a_time_is_gone),
        TEST(who_says_a_field_at_a_time_is_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
