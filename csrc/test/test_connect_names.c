/* Connecting to a name of several addresses (RFC 8305): which is tried when, who wins, and what is left.
**
** An address is written as its family and what becomes of an attempt: "4ok" answers, "6drop" is silent
** for ever, "4shut" refuses, "4off" has no route. All are on the loopback, at one port; those of
** IPv6 are mapped ones, of which there are as many. */
#include "test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <unistd.h>

#include "../core/private.h"
#include "../stream/connect.h"
#include "names.h"
#include "script.h"
#include "sockets.h"
#include "support.h"

enum { MOST = 6 };

/* -- the network ------------------------------------------------------------------------------- */

typedef struct net {
    char hosts[256], address[32];
    int reserved; /* the port, on an address that nobody connects to */
    int n;
    int listeners[MOST]; /* -1: none; those of silent addresses are in `crowds` */
    sockets_crowd crowds[MOST];
} net;

static void add_host(net *t, const char *word, const char *port)
{
    char host[32], where[40];
    bool silent = strcmp(word + 1, "drop") == 0, off = strcmp(word + 1, "off") == 0;
    snprintf(host, sizeof host, "127.0.0.%d", 11 + t->n);
    snprintf(where, sizeof where, "%s:%s", host, port);
    t->listeners[t->n] = strcmp(word + 1, "ok") == 0 ? sockets_listen(where, 10, NULL) : -1;
    t->crowds[t->n].n = 0;
    if (silent)
        sockets_gather(&t->crowds[t->n], where);
    size_t used = strlen(t->hosts);
    snprintf(t->hosts + used, sizeof t->hosts - used, "%s%s%s", used ? " " : "",
             word[0] == '6' ? "::ffff:" : "", off ? "224.0.0.1" /* TCP goes to no group */ : host);
    t->n++;
}

/* `words` NULL: there is no such name. */
static void net_open(net *t, const char *words)
{
    char where[128], word[16];
    *t = (net){.reserved = sockets_listen("127.0.0.1:0", 1, where)};
    const char *port = strrchr(where, ':') + 1;
    for (int used; words && sscanf(words, "%15s%n", word, &used) == 1; words += used)
        add_host(t, word, port);
    snprintf(t->address, sizeof t->address, "set.test:%s", port);
    names_set(words ? t->hosts : NULL);
}

static void net_close(net *t)
{
    for (int i = 0; i < t->n; i++) {
        if (t->listeners[i] >= 0)
            close(t->listeners[i]);
        if (t->crowds[i].n > 0)
            sockets_disperse(&t->crowds[i]);
    }
    close(t->reserved);
    names_set(NULL);
}

/* -- the one who connects ---------------------------------------------------------------------- */

typedef struct fixture {
    net t;
    stage st;
    script sc;
    script_line lines[2];
    int idle; /* descriptors that are open without an attempt */
} fixture;

static void begin(fixture *f, const char *words, uint32_t timeout_ms)
{
    int mapped = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memset(f, 0, sizeof *f);
    if (mapped < 0)
        skip(); /* this machine has no IPv6 at all */
    close(mapped);
    net_open(&f->t, words);
    stage_open_loop(&f->st, 0);
    f->lines[0] = (script_line){.then = rotor_expect_bytes(5), .say = "hello"};
    f->lines[1] = (script_line){.then = rotor_intent_done()};
    f->sc = (script){.protocol = script_protocol, .lines = f->lines, .nlines = 2, .context = f};
    f->idle = test_descriptors();
    rotor_connect_options options = {.seed = &f->sc, .timeout_ms = timeout_ms};
    assert_int_equal(
        rotor_connect(f->st.loop, f->t.address, &f->sc.protocol, &options, &f->st.self), 0);
}

/* Each attempt has one. */
static int attempts(const fixture *f)
{
    return test_descriptors() - f->idle;
}

static void turn_once(fixture *f)
{
    assert_int_equal(rotor_loop_turn(f->st.loop), 0);
}

/* Until the look-up has come back and the first attempts are made. */
static void look_up(fixture *f)
{
    for (int left = 10000; attempts(f) == 0 && !stage_is_over(&f->st); left--) {
        assert_true(left > 0);
        turn_once(f);
        if (attempts(f) == 0)
            sockets_wait(f->st.loop);
    }
}

/* The stream talks to who listens at `place`, and there is nothing else left. */
static void expect_connection(fixture *f, int place)
{
    TURN_UNTIL(f->st.loop, f->sc.creates == 1);
    assert_int_equal(attempts(f), 1);
    int fd = sockets_accept(f->st.loop, f->t.listeners[place]);
    sockets_expect(f->st.loop, fd, "hello");
    close(fd);
}

static void end(fixture *f)
{
    assert_int_equal(rotor_loop_free(f->st.loop), 0);
    assert_int_equal(f->sc.drops, f->sc.creates);
    net_close(&f->t);
}

/* -- which and when ---------------------------------------------------------------------------- */

/* Of the addresses, whose families are given, that at `place` is the `nth` to be tried (from 0), and it
** is not before its time. */
static void assert_tried(const char *families, int place, int nth)
{
    fixture f;
    char words[MOST * 8] = "";
    for (int i = 0; families[i]; i++)
        snprintf(words + strlen(words), 8, "%c%s ", families[i], i == place ? "ok" : "drop");
    begin(&f, words, 0);
    look_up(&f);
    for (int i = 0; i < nth; i++) {
        assert_int_equal(attempts(&f), i + 1);
        stage_wait(&f.st, 249);
        assert_int_equal(attempts(&f), i + 1);
        assert_string_equal(f.sc.log, "");
        test_monotonic_ms++;
        turn_once(&f);
    }
    expect_connection(&f, place);
    end(&f);
}

static void families_take_turns(void **state)
{
    static const struct {
        const char *families, *order;
    } cases[] = {{"4466", "0213"}, {"6644", "0213"}, {"44466", "03142"}, {"644444", "012345"},
                 {"4644", "0123"}, {"444", "012"},   {"66", "01"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int nth = 0; cases[i].order[nth]; nth++)
            assert_tried(cases[i].families, cases[i].order[nth] - '0', nth);
}

static void who_fails_is_followed_at_once(void **state)
{
    fixture f;
    begin(&f, "4shut 6shut 4off 4shut 4ok", 0);
    look_up(&f);
    expect_connection(&f, 4);
    end(&f);

    begin(&f, "4drop 4shut 4drop 4shut 4shut 4ok", 0);
    look_up(&f);
    assert_int_equal(attempts(&f), 1);
    stage_wait(&f.st, 249);
    assert_int_equal(attempts(&f), 1);
    stage_wait(&f.st, 1);
    TURN_UNTIL(f.st.loop, attempts(&f) == 2); /* the second has failed, the third is under way */
    stage_wait(&f.st, 249);                   /* counted from when that began */
    assert_int_equal(attempts(&f), 2);
    stage_wait(&f.st, 1);
    expect_connection(&f, 5);
    end(&f);
}

static void an_earlier_attempt_may_win(void **state)
{
    fixture f;
    begin(&f, "4ok 4drop 4ok", 0);
    look_up(&f);
    assert_int_equal(attempts(&f), 1);
    test_monotonic_ms += 250; /* looked at before the sockets are */
    turn_once(&f);
    expect_connection(&f, 0);
    stage_wait(&f.st, 1000); /* nor is the third tried any more */
    assert_int_equal(accept(f.t.listeners[2], NULL, NULL), -1);
    end(&f);
}

static void of_two_at_once_one_is_closed(void **state)
{
    fixture f;
    begin(&f, "4ok 6ok", 0);
    look_up(&f);
    test_monotonic_ms += 250;
    turn_once(&f); /* begins the second, and finds both connected */
    TURN_UNTIL(f.st.loop, f.sc.creates == 1);
    assert_int_equal(attempts(&f), 1);
    int closed = 0;
    for (int i = 0; i < 2; i++) {
        char text[8] = "";
        int fd = sockets_accept(f.st.loop, f.t.listeners[i]);
        TURN_UNTIL(f.st.loop, recv(fd, text, sizeof text - 1, 0) >= 0);
        assert_true(!text[0] || strcmp(text, "hello") == 0);
        closed += !text[0];
        close(fd);
    }
    assert_int_equal(closed, 1);
    end(&f);
}

/* -- failures ---------------------------------------------------------------------------------- */

static void the_most_telling_error_is_told(void **state)
{
    static const struct {
        const char *words;
        int error;
    } cases[] = {{"4off", UV_ENETUNREACH},
                 {"4off 4off", UV_ENETUNREACH},
                 {"4off 6shut", UV_ECONNREFUSED},
                 {"4shut 4off", UV_ECONNREFUSED},
                 {"4off 4shut 4off 6off", UV_ECONNREFUSED},
                 {"", UV_EAI_NODATA},
                 {NULL, UV_EAI_NONAME}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fixture f;
        begin(&f, cases[i].words, 0);
        TURN_UNTIL(f.st.loop, stage_is_over(&f.st));
        assert_int_equal(f.st.error, cases[i].error);
        assert_int_equal(f.sc.fatals, 1);
        assert_int_equal(attempts(&f), 0);
        end(&f);
    }
}

static void one_deadline_is_for_all(void **state)
{
    static const struct {
        const char *words;
        uint32_t ms;
        int attempts;
    } cases[] = {{"4drop 6drop 4drop", 200, 1},
                 {"4drop 6drop 4drop", 250, 1},
                 {"4drop 6drop 4drop", 251, 2},
                 {"4drop 6drop 4drop", 700, 3},
                 {"4drop", 0, 1},
                 {"4drop 4shut 4shut", 0, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fixture f;
        uint32_t left = cases[i].ms ? cases[i].ms : 10000;
        begin(&f, cases[i].words, cases[i].ms);
        look_up(&f);
        for (; left > 250; left -= 250) {
            stage_wait(&f.st, 250);
            TURN_UNTIL(f.st.loop, attempts(&f) <= cases[i].attempts);
        }
        stage_wait(&f.st, left - 1);
        assert_string_equal(f.sc.log, "");
        assert_int_equal(attempts(&f), cases[i].attempts);
        stage_wait(&f.st, 1);
        assert_string_equal(f.sc.log, "fatal(ETIMEDOUT)");
        assert_int_equal(attempts(&f), 0);
        assert_true(stage_is_over(&f.st));
        end(&f);
    }
}

/* -- threads and memory ------------------------------------------------------------------------ */

static void a_numeric_address_waits_for_no_thread(void **state)
{
    static const char *const hosts[] = {"127.0.0.1:", ":", "[::ffff:127.0.0.1]:"};
    enum { THREADS = 4 };
    fixture f;
    rotor_handle stuck[THREADS];
    names_hold();
    begin(&f, "4ok", 0);
    assert_int_equal(rotor_end(f.st.loop, f.st.self, 0), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(rotor_connect(f.st.loop, "slow.test:1", &f.sc.protocol, NULL, &stuck[i]),
                         0);
    names_wait(2); /* as many as libuv does at a time, of four threads */
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        char where[40];
        snprintf(where, sizeof where, "%s%s", hosts[i], strrchr(f.t.address, ':') + 1);
        rotor_connect_options options = {.seed = &f.sc};
        f.sc.played = 0;
        assert_int_equal(rotor_connect(f.st.loop, where, &f.sc.protocol, &options, &f.st.self), 0);
        int fd = sockets_accept(f.st.loop, f.t.reserved);
        sockets_expect(f.st.loop, fd, "hello");
        close(fd);
        TURN_UNTIL(f.st.loop, stage_is_over(&f.st));
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(rotor_end(f.st.loop, stuck[i], 0), 0);
    stage_turn(&f.st);
    names_release();
    end(&f);
}

static net short_of_memory;

static int told; /* by on_error */

static void on_error(rotor_loop *loop, rotor_machine *m, int error)
{
    told = error;
}

static void connect_short_of_memory(void)
{
    script sc = SCRIPT({.then = rotor_intent_done()});
    rotor_config config = {.clock = &test_clock, .on_error = on_error};
    rotor_loop *loop;
    rotor_handle self;
    rotor_connect_options options = {.seed = &sc};
    told = 0;
    int error = rotor_loop_new(&loop, &config);
    if (error)
        return;
    int idle = test_descriptors();
    error = rotor_connect(loop, short_of_memory.address, &sc.protocol, &options, &self);
    bool tried = false;
    for (int left = 10000; !error && rotor_find(loop, self); left--) {
        assert_true(left > 0);
        sockets_turn(loop);
        tried |= test_descriptors() > idle; /* the look-up takes time, but none of this clock */
        test_monotonic_ms += tried ? 50 : 0;
    }
    /* With the one that would have answered left out, the silent ones are waited for. */
    assert_true(told == UV_ENOMEM || told == ROTOR_ETIMEDOUT || (sc.creates == 1 && told == 0) ||
                error == UV_ENOMEM);
    assert_true(told == 0 || test_alloc_failed() > 0);
    assert_int_equal(sc.drops, sc.creates);
    assert_int_equal(rotor_loop_free(loop), 0);
}

static void any_allocation_may_fail(void **state)
{
    net_open(&short_of_memory, "4shut 4drop 4off 4drop 4ok");
    test_out_of_memory(connect_short_of_memory);
    net_close(&short_of_memory);
}

int main(void)
{
    (void)setenv("UV_THREADPOOL_SIZE", "4", 1);
    const struct CMUnitTest tests[] = {
        TEST(families_take_turns),
        TEST(who_fails_is_followed_at_once),
        TEST(an_earlier_attempt_may_win),
        TEST(of_two_at_once_one_is_closed),
        TEST(the_most_telling_error_is_told),
        TEST(one_deadline_is_for_all),
        TEST(a_numeric_address_waits_for_no_thread),
        TEST(any_allocation_may_fail),
    };
    return cmocka_run_group_tests_name("connect_names", tests, NULL, NULL);
}
