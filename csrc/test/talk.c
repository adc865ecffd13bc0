#include "talk.h"

#include "../http/websocket_private.h"
#include "support.h"
#include "test.h"

static talk *present; /* the one opened last */

static talk *of(rotor_websocket *ws)
{
    return ((talker *)ws)->of;
}

void talk_note(talk *t, const char *format, ...)
{
    size_t len = strlen(t->log);
    va_list args;
    if (t->silent)
        return;
    va_start(args, format);
    if (len > 0 && len < sizeof t->log - 1)
        t->log[len++] = ' ';
    vsnprintf(t->log + len, sizeof t->log - len, format, args);
    va_end(args);
}

/* Short, or only how long it is. */
static void note_data(talk *t, const char *what, rotor_text data)
{
    if (data.len > 100)
        talk_note(t, "%s<%zu>", what, data.len);
    else
        talk_note(t, "%s(%.*s)", what, (int)data.len, data.data);
}

/* -- the handler ------------------------------------------------------------------------------- */

static rotor_intent on_open(rotor_websocket *ws, rotor_scope *scope, void *seed)
{
    talk *t = seed;
    assert_null(((talker *)ws)->of);
    assert_true(rotor_websocket_is_open(ws));
    ((talker *)ws)->of = t;
    t->ws = ws;
    t->opens++;
    talk_note(t, "open");
    return t->open ? t->open(t, scope) : rotor_expect_message();
}

static rotor_intent on_message(rotor_websocket *ws, rotor_scope *scope, rotor_text data,
                               bool is_text)
{
    talk *t = of(ws);
    t->messages++;
    note_data(t, is_text ? "text" : "binary", data);
    return t->message ? t->message(t, scope, data, is_text) : rotor_expect_message();
}

static rotor_intent on_chunk(rotor_websocket *ws, rotor_scope *scope, rotor_text data, bool is_text,
                             bool last)
{
    talk *t = of(ws);
    note_data(t, is_text ? "text" : "binary", data);
    if (last)
        talk_note(t, "last");
    return t->chunk ? t->chunk(t, scope, data, is_text, last) : rotor_expect_message();
}

static rotor_intent on_ping(rotor_websocket *ws, rotor_scope *scope, rotor_text data)
{
    talk *t = of(ws);
    note_data(t, "ping", data);
    return t->ping ? t->ping(t, scope) : rotor_intent_same();
}

static rotor_intent on_pong(rotor_websocket *ws, rotor_scope *scope, rotor_text data)
{
    note_data(of(ws), "pong", data);
    return rotor_intent_same();
}

static rotor_intent on_flushed(rotor_websocket *ws, rotor_scope *scope)
{
    talk *t = of(ws);
    talk_note(t, "flushed");
    return t->flushed ? t->flushed(t, scope) : rotor_expect_message();
}

static rotor_intent on_timeout(rotor_websocket *ws, rotor_scope *scope)
{
    talk *t = of(ws);
    talk_note(t, "timeout");
    return t->timeout ? t->timeout(t, scope) : rotor_expect_message();
}

static rotor_intent on_wakeup(rotor_websocket *ws, rotor_scope *scope)
{
    talk *t = of(ws);
    talk_note(t, "wakeup");
    return t->wakeup ? t->wakeup(t, scope) : rotor_intent_same();
}

static void on_close(rotor_websocket *ws, int code, rotor_text reason)
{
    talk *t = of(ws);
    int error = rotor_websocket_error(ws);
    t->closes++;
    assert_false(rotor_websocket_is_open(ws));
    assert_int_equal(rotor_websocket_send_text(ws, (rotor_text){"late", 4}), ROTOR_ECLOSED);
    assert_int_equal(rotor_websocket_ping(ws, (rotor_text){"late", 4}), ROTOR_ECLOSED);
    assert_int_equal(rotor_websocket_close(ws, 1000, (rotor_text){"late", 4}), ROTOR_ECLOSED);
    if (error) {
        assert_int_equal(reason.len, strlen(rotor_strerror(error)));
        assert_memory_equal(reason.data, rotor_strerror(error), reason.len);
        talk_note(t, "close(%d %s)", code, rotor_err_name(error));
    } else if (reason.len > 0) {
        talk_note(t, "close(%d %.*s)", code, (int)reason.len, reason.data);
    } else {
        talk_note(t, "close(%d)", code);
    }
}

static void on_drop(rotor_websocket *ws)
{
    talk *t = of(ws);
    t->drops++;
    t->ws = NULL;
    talk_note(t, "drop");
}

static void on_error(rotor_loop *loop, rotor_machine *machine, int error)
{
    present->errors++;
    present->error = error;
}

/* -- the stage --------------------------------------------------------------------------------- */

void talk_init(talk *t, bool is_client)
{
    *t = (talk){.is_client = is_client,
                .handler = {.protocol = ROTOR_WEBSOCKET_PROTOCOL("talk", talker),
                            .open = on_open,
                            .message = on_message,
                            .ping = on_ping,
                            .pong = on_pong,
                            .flushed = on_flushed,
                            .timeout = on_timeout,
                            .wakeup = on_wakeup,
                            .close = on_close,
                            .drop = on_drop}};
}

int talk_open_loop(rotor_loop **loop)
{
    test_monotonic_ms = 1000000;
    return rotor_loop_new(loop, &(rotor_config){.clock = &test_clock, .on_error = on_error});
}

int talk_open(talk *t)
{
    rotor_websocket_seed seed = {
        .is_client = t->is_client, .subprotocol = t->subprotocol, .seed = t};
    if (t->chunk)
        t->handler.message_chunk = on_chunk;
    t->is_loop_shared = t->loop;
    int error = t->loop ? 0 : talk_open_loop(&t->loop);
    if (error)
        return error;
    present = t;
    t->peer = rotor_memory_new();
    if (!t->peer && !t->is_loop_shared)
        assert_int_equal(rotor_loop_free(t->loop), 0);
    if (!t->peer)
        return UV_ENOMEM;
    (void)rotor_memory_connect(t->peer, t->loop, &t->handler.protocol, &seed, &t->self);
    return 0;
}

void talk_close(talk *t)
{
    if (t->is_loop_shared) {
        (void)rotor_end(t->loop, t->self, 0);
        talk_turn(t);
    } else {
        assert_int_equal(rotor_loop_free(t->loop), 0);
    }
    rotor_memory_free(t->peer);
    assert_int_equal(t->opens, t->drops);
    assert_int_equal(t->opens, t->closes);
    assert_null(t->ws);
}

void talk_turn(talk *t)
{
    int left = 1000000;
    do {
        assert_true(left-- > 0);
        assert_int_equal(rotor_loop_turn(t->loop), 0);
    } while (uv_is_active((uv_handle_t *)&t->loop->idle));
}

void talk_wait(talk *t, uint64_t ms)
{
    test_monotonic_ms += ms;
    talk_turn(t);
}

bool talk_is_over(const talk *t)
{
    bool over = !rotor_find(t->loop, t->self);
    assert_int_equal(over, rotor_memory_is_closed(t->peer));
    return over;
}

/* -- the peer ---------------------------------------------------------------------------------- */

/* The bytes of frames, not masked. */
typedef struct bytes {
    char *data;
    size_t len;
} bytes;

/* Room for `n` more. */
static char *extend(bytes *b, size_t n)
{
    b->data = realloc(b->data, b->len + n + 1);
    assert_non_null(b->data);
    b->len += n;
    return b->data + b->len - n;
}

static void add(bytes *b, const void *data, size_t n)
{
    char *p = extend(b, n);
    if (n > 0)
        memcpy(p, data, n);
}

static void add_header(bytes *b, unsigned first, size_t length)
{
    char header[ROTOR_WEBSOCKET_HEADER_MOST];
    rotor_websocket_frame frame = {.length = length};
    size_t n = rotor_websocket_write_frame(header, &frame);
    header[0] = (char)first;
    add(b, header, n);
}

static unsigned hex(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* The first byte of a frame, of which `*p` then is behind the letter. */
static unsigned first_byte(const char **p)
{
    static const char letters[] = "CTB.....XPQ", small[] = "ctb.....xpq";
    unsigned reserved = **p >= '1' && **p <= '7' ? hex(*(*p)++) << 4 : 0;
    char c = *(*p)++;
    if (c == '#')
        return reserved | 0x80 | hex(*(*p)++);
    const char *final = strchr(letters, c), *more = strchr(small, c);
    assert_true(final || more);
    return reserved | (final ? 0x80 | (unsigned)(final - letters) : (unsigned)(more - small));
}

static const char *add_raw(bytes *b, const char *p)
{
    for (p++; *p != '>'; p += 2)
        add(b, (char[]){(char)(hex(p[0]) << 4 | hex(p[1]))}, 1);
    return p + 1;
}

static const char *add_stars(bytes *b, unsigned first, const char *p)
{
    char *end;
    size_t n = strtoul(p, &end, 10);
    add_header(b, first, n);
    memset(extend(b, n), '*', n);
    return end;
}

static const char *add_payload(bytes *b, unsigned first, const char *p)
{
    const char *end = strchr(p, ')');
    assert_non_null(end);
    size_t n = (size_t)(end - p);
    if (n > 0 && (first & 15) == ROTOR_WEBSOCKET_CLOSE) {
        char *reason;
        unsigned long code = strtoul(p, &reason, 10);
        reason += *reason == ' ';
        n = (size_t)(end - reason);
        add_header(b, first, n + 2);
        add(b, (char[]){(char)(code >> 8), (char)code}, 2);
        add(b, reason, n);
    } else {
        add_header(b, first, n);
        add(b, p, n);
    }
    return end + 1;
}

static void compose(bytes *b, const char *p)
{
    while (*p) {
        if (*p == ' ') {
            p++;
        } else if (*p == '<') {
            p = add_raw(b, p);
        } else {
            unsigned first = first_byte(&p);
            p = *p == '*' ? add_stars(b, first, p + 1) : add_payload(b, first, p + 1);
        }
    }
}

/* Mask frames, which may be malformed or incomplete. */
static void mask(bytes *out, const bytes *plain)
{
    static const char key[4] = {'\x37', '\xfa', '\x21', '\x3d'};
    for (size_t i = 0; i < plain->len;) {
        const uint8_t *p = (const uint8_t *)plain->data + i;
        size_t have = plain->len - i, small = have > 1 ? p[1] & 0x7f : 0;
        size_t header = small == 126 ? 4 : small == 127 ? 10 : 2;
        uint64_t length = header == 2 ? small : 0;
        add(out, p, header < have ? header : have);
        if (have > 1)
            out->data[out->len - (header < have ? header : have) + 1] ^= '\x80';
        if (have < header)
            return;
        for (size_t k = 2; k < header; k++)
            length = length << 8 | p[k];
        size_t n = length < have - header ? (size_t)length : have - header;
        add(out, key, sizeof key);
        add(out, p + header, n);
        rotor__websocket_mask_scalar(out->data + out->len - n, n, key, 0);
        i += header + n;
    }
}

char *talk_frames(const talk *t, const char *frames, size_t *n)
{
    bytes plain = {NULL, 0}, masked = {NULL, 0};
    compose(&plain, frames);
    if (!t->is_client) {
        mask(&masked, &plain);
        free(plain.data);
        plain = masked;
    }
    *n = plain.len;
    return plain.data;
}

int talk_send(talk *t, const char *frames)
{
    size_t n;
    char *data = talk_frames(t, frames, &n);
    int error = rotor_memory_send(t->peer, data, n);
    free(data);
    talk_turn(t);
    return error;
}

const char *talk_received(talk *t)
{
    static const char *const names[] = {
        [0] = "more", [1] = "text", [2] = "binary", [8] = "close", [9] = "ping", [10] = "pong"};
    static talk received;
    rotor_buf *input = rotor_memory_received(t->peer);
    received.log[0] = '\0';
    while (rotor_buf_len(input) > 0) {
        rotor_websocket_frame frame;
        char *data = rotor_buf_data(input);
        size_t len = rotor_buf_len(input);
        ptrdiff_t header = rotor_websocket_parse_frame(&frame, data, len, t->is_client, t->inside);
        assert_true(header > 0 && len - (size_t)header >= frame.length);
        rotor_text payload = {data + header, (size_t)frame.length};
        if (frame.masked)
            rotor_websocket_mask(data + header, payload.len, frame.key, 0);
        if (!rotor_websocket_is_control(frame.opcode))
            t->inside = !frame.fin;
        if (frame.opcode == ROTOR_WEBSOCKET_CLOSE) {
            int code;
            assert_int_equal(rotor_websocket_parse_close(&code, payload.data, payload.len), 0);
            if (code == ROTOR_WEBSOCKET_NO_CODE)
                talk_note(&received, "close()");
            else
                talk_note(&received, "close(%d)", code);
        } else {
            note_data(&received, names[frame.opcode], payload);
        }
        if (!frame.fin)
            talk_note(&received, "+");
        rotor_buf_consume(input, (size_t)header + payload.len);
    }
    return received.log;
}
