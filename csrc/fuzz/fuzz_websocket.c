/* libFuzzer target for WebSockets, over the transport in memory. The first byte says which end is under test
** and under which limits; the rest is what its peer sends. However that is split, and whether messages are
** told whole or in pieces: the same messages are told, the same is answered, it is closed with the same code;
** the answers are well-formed and nothing follows a close. Then with a peer that falls silent, and with
** memory that runs out. */
#include "../core/alloc.h"
#include "../http/websocket.h"
#include "../stream/memory.h"

#include <stdlib.h>
#include <string.h>

#define REQUIRE(condition) ((condition) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* -- memory and time --------------------------------------------------------------------------- */

static size_t live;          /* blocks */
static size_t until_failure; /* allocations until they begin to fail, that one included; 0: never */

static void *resize(void *context, void *ptr, size_t size)
{
    if (size == 0) {
        live--;
        free(ptr);
        return NULL;
    }
    if (until_failure > 1)
        until_failure--;
    else if (until_failure == 1) /* and so does all that follows */
        return NULL;
    live += !ptr;
    return realloc(ptr, size);
}

static uint64_t now = 1;

static uint64_t read_now(void *context)
{
    return now;
}

/* -- what is told ------------------------------------------------------------------------------ */

typedef struct record {
    char *data;
    size_t len;
} record;

static record told;
static size_t begun; /* where in `told` a message that is not complete begins */
static bool is_begun;
static int opens, closes, drops;

static void note(record *r, const void *data, size_t n)
{
    r->data = realloc(r->data, r->len + n + 1);
    REQUIRE(r->data);
    if (n > 0)
        memcpy(r->data + r->len, data, n);
    r->len += n;
}

static void clear(record *r)
{
    free(r->data);
    *r = (record){NULL, 0};
}

static void begin_message(bool is_text)
{
    if (!is_begun)
        begun = told.len;
    if (!is_begun)
        note(&told, is_text ? "T" : "B", 1);
    is_begun = true;
}

static rotor_intent on_open(rotor_websocket *ws, rotor_scope *scope, void *seed)
{
    opens++;
    return rotor_expect_message();
}

static rotor_intent on_chunk(rotor_websocket *ws, rotor_scope *scope, rotor_text data, bool is_text,
                             bool last)
{
    begin_message(is_text);
    note(&told, data.data, data.len);
    if (!last)
        return rotor_expect_message();
    note(&told, ";", 1);
    REQUIRE(!is_text || rotor_is_utf8(told.data + begun + 1, told.len - begun - 2));
    is_begun = false;
    rotor_text whole = {told.data + begun, told.len - begun};
    return rotor_websocket_send_binary(ws, whole) ? rotor_intent_done() : rotor_expect_message();
}

static rotor_intent on_message(rotor_websocket *ws, rotor_scope *scope, rotor_text data,
                               bool is_text)
{
    return on_chunk(ws, scope, data, is_text, true);
}

static rotor_intent on_ping(rotor_websocket *ws, rotor_scope *scope, rotor_text data)
{
    REQUIRE(data.len <= ROTOR_WEBSOCKET_CONTROL_MOST);
    return rotor_intent_same();
}

static void on_close(rotor_websocket *ws, int code, rotor_text reason)
{
    if (is_begun) /* how much was told of it depends on how it came */
        told.len = begun;
    is_begun = false;
    closes++;
    note(&told, &code, sizeof code);
    note(&told, reason.data, reason.len);
    REQUIRE(rotor_is_utf8(reason.data, reason.len));
}

static void on_drop(rotor_websocket *ws)
{
    drops++;
}

static rotor_websocket_handler handler = {
    .protocol = ROTOR_WEBSOCKET_PROTOCOL("fuzz", rotor_websocket),
    .open = on_open,
    .message = on_message,
    .ping = on_ping,
    .pong = on_ping,
    .close = on_close,
    .drop = on_drop,
};

/* -- conversations ----------------------------------------------------------------------------- */

static rotor_loop *loop;
static rotor_websocket_seed end;

/* The answers, without their masks. */
static void check_answers(rotor_buf *received, record *answers)
{
    bool closed = false;
    while (rotor_buf_len(received) > 0) {
        rotor_websocket_frame frame;
        char *data = rotor_buf_data(received);
        ptrdiff_t n = rotor_websocket_parse_frame(&frame, data, rotor_buf_len(received),
                                                  end.is_client, false);
        REQUIRE(n > 0 && rotor_buf_len(received) - (size_t)n >= frame.length && !closed);
        size_t length = (size_t)frame.length;
        if (frame.masked)
            rotor_websocket_mask(data + n, length, frame.key, 0);
        closed = frame.opcode == ROTOR_WEBSOCKET_CLOSE;
        note(answers, &frame.opcode, 1);
        note(answers, data + n, length);
        rotor_buf_consume(received, (size_t)n + length);
    }
}

typedef enum ending { SHUTDOWN, SILENCE, RESET } ending;

/* Send `bytes` in `pieces`, at most `split` of them read at a time; what was answered goes to `answers`, if
** the memory does not fail. */
static void converse(const uint8_t *bytes, size_t size, size_t pieces, size_t split, ending how,
                     record *answers)
{
    rotor_handle connection = ROTOR_NO_HANDLE;
    rotor_memory *peer = rotor_memory_new();
    clear(&told);
    is_begun = false;
    opens = closes = drops = 0;
    if (!peer)
        return;
    rotor_memory_split(peer, split);
    (void)rotor_memory_connect(peer, loop, &handler.protocol, &end, &connection);
    for (; pieces > 0; pieces--) {
        size_t n = size / pieces;
        if (n > 0 && rotor_memory_send(peer, bytes, n))
            break;
        bytes += n;
        size -= n;
        REQUIRE(rotor_loop_turn(loop) == 0);
    }
    if (how == SHUTDOWN)
        rotor_memory_shutdown(peer);
    else if (how == RESET)
        rotor_memory_fail(peer, UV_ECONNRESET);
    for (int left = 100000; rotor_find(loop, connection); left--) {
        REQUIRE(left > 0 && rotor_loop_turn(loop) == 0);
        now += how == SHUTDOWN ? 0 : 1000;
    }
    REQUIRE(rotor_loop_turn(loop) == 0);
    REQUIRE(opens == closes && opens == drops);
    if (answers && how == SHUTDOWN)
        check_answers(rotor_memory_received(peer), answers);
    rotor_memory_free(peer);
}

static void check_same(const record *a, const record *b)
{
    REQUIRE(a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0));
}

static void set_end(uint8_t kind)
{
    end.is_client = kind & 1;
    handler.max_message = kind & 2 ? 40 : 0;
    handler.max_fragments = kind & 2 ? 4 : 0;
    handler.protocol.turns = kind & 4 ? 1 : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const rotor_clock clock = {.monotonic_ms = read_now};
    static size_t live_before;
    if (!loop) {
        rotor_allocator_set(&(rotor_allocator){resize, NULL});
        REQUIRE(rotor_loop_new(&loop, &(rotor_config){.clock = &clock}) == 0);
        converse(bytes, 0, 1, 0, SHUTDOWN, NULL); /* after which the loop holds what it will */
        live_before = live;
    }
    if (size == 0)
        return 0;
    set_end(*bytes++);
    size--;
    size_t some = size > 0 ? 1 + bytes[size / 2] % 32u : 1; /* at random, but not by chance */

    record whole = {NULL, 0}, answers = {NULL, 0};
    converse(bytes, size, 1, 0, SHUTDOWN, &answers);
    note(&whole, told.data, told.len);
    for (size_t way = 0; way < 6; way++) {
        record other = {NULL, 0};
        handler.message_chunk = way >= 3 ? on_chunk : NULL;
        converse(bytes, size, way % 3 == 1 ? some : 1,
                 way % 3 == 0   ? 1
                 : way % 3 == 2 ? some
                                : 0,
                 SHUTDOWN, &other);
        check_same(&whole, &told);
        check_same(&answers, &other);
        clear(&other);
    }
    handler.message_chunk = NULL;
    converse(bytes, size, 1, some, SILENCE, NULL);
    converse(bytes, size, some, 1, RESET, NULL);
    clear(&whole);
    clear(&answers);
    REQUIRE(live == live_before);

    until_failure = some;
    converse(bytes, size, 2, 0, SHUTDOWN, NULL);
    until_failure = 0;
    REQUIRE(live == live_before);
    return 0;
}
