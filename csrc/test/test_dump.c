/* What a loop says of its machines: each in one line. */
#include "test.h"

#include <unistd.h>

#include "../core/dump.h"
#include "../core/private.h"
#include "../stream/connect.h"
#include "../stream/datagram.h"
#include "../stream/persist.h"
#include "greeter.h"
#include "script.h"
#include "sockets.h"
#include "support.h"

static char lines[4096];

static void add_line(void *context, const char *line)
{
    size_t used = strlen(lines);
    assert_null(strchr(line, '\n'));
    snprintf(lines + used, sizeof lines - used, "%s\n", line);
}

static const char *dump(rotor_loop *loop)
{
    lines[0] = '\0';
    rotor_loop_dump(loop, add_line, NULL);
    return lines;
}

/* -- machines ---------------------------------------------------------------------------------- */

typedef struct sleeper {
    rotor_machine machine;
    rotor_response next;
} sleeper;

static int ended_with;

static rotor_response on_create(rotor_machine *m, rotor_scope *scope, void *seed)
{
    ((sleeper *)m)->next = seed ? *(rotor_response *)seed : rotor_ok();
    return ((sleeper *)m)->next;
}

static rotor_response on_wakeup(rotor_machine *m, rotor_scope *scope)
{
    return ((sleeper *)m)->next;
}

static void on_error(rotor_loop *loop, rotor_machine *m, int error)
{
    ended_with = error;
}

static const rotor_type sleeper_type = {
    .name = "sleeper", .size = sizeof(sleeper), .create = on_create, .wakeup = on_wakeup};

static rotor_loop *open_loop(void)
{
    rotor_loop *loop;
    test_monotonic_ms = 1000;
    ended_with = 0;
    rotor_config config = {.clock = &test_clock, .on_error = on_error};
    assert_int_equal(rotor_loop_new(&loop, &config), 0);
    return loop;
}

static sleeper *add(rotor_loop *loop, rotor_response next)
{
    rotor_handle handle;
    assert_int_equal(rotor_add(loop, &sleeper_type, &next, &handle), 0);
    return (sleeper *)rotor_find(loop, handle);
}

static void pass(rotor_loop *loop, uint64_t ms)
{
    test_monotonic_ms += ms;
    assert_int_equal(rotor_loop_turn(loop), 0);
}

static void an_empty_loop_has_no_line(void **state)
{
    rotor_loop *loop = open_loop();
    assert_string_equal(dump(loop), "");
    assert_int_equal(rotor_loop_free(loop), 0);
}

static void a_line_tells_the_time(void **state)
{
    rotor_loop *loop = open_loop();
    add(loop, rotor_ok_until(11000));
    pass(loop, 1500);
    add(loop, rotor_ok());
    pass(loop, 1);
    assert_string_equal(dump(loop), "sleeper 0.1: its deadline; for 1.501 s; deadline in 8.499 s\n"
                                    "sleeper 1.1: a wakeup; for 0.001 s\n");
    assert_int_equal(rotor_loop_free(loop), 0);
}

static void who_answers_same_has_waited_all_the_time(void **state)
{
    rotor_loop *loop = open_loop();
    sleeper *s = add(loop, rotor_same());
    pass(loop, 250);
    assert_int_equal(rotor_wake(loop, s->machine.self), 0);
    pass(loop, 250);
    assert_string_equal(dump(loop), "sleeper 0.1: a wakeup; for 0.500 s\n");
    s->next = rotor_ok();
    assert_int_equal(rotor_wake(loop, s->machine.self), 0);
    pass(loop, 0);
    assert_string_equal(dump(loop), "sleeper 0.1: a wakeup; for 0.000 s\n");
    assert_int_equal(rotor_machine_since(&s->machine), 1500);
    assert_int_equal(rotor_machine_deadline(&s->machine), ROTOR_NEVER);
    assert_int_equal(rotor_loop_free(loop), 0);
}

static void who_is_added_waits_from_then_on(void **state)
{
    rotor_loop *loop = open_loop();
    test_monotonic_ms += 5000; /* since the last turn */
    add(loop, rotor_same());
    assert_string_equal(dump(loop), "sleeper 0.1: a wakeup; for 0.000 s\n");
    assert_int_equal(rotor_loop_free(loop), 0);
}

static void a_clock_of_more_than_32_bits_is_no_matter(void **state)
{
    rotor_loop *loop = open_loop();
    test_monotonic_ms = 0x2fffffffe;
    assert_int_equal(rotor_loop_turn(loop), 0);
    add(loop, rotor_ok());
    pass(loop, 5);
    assert_string_equal(dump(loop), "sleeper 0.1: a wakeup; for 0.005 s\n");
    assert_int_equal(rotor_loop_free(loop), 0);
}

/* How it is to end stands where it has stood since when it waits. */
static rotor_response wakes_while_it_ends(rotor_machine *m, rotor_scope *scope, void *seed)
{
    rotor_handle late;
    rotor_response ok = rotor_ok();
    assert_int_equal(rotor_add(scope->loop, &sleeper_type, &ok, &late), 0);
    assert_string_equal(dump(scope->loop), "ender 0.1: a wakeup; for 0.000 s\n"
                                           "sleeper 1.1: its create; for 0.000 s\n");
    assert_int_equal(rotor_end(scope->loop, late, UV_EIO), 0);
    assert_string_equal(dump(scope->loop), "ender 0.1: a wakeup; for 0.000 s\n"
                                           "sleeper 1.1: its end; for 0.000 s\n");
    return rotor_done();
}

static void a_machine_that_ends_is_not_disturbed(void **state)
{
    static const rotor_type ender = {
        .name = "ender", .size = sizeof(rotor_machine), .create = wakes_while_it_ends};
    rotor_loop *loop = open_loop();
    assert_int_equal(rotor_add(loop, &ender, NULL, NULL), 0);
    assert_int_equal(ended_with, UV_EIO);
    sleeper *s = add(loop, rotor_ok());
    assert_int_equal(rotor_end(loop, s->machine.self, UV_EPIPE), 0);
    assert_int_equal(rotor_wake(loop, s->machine.self), 0);
    pass(loop, 1);
    assert_int_equal(ended_with, UV_EPIPE);
    assert_int_equal(rotor_loop_count(loop), 0);
    assert_int_equal(rotor_loop_free(loop), 0);
}

typedef struct reader {
    rotor_machine machine;
    rotor_io io[2];
} reader;

static rotor_response on_read(rotor_machine *m, rotor_scope *scope, void *seed)
{
    reader *r = (reader *)m;
    for (int i = 0; i < 2; i++)
        assert_int_equal(rotor_io_open(&r->io[i], m, ((int *)seed)[i]), 0);
    assert_int_equal(rotor_io_want(&r->io[1], ROTOR_READABLE | ROTOR_WRITABLE), 0);
    return rotor_ok();
}

static void descriptors_are_named(void **state)
{
    static const rotor_type type = {.name = "rea\nder", .size = sizeof(reader), .create = on_read};
    rotor_loop *loop = open_loop();
    int fds[2];
    char expected[128];
    rotor_handle handle;
    sockets_pair(AF_UNIX, &fds[0], &fds[1]);
    assert_int_equal(rotor_add(loop, &type, fds, &handle), 0);
    snprintf(expected, sizeof expected,
             "rea?der 0.1: descriptor %d readable or writable; for 0.000 s\n", fds[1]);
    assert_string_equal(dump(loop), expected);
    reader *r = (reader *)rotor_find(loop, handle);
    assert_int_equal(rotor_io_want(&r->io[0], ROTOR_READABLE), 0);
    snprintf(expected, sizeof expected,
             "rea?der 0.1: descriptor %d readable or writable, descriptor %d readable; "
             "for 0.000 s\n",
             fds[1], fds[0]);
    assert_string_equal(dump(loop), expected);
    assert_int_equal(rotor_loop_free(loop), 0);
    close(fds[0]);
    close(fds[1]);
}

static void a_line_is_cut_before_its_times(void **state)
{
    static const char whole[] = "sleeper 0.1: a wakeup; for 0.000 s";
    rotor_loop *loop = open_loop();
    sleeper *s = add(loop, rotor_ok());
    for (size_t size = 1; size <= sizeof whole + 1; size++) {
        char text[64];
        memset(text, '#', sizeof text);
        rotor_machine_line(&s->machine, text, size);
        assert_true(strlen(text) < size);
        assert_int_equal(text[size], '#');
        if (size > 20) /* some of the name, and all of the rest */
            assert_string_equal(text + strlen(text) - 13, "; for 0.000 s");
        if (size >= sizeof whole)
            assert_string_equal(text, whole);
    }
    assert_int_equal(rotor_loop_free(loop), 0);
}

static bool count_two(void *context, rotor_machine *m)
{
    return ++*(int *)context < 2;
}

static void each_stops_when_told_to(void **state)
{
    rotor_loop *loop = open_loop();
    for (int i = 0; i < 5; i++)
        add(loop, rotor_ok());
    int n = 0;
    rotor_loop_each(loop, count_two, &n);
    assert_int_equal(n, 2);
    assert_int_equal(rotor_loop_free(loop), 0);
}

/* -- streams ----------------------------------------------------------------------------------- */

static void assert_waits(script *sc, const char *expected)
{
    stage st;
    char whole[256];
    stage_open(&st, sc);
    rotor_memory_window(st.peer, 0);
    stage_turn(&st);
    snprintf(whole, sizeof whole, "script 0.1: %s\n", expected);
    assert_string_equal(dump(st.loop), whole);
    stage_close(&st);
}

static void a_stream_says_what_it_expects(void **state)
{
    script bytes = SCRIPT({.then = rotor_expect_bytes(7)});
    assert_waits(&bytes, "7 bytes; for 0.000 s");
    script byte =
        SCRIPT({.then = rotor_intent_until(rotor_expect_bytes(1), test_monotonic_ms + 2500)});
    assert_waits(&byte, "1 byte; for 0.000 s; deadline in 2.500 s");
    script line = SCRIPT({.then = rotor_expect_delimiter("\r\n", 2, 80)});
    assert_waits(&line, "\"\\r\\n\" within 80 bytes; for 0.000 s");
    script odd = SCRIPT({.then = rotor_expect_delimiter("a\"\\\1", 4, 80)});
    assert_waits(&odd, "\"a\\\"\\\\\\x01\" within 80 bytes; for 0.000 s");
    script sleeps = SCRIPT({.then = rotor_intent_sleep()});
    assert_waits(&sleeps, "a wakeup; for 0.000 s");
}

static void describe(const rotor_stream *s, char *text, size_t size)
{
    snprintf(text, size, "a greeting");
}

static void a_protocol_may_say_it_better(void **state)
{
    script sc = SCRIPT({.then = rotor_expect_bytes(7)});
    sc.protocol.describe = describe;
    assert_waits(&sc, "a greeting; for 0.000 s");
}

static void unread_bytes_are_counted(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(7)});
    stage_open(&st, &sc);
    stage_send(&st, "abc");
    assert_string_equal(dump(st.loop), "script 0.1: 7 bytes, 3 unread; for 0.000 s\n");
    stage_close(&st);
}

static void unsent_bytes_are_counted(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(1)},
                       {.then = rotor_and_flush(rotor_expect_bytes(2), 1), .say = "hello"},
                       {.then = rotor_intent_done()});
    stage_open(&st, &sc);
    rotor_memory_window(st.peer, 2);
    stage_send(&st, "x");
    assert_string_equal(dump(st.loop), "script 0.1: 2 bytes, or at most 1 unsent, 3 unsent; "
                                       "for 0.000 s; deadline in 30.000 s\n");
    stage_send(&st, "xy");
    assert_string_equal(dump(st.loop),
                        "script 0.1: its output to be sent, to close then, 3 unsent; "
                        "for 0.000 s; deadline in 30.000 s\n");
    stage_close(&st);
}

static void look_around(script *sc, rotor_stream *s, rotor_scope *scope)
{
    if (sc->played == 1)
        assert_string_equal(dump(scope->loop), "script 0.1: running, 1 unread; for 0.000 s\n");
}

static void one_may_look_from_inside(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(1)}, {.then = rotor_expect_bytes(1)});
    sc.act = look_around;
    stage_open(&st, &sc);
    stage_send(&st, "x");
    assert_int_equal(sc.reads, 1);
    stage_close(&st);
}

/* -- those that make streams, and datagrams ----------------------------------------------------- */

static void assert_begins(const char *expected)
{
    if (strncmp(lines, expected, strlen(expected)) != 0)
        assert_string_equal(lines, expected);
}

static void listeners_and_their_streams_name_addresses(void **state)
{
    greeter g;
    char expected[1200];
    greeter_begin(&g, "127.0.0.1:0", (rotor_listen_options){0}, 0);
    snprintf(expected, sizeof expected, "listener 0.1: connections on %s; for ", g.where);
    dump(g.st.loop);
    assert_begins(expected);
    int fd = greeter_visit(&g, greeter_where(&g, 0));
    dump(g.st.loop);
    assert_non_null(strstr(lines, "\nscript 1.1: \"\\n\" within "));
    assert_non_null(strstr(lines, ", peer 127.0.0.1:"));
    close(fd);
    greeter_end(&g);
}

static void a_listener_without_room_says_so(void **state)
{
    greeter g;
    greeter_begin(&g, "127.0.0.1:0", (rotor_listen_options){.connections = 2}, 0);
    int fd = greeter_visit(&g, greeter_where(&g, 0));
    TURN_UNTIL(g.st.loop, strstr(dump(g.st.loop), "room for connections on 127.0.0.1:"));
    close(fd);
    greeter_end(&g);
}

static void one_that_connects_names_its_goal(void **state)
{
    stage st;
    sockets_crowd crowd;
    char expected[200];
    script sc = SCRIPT({.then = rotor_intent_sleep()});
    stage_open_loop(&st, 0);
    sockets_gather(&crowd, "127.0.0.1:0");
    assert_int_equal(rotor_connect(st.loop, crowd.where, &sc.protocol, NULL, NULL), 0);
    stage_turn(&st);
    snprintf(expected, sizeof expected,
             "script 0.1: connecting to %s; for 0.000 s; deadline in 10.000 s\n", crowd.where);
    assert_string_equal(dump(st.loop), expected);
    stage_close(&st);
    sockets_disperse(&crowd);
}

static void one_that_is_kept_alive_names_its_goal(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_intent_sleep()});
    stage_open_loop(&st, 0);
    assert_int_equal(rotor_persist(st.loop, "127.0.0.1:1", &sc.protocol, NULL, NULL), 0);
    dump(st.loop);
    assert_begins("persist 0.1: the next try of 127.0.0.1:1; for 0.000 s; deadline in 0.000 s\n");
    stage_close(&st);
}

static rotor_response datagram_create(rotor_datagram *d, rotor_scope *scope, void *seed)
{
    return rotor_ok();
}

static void datagrams_name_both_ends(void **state)
{
    static const rotor_datagram_protocol protocol = {
        .name = "party", .size = sizeof(rotor_datagram), .create = datagram_create};
    rotor_loop *loop = open_loop();
    rotor_udp_options options = {.peer = "127.0.0.1:9"};
    assert_int_equal(rotor_udp(loop, "127.0.0.1:0", &protocol, &options, NULL), 0);
    dump(loop);
    assert_begins("party 0.1: datagrams on 127.0.0.1:");
    assert_non_null(strstr(lines, ", peer 127.0.0.1:9; for 0.000 s\n"));
    assert_int_equal(rotor_loop_free(loop), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(an_empty_loop_has_no_line),
        TEST(a_line_tells_the_time),
        TEST(who_answers_same_has_waited_all_the_time),
        TEST(who_is_added_waits_from_then_on),
        TEST(a_clock_of_more_than_32_bits_is_no_matter),
        TEST(a_machine_that_ends_is_not_disturbed),
        TEST(descriptors_are_named),
        TEST(a_line_is_cut_before_its_times),
        TEST(each_stops_when_told_to),
        TEST(a_stream_says_what_it_expects),
        TEST(a_protocol_may_say_it_better),
        TEST(unread_bytes_are_counted),
        TEST(unsent_bytes_are_counted),
        TEST(one_may_look_from_inside),
        TEST(listeners_and_their_streams_name_addresses),
        TEST(a_listener_without_room_says_so),
        TEST(one_that_connects_names_its_goal),
        TEST(one_that_is_kept_alive_names_its_goal),
        TEST(datagrams_name_both_ends),
    };
    return cmocka_run_group_tests_name("dump", tests, NULL, NULL);
}
