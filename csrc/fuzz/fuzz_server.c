/* libFuzzer target for the whole HTTP server, over the transport in memory, with handlers that get bodies
** whole and answer in one go, and with such as get and answer them in pieces. Whatever is sent, and
** however it is split: the same answers come, each of them is well formed and there is one for each
** request handled, nothing follows one that closes, and nothing is left behind. Then once more with a
** client that falls silent, and with memory that runs out. */
#include "../core/alloc.h"
#include "../http/server.h"
#include "../stream/memory.h"

#include <stdlib.h>
#include <string.h>

#define REQUIRE(condition) ((condition) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* -- memory and time --------------------------------------------------------------------------- */

static size_t live;          /* blocks */
static size_t until_failure; /* allocations until they begin to fail, that one included; 0: never */
static bool failed;

static void *resize(void *context, void *ptr, size_t size)
{
    if (size == 0) {
        live--;
        free(ptr);
        return NULL;
    }
    if (until_failure > 1) {
        until_failure--;
    } else if (until_failure == 1) { /* and so does all that follows */
        failed = true;
        return NULL;
    }
    live += !ptr;
    return realloc(ptr, size);
}

static uint64_t now = 1;

static uint64_t read_now(void *context)
{
    return now;
}

static uint64_t read_wall(void *context)
{
    return 784111777000;
}

/* -- the server -------------------------------------------------------------------------------- */

enum { MOST_REQUESTS = 1 << 16 };

static size_t requests, overs, answers;
static bool to_head[MOST_REQUESTS]; /* of each answer */

static bool is(rotor_text text, const char *other)
{
    return text.len == strlen(other) && memcmp(text.data, other, text.len) == 0;
}

/* The request's target and body, as they were understood. */
static rotor_response answer(rotor_http *h, rotor_scope *scope)
{
    rotor_text target = rotor_http_target(h), body = rotor_http_body(h), name, value;
    size_t len = target.len + body.len;
    char *text = malloc(len + 1);
    REQUIRE(text);
    memcpy(text, target.data, target.len);
    if (body.len > 0)
        memcpy(text + target.len, body.data, body.len);
    int error = 0;
    for (size_t i = 0; !error && rotor_http_header_at(h, i, &name, &value); i++) {
        error = rotor_http_add(h, name, value); /* most of which are harmless */
        if (error == ROTOR_EHEADER || is(name, "content-length"))
            error = 0;
    }
    to_head[answers] = is(rotor_http_method(h), "HEAD");
    if (!error)
        error = rotor_http_send(h, 200, (rotor_text){text, len});
    if (error == ROTOR_EBODY)
        error = rotor_http_send(h, 404, (rotor_text){text, 0});
    free(text);
    if (error)
        return rotor_error(error);
    REQUIRE(++answers < MOST_REQUESTS);
    return rotor_done();
}

static rotor_response received(rotor_http *h, rotor_scope *scope)
{
    requests++;
    return rotor_http_query(h).data ? rotor_ok() : answer(h, scope);
}

static void over(rotor_http *h)
{
    overs++;
    rotor_text target = rotor_http_target(h), body = rotor_http_body(h);
    REQUIRE(!target.data || memchr(target.data, ' ', target.len) == NULL);
    REQUIRE(!body.data || body.len <= 64);
    REQUIRE(rotor_http_send(h, 200, body) == ROTOR_ESTATE);
}

static const rotor_http_handler handler = {
    .name = "fuzz", .request_received = received, .wakeup = answer, .request_over = over};

/* -- and piece by piece ------------------------------------------------------------------------ */

typedef struct gathered {
    size_t len;
    char bytes[64];
} gathered;

static rotor_http_receive gather(rotor_http *h, rotor_scope *scope)
{
    requests++;
    *rotor_http_data(h) = calloc(1, sizeof(gathered));
    REQUIRE(*rotor_http_data(h));
    rotor_http_receive how = rotor_http_progressive(sizeof((gathered *)NULL)->bytes);
    return rotor_http_query(h).data ? rotor_http_receive_hold(how) : how;
}

static rotor_response gather_more(rotor_http *h, rotor_scope *scope, rotor_text data)
{
    gathered *g = *rotor_http_data(h);
    REQUIRE(data.len > 0 && g->len + data.len <= sizeof g->bytes);
    memcpy(g->bytes + g->len, data.data, data.len);
    g->len += data.len;
    return rotor_http_query(h).data ? rotor_http_hold(rotor_ok()) : rotor_ok();
}

static rotor_response go_on(rotor_http *h, rotor_scope *scope)
{
    return rotor_ok();
}

static int answer_in_pieces(rotor_http *h, const gathered *g)
{
    rotor_text name, value;
    int error = rotor_http_write(h, rotor_http_target(h));
    for (size_t at = 0; !error && at < g->len; at += 7) {
        size_t n = g->len - at < 7 ? g->len - at : 7;
        error = rotor_http_write(h, (rotor_text){g->bytes + at, n});
    }
    for (size_t i = 0; !error && rotor_http_trailer_at(h, i, &name, &value); i++) {
        error = rotor_http_trailer(h, name, value);
        if (error == ROTOR_ESTATE) /* none in HTTP/1.0 */
            error = 0;
    }
    return error;
}

static rotor_response gathered_all(rotor_http *h, rotor_scope *scope)
{
    bool connect = is(rotor_http_method(h), "CONNECT"); /* which has no body */
    to_head[answers] = connect || is(rotor_http_method(h), "HEAD");
    int error = rotor_http_start(h, 200);
    if (!error && !connect)
        error = answer_in_pieces(h, *rotor_http_data(h));
    if (!error)
        error = rotor_http_finish(h);
    if (error)
        return rotor_error(error);
    REQUIRE(++answers < MOST_REQUESTS);
    return rotor_done();
}

static void gathered_over(rotor_http *h)
{
    overs++;
    free(*rotor_http_data(h));
    *rotor_http_data(h) = NULL;
}

static const rotor_http_handler in_pieces = {.name = "pieces",
                                             .headers_received = gather,
                                             .request_chunk = gather_more,
                                             .request_end = gathered_all,
                                             .wakeup = go_on,
                                             .request_over = gathered_over};

static const rotor_http_config config = {.limits = {.request_line = 64,
                                                    .head = 256,
                                                    .fields = 8,
                                                    .empty_lines = 2,
                                                    .chunk_line = 32,
                                                    .chunk_extensions = 64,
                                                    .trailers = 64,
                                                    .body = 64}};

static rotor_loop *loop;
static rotor_http_server *server, *servers[2];

static void open_server(void)
{
    static const rotor_clock clock = {.monotonic_ms = read_now, .wall_ms = read_wall};
    rotor_allocator_set(&(rotor_allocator){resize, NULL});
    REQUIRE(rotor_loop_new(&loop, &(rotor_config){.clock = &clock}) == 0);
    servers[0] = rotor_http_server_new(&handler, &config);
    servers[1] = rotor_http_server_new(&in_pieces, &config);
    REQUIRE(servers[0] && servers[1]);
}

/* -- the answers ------------------------------------------------------------------------------- */

/* The end of the line at `p`; what is between is printable. */
static const char *line_end(const char *p, const char *end)
{
    const char *cr = memchr(p, '\r', (size_t)(end - p));
    REQUIRE(cr && cr + 1 < end && cr[1] == '\n');
    REQUIRE(rotor_http_is_value(p, (size_t)(cr - p)));
    return cr;
}

static bool begins(const char *p, const char *end, const char *with)
{
    return (size_t)(end - p) >= strlen(with) && memcmp(p, with, strlen(with)) == 0;
}

/* What is behind the chunks, and the trailers, at `p`. */
static const char *check_chunks(const char *p, const char *end)
{
    size_t n;
    do {
        char *behind;
        REQUIRE(p < end);
        n = strtoul(p, &behind, 16);
        REQUIRE(line_end(p, end) == behind && (size_t)(end - behind) >= n + 4);
        p = behind + 2;
        if (n > 0) {
            REQUIRE(begins(p + n, end, "\r\n"));
            p += n + 2;
        }
    } while (n > 0);
    while (!begins(p, end, "\r\n"))
        p = line_end(p, end) + 2;
    return p + 2;
}

/* Check the answer at `p`, the i-th but for those with 100, and return what is behind it. */
static const char *check_answer(const char *p, const char *end, size_t i)
{
    size_t length = 0, dates = 0, lengths = 0;
    bool closes = false, chunked = false;
    REQUIRE(begins(p, end, "HTTP/1.1 ") && end - p > 13 && p[12] == ' ');
    int status = atoi(p + 9);
    REQUIRE(status >= 200 && status <= 599);
    for (p = line_end(p, end) + 2; !begins(p, end, "\r\n"); p = line_end(p, end) + 2) {
        const char *colon = memchr(p, ':', (size_t)(end - p));
        REQUIRE(colon && rotor_http_is_token(p, (size_t)(colon - p)));
        size_t name = (size_t)(colon - p);
        dates += name == 4 && rotor_http_name_equal(p, "date", 4);
        closes |= begins(p, end, "Connection: close\r\n");
        chunked |= begins(p, end, "Transfer-Encoding: chunked\r\n");
        if (name == 14 && rotor_http_name_equal(p, "content-length", 14)) {
            lengths++;
            length = strtoul(colon + 2, NULL, 10);
        }
    }
    p += 2;
    REQUIRE(dates == 1 && lengths + chunked <= 1);
    if (i >= answers) { /* the server's own, and the last */
        REQUIRE(closes && lengths == 1 && (p == end || (size_t)(end - p) == length));
        return end;
    }
    if (!to_head[i] && chunked) {
        p = check_chunks(p, end);
    } else if (!to_head[i] && lengths == 0) {
        REQUIRE(closes);
        p = end;
    } else if (!to_head[i]) {
        REQUIRE((size_t)(end - p) >= length);
        p += length;
    }
    REQUIRE(!closes || p == end);
    return p;
}

/* Check what was received, and take every 100 (Continue) out, which depends on how things are
** split. */
static void check_answers(rotor_buf *got)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    size_t at = 0, i = 0;
    while (at < rotor_buf_len(got)) {
        const char *data = rotor_buf_data(got), *end = data + rotor_buf_len(got);
        if (begins(data + at, end, go_on))
            rotor_buf_remove_range(got, at, at + sizeof go_on - 1);
        else
            at = (size_t)(check_answer(data + at, end, i++) - data);
    }
    REQUIRE(failed || (i >= answers && i <= answers + 1));
}

/* -- conversations ----------------------------------------------------------------------------- */

typedef enum ending { SHUTDOWN, SILENCE, RESET } ending;

/* Two turns, in which a request that waits is woken. */
static void turn(rotor_handle connection)
{
    (void)rotor_wake(loop, connection);
    REQUIRE(rotor_loop_turn(loop) == 0 && rotor_loop_turn(loop) == 0);
}

/* Send `bytes` in `pieces`, the server reading no more than `split` bytes at a time; leave the answers
** in `got`. */
static void converse(const uint8_t *bytes, size_t size, size_t pieces, size_t split, ending how,
                     rotor_buf *got)
{
    rotor_handle connection = ROTOR_NO_HANDLE;
    rotor_memory *client = rotor_memory_new();
    requests = overs = answers = 0;
    if (!client)
        return;
    rotor_memory_split(client, split);
    (void)rotor_memory_connect(client, loop, rotor_http_protocol(server), server, &connection);
    for (; pieces > 0 && rotor_find(loop, connection); pieces--) {
        size_t n = size / pieces;
        if (n > 0 && rotor_memory_send(client, bytes, n))
            break; /* what is behind it would mean something else */
        bytes += n;
        size -= n;
        turn(connection);
    }
    if (how == SHUTDOWN)
        rotor_memory_shutdown(client);
    else if (how == RESET)
        rotor_memory_fail(client, UV_ECONNRESET);
    for (int left = 10000; rotor_find(loop, connection); left--) {
        REQUIRE(left > 0);
        turn(connection);
        now += how == SHUTDOWN ? 0 : 5000;
    }
    turn(connection);
    REQUIRE(requests == overs && requests - answers <= 1);

    until_failure = 0;
    rotor_buf *received_all = rotor_memory_received(client);
    REQUIRE(rotor_buf_split(received_all, rotor_buf_len(received_all), got) == 0);
    rotor_memory_free(client);
    if (how != RESET)
        check_answers(got);
}

static void check_same(const rotor_buf *a, const rotor_buf *b)
{
    size_t n = rotor_buf_len(a);
    REQUIRE(rotor_buf_len(b) == n);
    REQUIRE(n == 0 || memcmp(rotor_buf_data(a), rotor_buf_data(b), n) == 0);
}

static void converse_in_all_ways(const uint8_t *bytes, size_t size)
{
    rotor_buf whole = ROTOR_BUF_INIT, other = ROTOR_BUF_INIT;
    size_t some = size > 0 ? 1 + bytes[size / 2] % 32u : 1; /* at random, but not by chance */
    size_t live_before = live;
    failed = false;

    converse(bytes, size, 1, 0, SHUTDOWN, &whole);
    converse(bytes, size, 1, 1, SHUTDOWN, &other);
    check_same(&whole, &other);
    rotor_buf_fini(&other);
    converse(bytes, size, some, 0, SHUTDOWN, &other);
    check_same(&whole, &other);
    rotor_buf_fini(&other);
    rotor_buf_fini(&whole);

    converse(bytes, size, 1, some, SILENCE, &other);
    rotor_buf_fini(&other);
    converse(bytes, size, some, 1, RESET, &other);
    rotor_buf_fini(&other);
    REQUIRE(live == live_before);

    until_failure = some;
    converse(bytes, size, 2, 0, SHUTDOWN, &other);
    rotor_buf_fini(&other);
    REQUIRE(live == live_before);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    rotor_buf nothing = ROTOR_BUF_INIT;
    bool first = !loop;
    if (first)
        open_server();
    for (int i = 0; i < 2; i++) {
        server = servers[i];
        if (first) /* after which the loop holds what it will */
            converse(bytes, 0, 1, 0, SHUTDOWN, &nothing);
        converse_in_all_ways(bytes, size);
    }
    return 0;
}
