/* Connections that are passed on to another protocol. Whole protocols that do so are in
** test_protocols.c. */
#include "test.h"

#include <unistd.h>

#include "persisting.h"
#include "probe.h"
#include "sockets.h"
#include "support.h"
#include "traced.h"

/* Who gets the connection: a script, in a struct of its own size. */
typedef struct heir {
    script sc;
    rotor_stream_seed seed;
    int released;
} heir;

static void on_release(void *seed)
{
    heir *h = (heir *)seed; /* whose script is the seed, and its first member */
    h->released++;
}

static void heir_init(heir *h)
{
    h->sc.protocol.size = sizeof(rotor_stream) + 1000;
    h->sc.protocol.name = "heir";
    h->seed =
        (rotor_stream_seed){.protocol = &h->sc.protocol, .seed = &h->sc, .release = on_release};
}

#define HEIR(...)                                                                                  \
    {                                                                                              \
        .sc = SCRIPT(__VA_ARGS__)                                                                  \
    }

static bool is_alive(stage *st, const script *sc)
{
    return sc->stream && rotor_find(st->loop, st->self) == &sc->stream->machine;
}

/* -- from where, and what it finds ------------------------------------------------------------- */

/* The connection is passed on when the old protocol has been told `which`. */
static void passes_from(const char *which, rotor_intent wait)
{
    stage st;
    heir h = HEIR({.then = rotor_expect_bytes(2), .say = "new "},
                  {.then = rotor_intent_done(), .echo = true});
    char log[64];
    heir_init(&h);
    script sc = SCRIPT({.then = wait, .say = "old "},
                       {.then = rotor_intent_pass(&h.seed), .say = "last ", .keep = true});
    if (!*which)
        sc.played = 1;
    stage_open(&st, &sc);
    stage_send(&st, "ab");
    if (strcmp(which, " wakeup") == 0)
        assert_int_equal(rotor_wake(st.loop, st.self), 0);
    else if (strcmp(which, " timeout") == 0)
        test_monotonic_ms++;
    else if (strcmp(which, " exception(EEOF)") == 0)
        rotor_memory_shutdown(st.peer);
    stage_turn(&st);
    snprintf(log, sizeof log, "create%s drop", which);
    assert_string_equal(sc.log, log);
    assert_int_equal(sc.drops, 1);
    assert_int_equal(h.released, 1);
    assert_string_equal(h.sc.log, "create read(ab) drop");
    assert_string_equal(stage_received(&st), *which ? "old last new ab" : "last new ab");
    assert_int_equal(st.errors, 0);
    assert_true(rotor_memory_is_closed(st.peer));
    stage_close(&st);
}

static void from_each_transition(void **state)
{
    passes_from("", rotor_intent_sleep());
    passes_from(" read(a)", rotor_expect_bytes(1));
    passes_from(" flushed(0)", rotor_expect_flush(0));
    passes_from(" wakeup", rotor_intent_sleep());
    passes_from(" exception(ELIMIT)", rotor_expect_delimiter("\n", 1, 0));
    passes_from(" exception(EEOF)", rotor_expect_bytes(3));
    passes_from(" timeout", rotor_intent_until(rotor_intent_sleep(), test_monotonic_ms + 1));
}

static void note_input(script *sc, rotor_stream *s, rotor_scope *scope)
{
    rotor_buf *input = rotor_stream_input(s);
    size_t n = rotor_buf_len(input);
    script_note(sc, "[%.*s]", (int)n, n ? rotor_buf_data(input) : "");
}

/* No event is needed: nothing comes any more. */
static void what_was_not_consumed_is_seen_at_once(void **state)
{
    stage st;
    heir h = HEIR({.then = rotor_expect_delimiter("\n", 1, 99)}, {.then = rotor_expect_bytes(1)},
                  {.then = rotor_expect_bytes(99)});
    heir_init(&h);
    h.sc.act = note_input;
    script sc = SCRIPT({.then = rotor_expect_bytes(4)}, {.then = rotor_intent_pass(&h.seed)});
    stage_open(&st, &sc);
    stage_send(&st, "headline\nx and more");
    assert_string_equal(sc.log, "create read(head) drop");
    assert_string_equal(
        h.sc.log, "create [line\nx and more] read(line) [line\nx and more] read(x) [x and more]");
    stage_close(&st);
}

static void much_input_goes_over_too(void **state)
{
    stage st;
    enum { MUCH = 300000 };
    heir h = HEIR({.then = rotor_expect_bytes(MUCH)}, {.then = rotor_expect_bytes(MUCH)});
    heir_init(&h);
    script sc = SCRIPT({.then = rotor_expect_bytes(MUCH)},
                       {.then = rotor_intent_pass(&h.seed), .keep = true});
    char *data = malloc(MUCH);
    memset(data, 'x', MUCH);
    stage_open(&st, &sc);
    rotor_memory_split(st.peer, 5000);
    assert_int_equal(rotor_memory_send(st.peer, data, MUCH), 0);
    stage_turn(&st);
    assert_int_equal(sc.reads, 1);
    assert_int_equal(sc.drops, 1);
    assert_int_equal(h.sc.reads, 1);
    free(data);
    stage_close(&st);
}

static void output_keeps_its_order(void **state)
{
    stage st;
    heir h =
        HEIR({.then = rotor_expect_flush(0), .say = " and new"}, {.then = rotor_intent_done()});
    heir_init(&h);
    script sc =
        SCRIPT({.then = rotor_expect_bytes(1)}, {.then = rotor_intent_pass(&h.seed), .say = "old"});
    stage_open(&st, &sc);
    rotor_memory_window(st.peer, 0);
    stage_send(&st, "x");
    assert_string_equal(h.sc.log, "create");
    assert_int_equal(rotor_stream_unsent(h.sc.stream), 11);
    for (int i = 0; i < 11; i++) {
        assert_string_equal(h.sc.log, "create");
        rotor_memory_window(st.peer, 1);
        stage_turn(&st);
    }
    assert_string_equal(h.sc.log, "create flushed(0) drop");
    assert_string_equal(stage_received(&st), "old and new");
    stage_close(&st);
}

static void output_of_both_leaves_in_one_write(void **state)
{
    stage st;
    heir h = HEIR({.then = rotor_expect_bytes(9), .say = " and new"});
    heir_init(&h);
    script sc =
        SCRIPT({.then = rotor_expect_bytes(1)}, {.then = rotor_intent_pass(&h.seed), .say = "old"});
    stage_open(&st, &sc);
    stage_send(&st, "x");
    assert_string_equal(stage_received(&st), "old and new");
    assert_int_equal(rotor_memory_writes(st.peer), 1);
    stage_close(&st);
}

static void output_that_is_not_taken_stalls(void **state)
{
    stage st;
    heir h = HEIR({.then = rotor_intent_sleep()});
    heir_init(&h);
    h.sc.protocol.stall_ms = 100;
    script sc = SCRIPT(
        {.then = rotor_intent_until(rotor_expect_flush(0), test_monotonic_ms + 60), .say = "old"},
        {.then = rotor_intent_pass(&h.seed)});
    stage_open_loop(&st, 0);
    st.peer = rotor_memory_new();
    rotor_memory_window(st.peer, 0);
    assert_int_equal(rotor_memory_connect(st.peer, st.loop, &sc.protocol, &sc, &st.self), 0);
    stage_wait(&st, 60);
    assert_string_equal(sc.log, "create timeout drop");
    stage_wait(&st, 39);
    assert_string_equal(h.sc.log, "create");
    stage_wait(&st, 1);
    assert_string_equal(h.sc.log, "create fatal(ESTALLED) drop");
    stage_close(&st);
}

/* -- what else it takes along, and what not ---------------------------------------------------- */

static void the_end_that_has_come_is_told(void **state)
{
    stage st;
    heir h = HEIR({.then = rotor_expect_bytes(1)}, {.then = rotor_intent_done(), .say = "bye"});
    heir_init(&h);
    script sc = SCRIPT({.then = rotor_expect_bytes(9)}, {.then = rotor_intent_pass(&h.seed)});
    stage_open(&st, &sc);
    rotor_memory_shutdown(st.peer);
    stage_turn(&st);
    assert_string_equal(sc.log, "create exception(EEOF) drop");
    assert_string_equal(h.sc.log, "create exception(EEOF) drop");
    assert_string_equal(stage_received(&st), "bye");
    stage_close(&st);
}

static void a_direction_stays_shut_down(void **state)
{
    for (int window = 0; window <= 1; window++) {
        stage st;
        heir h = HEIR({.then = rotor_expect_bytes(1), .say = "x"}, {.then = rotor_intent_done()});
        heir_init(&h);
        script sc =
            SCRIPT({.then = rotor_expect_bytes(1)},
                   {.then = rotor_intent_pass(&h.seed), .say = "last words", .shutdown = true});
        stage_open(&st, &sc);
        if (!window)
            rotor_memory_window(st.peer, 0);
        stage_send(&st, "a");
        assert_int_equal(h.sc.said, ROTOR_ECLOSED);
        assert_int_equal(rotor_memory_is_shutdown(st.peer), window);
        rotor_memory_window(st.peer, SIZE_MAX);
        stage_turn(&st);
        assert_true(rotor_memory_is_shutdown(st.peer));
        assert_string_equal(stage_received(&st), "last words");
        stage_send(&st, "b");
        assert_string_equal(h.sc.log, "create read(b) drop");
        stage_close(&st);
    }
}

static void the_deadline_stays_behind(void **state)
{
    stage st;
    heir h = HEIR({.then = rotor_expect_bytes(1)});
    heir_init(&h);
    script sc = SCRIPT({.then = rotor_intent_until(rotor_expect_bytes(1), test_monotonic_ms + 5)},
                       {.then = rotor_intent_until(rotor_intent_pass(&h.seed), 1)});
    stage_open(&st, &sc);
    stage_send(&st, "a");
    stage_wait(&st, 1000);
    assert_string_equal(h.sc.log, "create");
    assert_int_equal(h.released, 1);
    stage_close(&st);
}

static void wake_self(script *sc, rotor_stream *s, rotor_scope *scope)
{
    assert_int_equal(rotor_wake(scope->loop, s->machine.self), 0);
}

static void end_self(script *sc, rotor_stream *s, rotor_scope *scope)
{
    assert_int_equal(rotor_end(scope->loop, s->machine.self, UV_EINTR), 0);
}

static void again_self(script *sc, rotor_stream *s, rotor_scope *scope)
{
    rotor_again(scope);
}

static void what_wakes_it_wakes_the_next(void **state)
{
    stage st;
    heir h = HEIR({.then = rotor_expect_bytes(1)}, {.then = rotor_expect_bytes(1)});
    heir_init(&h);
    script sc = SCRIPT({.then = rotor_intent_pass(&h.seed)});
    sc.act = wake_self;
    stage_open(&st, &sc);
    stage_turn(&st);
    assert_true(is_alive(&st, &h.sc));
    assert_string_equal(h.sc.log, "create wakeup");
    assert_int_equal(rotor_wake(st.loop, st.self), 0);
    stage_turn(&st);
    assert_string_equal(h.sc.log, "create wakeup wakeup");
    stage_close(&st);
}

/* Woken twice, of which the first passes it on; and it is owed to be run again, too. */
static void what_it_was_owed_when_it_was_woken_is_the_nexts(void **state)
{
    stage st;
    heir h = HEIR({.then = rotor_expect_bytes(1)}, {.then = rotor_expect_bytes(1)});
    heir_init(&h);
    script sc = SCRIPT({.then = rotor_expect_bytes(1)}, {.then = rotor_intent_pass(&h.seed)});
    sc.act = again_self;
    stage_open(&st, &sc);
    assert_int_equal(rotor_memory_send(st.peer, "a", 1), 0); /* by rotor__machine_again */
    assert_int_equal(rotor_wake(st.loop, st.self), 0);
    stage_turn(&st);
    assert_string_equal(sc.log, "create read(a) drop");
    assert_string_equal(h.sc.log, "create wakeup");
    stage_close(&st);
}

static rotor_response add_and_wake(probe *p, rotor_scope *scope)
{
    rotor_handle self;
    assert_int_equal(rotor_add(scope->loop, &rotor_stream_type, p->plan->context, &self), 0);
    assert_int_equal(rotor_wake(scope->loop, self), 0);
    return rotor_done();
}

static void what_it_was_owed_before_it_was_created_is_the_nexts(void **state)
{
    stage st;
    int near, far;
    heir h = HEIR({.then = rotor_expect_bytes(1)});
    heir_init(&h);
    script sc = SCRIPT({.then = rotor_intent_pass(&h.seed)});
    stage_open_loop(&st, 0);
    probe_reset();
    sockets_pair(AF_UNIX, &near, &far);
    rotor_stream_seed seed = {.protocol = &sc.protocol, .fd = near, .seed = &sc};
    probe_plan adder = {.name = "adder", .context = &seed, .on[CREATE] = add_and_wake};
    probe_add(st.loop, &adder);
    assert_string_equal(sc.log, "create drop");
    assert_string_equal(h.sc.log, "create wakeup");
    close(far);
    stage_close(&st);
}

static void ended_from_outside_before_it_begins(void **state)
{
    stage st;
    heir h = HEIR({.then = rotor_expect_bytes(1)});
    heir_init(&h);
    script sc = SCRIPT({.then = rotor_expect_bytes(1)}, {.then = rotor_intent_pass(&h.seed)});
    stage_open(&st, &sc);
    sc.act = end_self;
    stage_send(&st, "a");
    assert_string_equal(sc.log, "create read(a) drop");
    assert_string_equal(h.sc.log, "");
    assert_int_equal(h.released, 1);
    assert_int_equal(st.errors, 1);
    assert_int_equal(st.error, UV_EINTR);
    assert_true(stage_is_over(&st));
    assert_true(rotor_memory_is_closed(st.peer));
    stage_close(&st);
}

/* -- many ------------------------------------------------------------------------------------- */

static rotor_intent pass_again(rotor_stream *s, rotor_scope *scope, void *seed);

static const rotor_protocol relay = {
    .name = "relay", .size = sizeof(rotor_stream), .create = pass_again};

/* For as long as its count has not run out. */
static rotor_intent pass_again(rotor_stream *s, rotor_scope *scope, void *seed)
{
    long *left = seed;
    rotor_stream_seed next = {.protocol = &relay, .seed = seed};
    return (*left)-- > 0 ? rotor_intent_pass(&next) : rotor_intent_done();
}

static void it_may_go_on_and_on(void **state)
{
    stage st;
    probe_plan other = {.name = "other"};
    long left = 5000;
    stage_open_loop(&st, 2);
    probe_reset();
    probe_add(st.loop, &other);
    st.peer = rotor_memory_new();
    assert_int_equal(rotor_memory_connect(st.peer, st.loop, &relay, &left, &st.self), 0);
    assert_true(left > 0); /* others have their turn */
    rotor_handle self = st.self;
    assert_non_null(rotor_find(st.loop, self));
    stage_turn(&st);
    assert_int_equal(left, -1);
    assert_true(stage_is_over(&st));
    assert_int_equal(rotor_loop_count(st.loop), 1);
    stage_close(&st);
}

static void a_loop_that_ends_meanwhile_frees_all(void **state)
{
    for (int memory = 0; memory <= 1; memory++) {
        stage st;
        long left = LONG_MAX;
        int near, far = -1;
        stage_open_loop(&st, 0);
        if (memory) {
            st.peer = rotor_memory_new();
            assert_int_equal(rotor_memory_connect(st.peer, st.loop, &relay, &left, &st.self), 0);
        } else {
            sockets_pair(AF_UNIX, &near, &far);
            rotor_stream_seed seed = {.protocol = &relay, .fd = near, .seed = &left};
            assert_int_equal(rotor_add(st.loop, &rotor_stream_type, &seed, &st.self), 0);
        }
        assert_false(stage_is_over(&st));
        stage_close(&st);
        if (far >= 0)
            close(far);
    }
}

/* -- when it cannot be ------------------------------------------------------------------------- */

static void a_protocol_that_is_none_is_an_error(void **state)
{
    for (int from_create = 0; from_create <= 1; from_create++) {
        stage st;
        heir h = HEIR({.then = rotor_expect_bytes(1)});
        heir_init(&h);
        h.sc.protocol.size = sizeof(rotor_stream) - 1;
        script sc = SCRIPT({.then = rotor_expect_bytes(1)},
                           {.then = rotor_intent_pass(&h.seed), .say = "hello"});
        sc.played = from_create ? 1 : 0;
        stage_open_loop(&st, 0);
        st.peer = rotor_memory_new();
        int error = rotor_memory_connect(st.peer, st.loop, &sc.protocol, &sc, &st.self);
        assert_int_equal(error, from_create ? UV_EINVAL : 0);
        stage_send(&st, "a");
        assert_string_equal(sc.log, from_create ? "create drop" : "create read(a) drop");
        assert_string_equal(h.sc.log, "");
        assert_int_equal(h.released, 1);
        assert_int_equal(st.errors, !from_create); /* otherwise it was returned */
        assert_true(rotor_memory_is_closed(st.peer));
        assert_string_equal(stage_received(&st), "");
        stage_close(&st);
    }
}

static int told;

static void note_error(rotor_loop *loop, rotor_machine *m, int error)
{
    assert_int_equal(error, UV_ENOMEM);
    told++;
}

static void short_of_memory(int family)
{
    rotor_loop *loop = NULL;
    rotor_memory *peer = NULL;
    rotor_config config = {.clock = &test_clock, .on_error = note_error};
    rotor_handle self = ROTOR_NO_HANDLE;
    int near = -1, far = -1, error;
    heir h = HEIR({.then = rotor_expect_bytes(3), .say = "new"},
                  {.then = rotor_intent_done(), .echo = true});
    heir_init(&h);
    script sc =
        SCRIPT({.then = rotor_expect_bytes(1)}, {.then = rotor_intent_pass(&h.seed), .say = "old"});
    told = 0;
    error = rotor_loop_new(&loop, &config);
    if (!error && family == AF_UNSPEC) {
        peer = rotor_memory_new();
        error = peer ? rotor_memory_connect(peer, loop, &sc.protocol, &sc, &self) : UV_ENOMEM;
        if (!error)
            error = rotor_memory_send(peer, "abcd", 4);
    } else if (!error) {
        sockets_pair(family, &near, &far);
        rotor_stream_seed seed = {.protocol = &sc.protocol, .fd = near, .seed = &sc};
        error = rotor_add(loop, &rotor_stream_type, &seed, &self);
        if (seed.fd >= 0)
            close(seed.fd);
        sockets_send(far, "abcd");
    }
    for (int i = 0; i < 20 && loop && rotor_find(loop, self); i++)
        assert_int_equal(rotor_loop_turn(loop), 0);
    bool passed = sc.reads == 1;
    assert_true(!passed || h.released == 1);
    assert_true(!passed || sc.drops == 1);
    assert_true(!passed || h.sc.creates == 1 || told == 1);
    assert_true(passed || error || told || test_alloc_failed() > 0);
    if (test_alloc_failed() == 0)
        assert_string_equal(h.sc.log, "create read(bcd) drop");
    if (loop)
        assert_int_equal(rotor_loop_free(loop), 0);
    if (peer)
        rotor_memory_free(peer);
    if (far >= 0)
        close(far);
    assert_int_equal(sc.drops, sc.creates);
    assert_int_equal(h.sc.drops, h.sc.creates);
}

static void short_of_memory_over_memory(void)
{
    short_of_memory(AF_UNSPEC);
}

static void short_of_memory_over_tcp(void)
{
    short_of_memory(AF_INET);
}

static void without_memory_it_is_closed(void **state)
{
    test_out_of_memory(short_of_memory_over_memory);
    test_out_of_memory(short_of_memory_over_tcp);
}

static void a_full_loop_has_room_for_it(void **state)
{
    stage st;
    heir h = HEIR({.then = rotor_expect_bytes(1)});
    heir_init(&h);
    script sc = SCRIPT({.then = rotor_expect_bytes(1)}, {.then = rotor_intent_pass(&h.seed)});
    stage_open_loop(&st, 1);
    st.peer = rotor_memory_new();
    assert_int_equal(rotor_memory_connect(st.peer, st.loop, &sc.protocol, &sc, &st.self), 0);
    stage_send(&st, "a");
    assert_int_equal(rotor_loop_count(st.loop), 1);
    assert_true(is_alive(&st, &h.sc));
    stage_close(&st);
}

/* -- over sockets ------------------------------------------------------------------------------ */

static void sockets_go_over(void **state)
{
    static const int families[] = {AF_UNIX, AF_INET};
    for (size_t i = 0; i < 2; i++) {
        stage st;
        int near, far;
        heir last = HEIR({.then = rotor_expect_bytes(1), .say = "3"},
                         {.then = rotor_expect_bytes(1), .echo = true});
        heir_init(&last);
        heir h = HEIR({.then = rotor_expect_bytes(1), .say = "2"},
                      {.then = rotor_intent_pass(&last.seed), .echo = true});
        heir_init(&h);
        script sc = SCRIPT({.then = rotor_expect_bytes(1), .say = "1"},
                           {.then = rotor_intent_pass(&h.seed), .echo = true});
        stage_open_loop(&st, 0);
        sockets_pair(families[i], &near, &far);
        int descriptors = test_descriptors();
        rotor_stream_seed seed = {.protocol = &sc.protocol, .fd = near, .seed = &sc};
        assert_int_equal(rotor_add(st.loop, &rotor_stream_type, &seed, &st.self), 0);
        sockets_expect(st.loop, far, "1");
        size_t blocks = test_alloc_live();
        sockets_send(far, "a");
        sockets_expect(st.loop, far, "a2");
        sockets_send(far, "b");
        sockets_expect(st.loop, far, "b3");
        for (int n = 0; n < 3; n++) {
            sockets_send(far, "c");
            sockets_expect(st.loop, far, "c");
        }
        assert_int_equal(test_alloc_live(), blocks);
        assert_int_equal(test_descriptors(), descriptors);
        assert_true(is_alive(&st, &last.sc));
        close(far);
        TURN_UNTIL(st.loop, stage_is_over(&st));
        assert_string_equal(sc.log, "create read(a) drop");
        assert_string_equal(h.sc.log, "create read(b) drop");
        assert_string_equal(last.sc.log, "create read(c) read(c) read(c) exception(EEOF) drop");
        assert_int_equal(st.errors, 0);
        stage_close(&st);
    }
}

static void its_peer_is_known_to_the_last(void **state)
{
    stage st;
    int near, far;
    heir h = HEIR({.then = rotor_expect_bytes(1)});
    char before[64], after[64];
    heir_init(&h);
    script sc = SCRIPT({.then = rotor_expect_bytes(1)}, {.then = rotor_intent_pass(&h.seed)});
    stage_open_loop(&st, 0);
    sockets_pair(AF_INET, &near, &far);
    rotor_stream_seed seed = {.protocol = &sc.protocol, .fd = near, .seed = &sc};
    assert_int_equal(rotor_add(st.loop, &rotor_stream_type, &seed, &st.self), 0);
    assert_int_equal(rotor_stream_peer(sc.stream, before, sizeof before), 0);
    sockets_send(far, "a");
    TURN_UNTIL(st.loop, h.sc.stream);
    assert_int_equal(rotor_stream_peer(h.sc.stream, after, sizeof after), 0);
    assert_string_equal(before, after);
    close(far);
    stage_close(&st);
}

/* Who keeps a connection alive keeps it whatever it runs. */
static void it_stays_its_parents(void **state)
{
    persisting f;
    char where[128];
    heir h = HEIR({.then = rotor_expect_bytes(1), .say = "new"}, {.then = rotor_intent_done()});
    heir_init(&h);
    persisting_begin(&f, 0);
    f.lines[1].then = rotor_intent_pass(&h.seed);
    int listener = sockets_listen("127.0.0.1:0", 10, where);
    persisting_to(&f, where);
    int fd = sockets_accept(f.st.loop, listener);
    persisting_await_up(&f, 1);
    rotor_handle stream = rotor_persist_stream(f.st.loop, f.st.self);
    sockets_send(fd, "hello");
    sockets_expect(f.st.loop, fd, "new");
    assert_string_equal(f.sc.log, "create up read(hello) drop");
    assert_int_equal(f.downs, 0);
    assert_ptr_equal(rotor_find(f.st.loop, stream), &h.sc.stream->machine);
    assert_int_equal(rotor_persist_stream(f.st.loop, f.st.self).slot, stream.slot);
    sockets_send(fd, "x");
    persisting_await_down(&f, 1);
    assert_string_equal(h.sc.log, "create read(x) drop");
    assert_int_equal(f.error, 0);
    close(fd);
    close(listener);
    persisting_end(&f);
}

/* And its end is his end: what came over is dropped, too. */
static void it_ends_with_its_parent(void **state)
{
    for (int n = 1; n <= 2; n++) { /* passed on once, or twice, and then just before it begins */
        persisting f;
        char where[128];
        heir last = HEIR({.then = rotor_expect_bytes(1)});
        heir_init(&last);
        heir h = HEIR({.then = n == 1 ? rotor_expect_bytes(1) : rotor_intent_pass(&last.seed)});
        heir_init(&h);
        persisting_begin(&f, 0);
        f.lines[0].then = rotor_intent_pass(&h.seed);
        int listener = sockets_listen("127.0.0.1:0", 10, where);
        persisting_to(&f, where);
        int fd = sockets_accept(f.st.loop, listener);
        persisting_await_up(&f, 1);
        assert_int_equal(rotor_end(f.st.loop, f.st.self, 0), 0);
        stage_turn(&f.st);
        assert_int_equal(h.sc.drops, 1);
        assert_int_equal(last.sc.drops, last.sc.creates);
        assert_int_equal(last.released, n - 1);
        assert_int_equal(rotor_loop_count(f.st.loop), 0);
        assert_int_equal(sockets_end(f.st.loop, fd, NULL), 0);
        close(fd);
        close(listener);
        persisting_end(&f);
    }
}

/* -- traced ------------------------------------------------------------------------------------ */

static void a_trace_shows_where_it_was_passed_on(void **state)
{
    stage st;
    heir h = HEIR({.then = rotor_expect_bytes(1)}, {.then = rotor_intent_done()});
    heir_init(&h);
    rotor_trace *next = traced_new(&h.sc.protocol);
    h.seed.protocol = rotor_trace_protocol(next);
    script sc = SCRIPT({.then = rotor_expect_bytes(1)}, {.then = rotor_intent_pass(&h.seed)});
    rotor_trace *trace = traced_open(&st, &sc, SIZE_MAX);
    stage_send(&st, "ab");
    traced_has(trace, "state0 -> pass [label=\" bytes_read 1\"]");
    traced_has(trace, "pass [label=\"pass 1\", shape=ellipse]");
    traced_has(next, "start -> state0 [label=\" create 1\"]");
    traced_has(next, "state0 -> done [label=\" bytes_read 1\"]");
    rotor_trace_free(next);
    traced_close(&st, trace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(from_each_transition),
        TEST(what_was_not_consumed_is_seen_at_once),
        TEST(much_input_goes_over_too),
        TEST(output_keeps_its_order),
        TEST(output_of_both_leaves_in_one_write),
        TEST(output_that_is_not_taken_stalls),
        TEST(the_end_that_has_come_is_told),
        TEST(a_direction_stays_shut_down),
        TEST(the_deadline_stays_behind),
        TEST(what_wakes_it_wakes_the_next),
        TEST(what_it_was_owed_when_it_was_woken_is_the_nexts),
        TEST(what_it_was_owed_before_it_was_created_is_the_nexts),
        TEST(ended_from_outside_before_it_begins),
        TEST(it_may_go_on_and_on),
        TEST(a_loop_that_ends_meanwhile_frees_all),
        TEST(a_protocol_that_is_none_is_an_error),
        TEST(without_memory_it_is_closed),
        TEST(a_full_loop_has_room_for_it),
        TEST(sockets_go_over),
        TEST(its_peer_is_known_to_the_last),
        TEST(it_stays_its_parents),
        TEST(it_ends_with_its_parent),
        TEST(a_trace_shows_where_it_was_passed_on),
    };
    return cmocka_run_group_tests_name("stream_pass", tests, NULL, NULL);
}
