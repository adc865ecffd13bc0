/* The codec of WebSockets. Headers and text are looked at with every number of their bytes there, always
** against an unreadable page: the verdict must come at the first wrong byte, and stay. What has a scalar
** twin equals it at every length, alignment and offset. A case named by a section stands for a rule of
** that section of RFC 6455. */
#include "test.h"

#include "../http/websocket_frame.h"
#include "../http/websocket_private.h"

#include <sys/mman.h>
#include <unistd.h>

enum { ROOM = 4096 };
static char *room; /* ROOM bytes, then a page that cannot be touched */

static int open_room(void **state)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *p = mmap(NULL, ROOM + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED || mprotect(p + ROOM, page, PROT_NONE))
        return -1;
    room = p;
    return 0;
}

/* A copy of `n` bytes that ends where the room does. */
static char *at_the_edge(const void *data, size_t n)
{
    char *p = room + ROOM - n;
    if (n > 0)
        memcpy(p, data, n);
    return p;
}

/* -- headers ----------------------------------------------------------------------------------- */

typedef struct header {
    const char *name, *bytes;
    size_t len;
    enum { OPEN, INSIDE } where;
    bool masked;
    ptrdiff_t verdict;
    rotor_websocket_frame frame;
} header;

#define BYTES(text) (text), sizeof(text) - 1
#define OK(name, text, where, fin, opcode, length)                                                 \
    {                                                                                              \
        name, BYTES(text), where, false, sizeof(text) - 1,                                         \
        {                                                                                          \
            length, opcode, fin, false, ""                                                         \
        }                                                                                          \
    }
#define MASKED(name, text, where, fin, opcode, length, key)                                        \
    {                                                                                              \
        name, BYTES(text), where, true, sizeof(text) - 1,                                          \
        {                                                                                          \
            length, opcode, fin, true, key                                                         \
        }                                                                                          \
    }
#define NO(name, text, where, error)                                                               \
    {                                                                                              \
        name, BYTES(text), where, false, ROTOR_WEBSOCKET_##error,                                  \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }
#define NO_MASKED(name, text, where, error)                                                        \
    {                                                                                              \
        name, BYTES(text), where, true, ROTOR_WEBSOCKET_##error,                                   \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }
#define MORE(name, text, masked)                                                                   \
    {                                                                                              \
        name, BYTES(text), OPEN, masked, ROTOR_MORE,                                               \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }

/* clang-format off */
static const header headers[] = {
    OK("5.7: text", "\x81\x05", OPEN, true, 1, 5),
    MASKED("5.7: masked text", "\x81\x85\x37\xfa\x21\x3d", OPEN, true, 1, 5, "\x37\xfa\x21\x3d"),
    OK("5.7: first fragment", "\x01\x03", OPEN, false, 1, 3),
    OK("5.7: last fragment", "\x80\x02", INSIDE, true, 0, 2),
    OK("5.7: ping", "\x89\x05", OPEN, true, 9, 5),
    MASKED("5.7: masked pong", "\x8a\x85\x37\xfa\x21\x3d", OPEN, true, 10, 5, "\x37\xfa\x21\x3d"),
    OK("5.7: 256 bytes", "\x82\x7e\x01\x00", OPEN, true, 2, 256),
    OK("5.7: 65,536 bytes", "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", OPEN, true, 2, 65536),

    OK("5.2: nothing", "\x81\x00", OPEN, true, 1, 0),
    OK("5.2: most in 7 bits", "\x82\x7d", OPEN, true, 2, 125),
    OK("5.2: least in 16 bits", "\x82\x7e\x00\x7e", OPEN, true, 2, 126),
    OK("5.2: most in 16 bits", "\x82\x7e\xff\xff", OPEN, true, 2, 65535),
    OK("5.2: most in 63 bits", "\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", OPEN, true, 2, INT64_MAX),
    OK("5.2: a high byte alone", "\x82\x7f\x00\x00\x00\x00\x01\x00\x00\x00", OPEN, true, 2, 1 << 24),
    OK("5.2: the next", "\x82\x7f\x00\x01\x00\x00\x00\x00\x00\x00", OPEN, true, 2, INT64_C(1) << 48),
    MASKED("5.2: key of zeros", "\x82\xfe\x00\x7e\x00\x00\x00\x00", OPEN, true, 2, 126, "\0\0\0\0"),
    MASKED("5.2: key behind 64 bits", "\x02\xff\x00\x00\x00\x00\x00\x01\x00\x00\x01\x02\x03\x04", OPEN,
           false, 2, 65536, "\x01\x02\x03\x04"),

    OK("5.4: a fragment between", "\x00\x00", INSIDE, false, 0, 0),
    OK("5.4: ping between fragments", "\x89\x00", INSIDE, true, 9, 0),
    OK("5.4: pong between fragments", "\x8a\x7d", INSIDE, true, 10, 125),
    OK("5.5.1: close between fragments", "\x88\x02", INSIDE, true, 8, 2),
    NO("5.4: continuation of nothing", "\x80", OPEN, EFRAGMENT),
    NO("5.4: continuation of nothing, and more of it", "\x00", OPEN, EFRAGMENT),
    NO("5.4: text inside of a message", "\x81", INSIDE, EFRAGMENT),
    NO("5.4: binary inside of a message", "\x02", INSIDE, EFRAGMENT),

    NO("5.2: RSV1", "\xc1", OPEN, ERSV),
    NO("5.2: RSV2", "\xa1", OPEN, ERSV),
    NO("5.2: RSV3", "\x91", OPEN, ERSV),
    NO("5.2: all of them", "\xf2", OPEN, ERSV),
    NO("5.2: RSV1 of a fragment", "\x40", INSIDE, ERSV),
    NO("5.2: RSV of a ping", "\x99", OPEN, ERSV),
    NO("5.2: RSV of a close", "\xc8", INSIDE, ERSV),
    NO("5.2: opcode 3", "\x83", OPEN, EOPCODE),
    NO("5.2: opcode 4", "\x84", INSIDE, EOPCODE),
    NO("5.2: opcode 5", "\x05", OPEN, EOPCODE),
    NO("5.2: opcode 6", "\x86", OPEN, EOPCODE),
    NO("5.2: opcode 7", "\x07", INSIDE, EOPCODE),
    NO("5.2: opcode 11", "\x8b", OPEN, EOPCODE),
    NO("5.2: opcode 12", "\x8c", OPEN, EOPCODE),
    NO("5.2: opcode 13", "\x0d", OPEN, EOPCODE),
    NO("5.2: opcode 14", "\x8e", INSIDE, EOPCODE),
    NO("5.2: opcode 15", "\x8f", OPEN, EOPCODE),

    NO("5.5: fragmented close", "\x08", OPEN, ECONTROL),
    NO("5.5: fragmented ping", "\x09", OPEN, ECONTROL),
    NO("5.5: fragmented pong", "\x0a", INSIDE, ECONTROL),
    NO("5.5: close of 126 bytes", "\x88\x7e", OPEN, ECONTROL),
    NO("5.5: ping of 126 bytes", "\x89\x7e", OPEN, ECONTROL),
    NO("5.5: pong in 64 bits", "\x8a\x7f", INSIDE, ECONTROL),

    NO("5.1: masked by a server", "\x81\x85", OPEN, EMASK),
    NO("5.1: masked ping of a server", "\x89\x80", OPEN, EMASK),
    NO("5.1: masked, and too long", "\x89\xfe", OPEN, EMASK),
    NO_MASKED("5.1: not masked by a client", "\x81\x05", OPEN, EMASK),
    NO_MASKED("5.1: close not masked", "\x88\x00", OPEN, EMASK),
    NO_MASKED("5.1: continuation not masked", "\x80\x01", INSIDE, EMASK),

    NO("5.2: 125 in 16 bits", "\x82\x7e\x00\x7d", OPEN, ELENGTH),
    NO("5.2: 0 in 16 bits", "\x82\x7e\x00\x00", OPEN, ELENGTH),
    NO("5.2: 65,535 in 64 bits", "\x82\x7f\x00\x00\x00\x00\x00\x00", OPEN, ELENGTH),
    NO("5.2: the highest bit", "\x82\x7f\x80", OPEN, ELENGTH),
    NO("5.2: 64 bits", "\x81\x7f\xff", OPEN, ELENGTH),
    NO_MASKED("5.2: 65,535 in 64 bits, masked", "\x82\xff\x00\x00\x00\x00\x00\x00", OPEN, ELENGTH),

    MORE("nothing", "", false),
    MORE("one byte", "\x81", false),
    MORE("no key", "\x81\x80", true),
    MORE("some of a key", "\x81\x80\x01\x02\x03", true),
    MORE("some of 16 bits", "\x82\x7e\x00", false),
    MORE("some of 64 bits", "\x82\x7f\x00\x00\x00\x00\x00", false),
    MORE("all but one of 64 bits", "\x82\x7f\x00\x00\x00\x00\x00\x01\x00", false),
};
/* clang-format on */

static void check_frame(const header *h, const rotor_websocket_frame *f)
{
    const rotor_websocket_frame *expected = &h->frame;
    if (f->length != expected->length || f->opcode != expected->opcode || f->fin != expected->fin ||
        f->masked != expected->masked)
        fail_msg("%s: read as another frame", h->name);
    if (f->masked)
        assert_memory_equal(f->key, expected->key, sizeof f->key);
}

static void header_verdicts(void **state)
{
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        const header *h = &headers[i];
        rotor_websocket_frame f;
        for (size_t n = 0; n <= h->len; n++) {
            ptrdiff_t got = rotor_websocket_parse_frame(&f, at_the_edge(h->bytes, n), n, h->masked,
                                                        h->where == INSIDE);
            ptrdiff_t expected = n < h->len ? ROTOR_MORE : h->verdict;
            if (got != expected)
                fail_msg("%s: %td with %zu bytes, not %td", h->name, got, n, expected);
        }
        if (h->verdict == ROTOR_MORE)
            continue;
        char more[32];
        memset(more, 0xff, sizeof more);
        memcpy(more, h->bytes, h->len);
        assert_int_equal(
            rotor_websocket_parse_frame(&f, more, sizeof more, h->masked, h->where == INSIDE),
            h->verdict);
        if (h->verdict > 0)
            check_frame(h, &f);
    }
}

static void headers_are_written_as_they_are_read(void **state)
{
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        const header *h = &headers[i];
        char out[ROTOR_WEBSOCKET_HEADER_MOST];
        if (h->verdict <= 0)
            continue;
        assert_int_equal(rotor_websocket_write_frame(out, &h->frame), h->verdict);
        assert_memory_equal(out, h->bytes, h->len);
    }
}

/* -- masks ------------------------------------------------------------------------------------- */

static void masks_equal_their_twin(void **state)
{
    static const char key[4] = {'\x12', '\xff', '\x80', '\x01'};
    char plain[160], fast[160], slow[160];
    for (size_t i = 0; i < sizeof plain; i++)
        plain[i] = (char)(i * 37);
    for (size_t start = 0; start < 17; start++)
        for (size_t n = 0; n + start < 120; n++)
            for (size_t offset = 0; offset < 8; offset++) {
                memcpy(fast, plain, sizeof plain);
                memcpy(slow, plain, sizeof plain);
                rotor_websocket_mask(fast + start, n, key, offset);
                rotor__websocket_mask_scalar(slow + start, n, key, offset);
                assert_memory_equal(fast, slow, sizeof plain);
                rotor_websocket_mask(fast + start, n, key, offset);
                assert_memory_equal(fast, plain, sizeof plain);
            }
    for (size_t n = 0; n < 70; n++)
        rotor_websocket_mask(at_the_edge(plain, n), n, key, 1);
}

static void masks_of_pieces_make_the_whole(void **state)
{
    static const char key[4] = {'\x37', '\xfa', '\x21', '\x3d'};
    char whole[100], pieces[100];
    memset(whole, 'x', sizeof whole);
    rotor_websocket_mask(whole, sizeof whole, key, 0);
    for (size_t cut = 0; cut <= sizeof pieces; cut++) {
        memset(pieces, 'x', sizeof pieces);
        rotor_websocket_mask(pieces, cut, key, 0);
        rotor_websocket_mask(pieces + cut, sizeof pieces - cut, key, cut);
        assert_memory_equal(pieces, whole, sizeof whole);
    }
    char hello[] = "Hello"; /* section 5.7 */
    rotor_websocket_mask(hello, 5, key, 0);
    assert_memory_equal(hello, "\x7f\x9f\x4d\x51\x58", 5);
}

/* -- text -------------------------------------------------------------------------------------- */

/* Up to where the text is all right, and whether it may end there: by the definition, not by ranges. */
static size_t reference(const uint8_t *p, size_t n, bool *whole)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    size_t i = 0;
    *whole = true;
    while (i < n) {
        uint8_t c = p[i];
        int more = c < 0x80 ? 0 : c >> 5 == 6 ? 1 : c >> 4 == 14 ? 2 : c >> 3 == 30 ? 3 : -1;
        if (more < 0)
            return i;
        uint32_t low = more == 0 ? c : c & (0x3fu >> more), high = low;
        for (int k = 0;; k++) { /* between which code points can it become one? */
            low = low << 6 * (more - k), high = (high + 1) << 6 * (more - k);
            bool surrogates = low >= 0xd800 && high <= 0xe000;
            if (high <= least[more] || low > 0x10ffff || surrogates)
                return i + (size_t)k;
            low >>= 6 * (more - k), high = (high >> 6 * (more - k)) - 1;
            if (k == more)
                break;
            if (i + (size_t)k + 1 == n) {
                *whole = false;
                return n;
            }
            uint8_t next = p[i + (size_t)k + 1];
            if (next >> 6 != 2)
                return i + (size_t)k + 1;
            low = low << 6 | (next & 0x3f);
            high = low;
        }
        i += (size_t)more + 1;
    }
    return n;
}

/* How many bytes of the text can be gone on with, when they come one by one. */
static size_t byte_by_byte(const char *text, size_t n, rotor_utf8 *u)
{
    *u = (rotor_utf8){0};
    for (size_t i = 0; i < n; i++)
        if (!rotor_utf8_go_on(u, text + i, 1))
            return i;
    return n;
}

static void check_text(const char *text, size_t n)
{
    bool whole;
    rotor_utf8 u;
    size_t good = reference((const uint8_t *)text, n, &whole);
    whole = whole && good == n;
    assert_int_equal(byte_by_byte(text, n, &u), good);
    assert_int_equal(rotor_is_utf8(text, n), whole);
    if (good == n)
        assert_int_equal(u.left == 0, whole);
    for (size_t cut = 0; cut <= n; cut++) {
        u = (rotor_utf8){0};
        bool first = rotor_utf8_go_on(&u, text, cut);
        assert_int_equal(first, cut <= good);
        if (first)
            assert_int_equal(rotor_utf8_go_on(&u, text + cut, n - cut), good == n);
    }
}

static void every_sequence_of_bounds(void **state)
{
    static const char bounds[] =
        "\x00\x7f\x80\x8f\x90\x9f\xa0\xbf\xc0\xc1\xc2\xdf\xe0\xe1\xec\xed\xee"
        "\xef\xf0\xf1\xf3\xf4\xf5\xf7\xf8\xff";
    enum { N = sizeof bounds - 1 };
    for (size_t i = 0; i < (size_t)N * N * N * N; i++) {
        /* With more behind it, as that is looked at in another way. */
        char text[12] = {bounds[i % N],
                         bounds[i / N % N],
                         bounds[i / N / N % N],
                         bounds[i / N / N / N],
                         'x',
                         'x',
                         'x',
                         'x',
                         'x',
                         'x',
                         'x',
                         'x'};
        for (size_t n = 4; n <= sizeof text; n += 8) {
            bool whole;
            rotor_utf8 u;
            size_t good = reference((const uint8_t *)text, n, &whole);
            assert_int_equal(byte_by_byte(text, n, &u), good);
            assert_int_equal(rotor_is_utf8(text, n), good == n && whole);
        }
    }
    for (size_t i = 0; i < 0x10000; i++)
        check_text((char[]){(char)(i >> 8), (char)i}, 2);
}

static size_t encode(char *out, uint32_t c)
{
    size_t more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const uint8_t marks[] = {0, 0xc0, 0xe0, 0xf0};
    out[0] = (char)(marks[more] | c >> 6 * more);
    for (size_t i = 1; i <= more; i++)
        out[i] = (char)(0x80 | (c >> 6 * (more - i) & 0x3f));
    return more + 1;
}

static void every_code_point(void **state)
{
    for (uint32_t c = 0; c < 0x110800; c++) {
        char text[4];
        size_t n = encode(text, c);
        bool fine = c < 0xd800 || (c > 0xdfff && c <= 0x10ffff);
        if (rotor_is_utf8(text, n) != fine)
            fail_msg("U+%04X", (unsigned)c);
        for (size_t i = 1; i < n; i++)
            assert_false(rotor_is_utf8(text, i));
    }
}

/* As in the test suites that everybody uses, and longer than what is skipped at once. */
static const char *const texts[] = {
    "",
    "Hello-\xc2\xb5@\xc3\x9f\xc3\xb6\xc3\xa4\xc3\xbc\xc3\xa0\xc3\xa1-UTF-8!!",
    "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5",
    "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf0\x90\x80\x80\x65\x64\x69\x74\x65\x64",
    "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80\x65\x64\x69\x74\x65\x64",
    "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80\x65\x64\x69\x74\x65\x64",
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "0123456789abcdef0123456789abcdef\xe2\x82\xac"
    "0123456789abcdef0123456789abcdef\xff",
    "0123456789abcdef0123456789abcde\xf0\x9f\x98\x80"
    "0123456789abcdef0123456789abcdef\xe2\x82",
};

static void texts_at_every_split(void **state)
{
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        for (size_t n = 0; n <= strlen(texts[i]); n++)
            check_text(at_the_edge(texts[i], n), n);
}

static void ascii_equals_its_twin(void **state)
{
    char text[200];
    memset(text, 'x', sizeof text);
    for (size_t start = 0; start < 34; start++)
        for (size_t n = 0; n < 140; n++) {
            const char *p = text + start, *end = p + n;
            assert_ptr_equal(rotor__ascii(p, end), end);
            if (n == 0)
                continue;
            for (size_t at = 0; at < n; at += 1 + at / 3) {
                text[start + at] = (char)(0x80 + at);
                assert_ptr_equal(rotor__ascii(p, end), p + at);
                assert_ptr_equal(rotor__ascii_scalar(p, end), p + at);
                text[start + at] = 'x';
            }
        }
}

/* -- the end ----------------------------------------------------------------------------------- */

static void close_payloads(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        int error, code;
    } cases[] = {
        {BYTES(""), 0, 1005},
        {BYTES("\x03"), ROTOR_WEBSOCKET_ECLOSE, 1005},
        {BYTES("\x03\xe8"), 0, 1000},
        {BYTES("\x03\xe8why"), 0, 1000},
        {BYTES("\x0f\xa0"), 0, 4000},
        {BYTES("\x03\xe9\xe2\x82\xac"), 0, 1001},
        {BYTES("\x03\xe9\xe2\x82"), ROTOR_WEBSOCKET_EUTF8, 1001},
        {BYTES("\x03\xe9\xed\xa0\x80"), ROTOR_WEBSOCKET_EUTF8, 1001},
        {BYTES("\x03\xed"), ROTOR_WEBSOCKET_ECLOSE, 1005},
        {BYTES("\x03\xee\xff"), ROTOR_WEBSOCKET_ECLOSE, 1006},
        {BYTES("\x00\x00"), ROTOR_WEBSOCKET_ECLOSE, 0},
        {BYTES("\xff\xff"), ROTOR_WEBSOCKET_ECLOSE, 65535},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int code = -1;
        const char *p = at_the_edge(cases[i].bytes, cases[i].len);
        assert_int_equal(rotor_websocket_parse_close(&code, p, cases[i].len), cases[i].error);
        assert_int_equal(code, cases[i].code);
    }
}

static void close_codes(void **state)
{
    for (int code = -1; code < 70000; code++) {
        bool known = code == 1000 || code == 1001 || code == 1002 || code == 1003 ||
                     (code >= 1007 && code <= 1014);
        assert_int_equal(rotor_websocket_is_code(code), known || (code >= 3000 && code < 5000));
    }
    assert_int_equal(rotor_websocket_error_code(ROTOR_WEBSOCKET_ERSV), 1002);
    assert_int_equal(rotor_websocket_error_code(ROTOR_WEBSOCKET_EUTF8), 1007);
    assert_int_equal(rotor_websocket_error_code(ROTOR_WEBSOCKET_ESIZE), 1009);
    assert_int_equal(rotor_websocket_error_code(UV_ENOMEM), 1011);
}

/* -- the handshake ----------------------------------------------------------------------------- */

static void check_sha1(const char *text, size_t n, const char *expected)
{
    uint8_t digest[20];
    char hex[41];
    rotor__sha1(digest, text, n);
    for (int i = 0; i < 20; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    assert_string_equal(hex, expected);
}

static void sha1_by_its_rfc(void **state)
{
    enum { MILLION = 1000000 };
    char *a = malloc(MILLION), *repeated = malloc(640);
    assert_true(a && repeated);
    memset(a, 'a', MILLION);
    for (size_t i = 0; i < 640; i++)
        repeated[i] = (char)('0' + i % 8);
    check_sha1(BYTES("abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
    check_sha1(BYTES("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
               "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
    check_sha1(a, MILLION, "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
    check_sha1(repeated, 640, "dea356a2cddd90c7a7ecedc5ebb563934f460452");
    /* The empty text, and lengths around those where the padding takes another block. */
    check_sha1(BYTES(""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    check_sha1(a, 55, "c1c8bbdc22796e28c0e15163d20899b65621d65a");
    check_sha1(a, 56, "c2db330f6083854c99d4b5bfb6e8f29f201be699");
    check_sha1(a, 63, "03f09f5b158a7a8cdad920bddc29b81c18a551f5");
    check_sha1(a, 64, "0098ba824b5c16427bd7a1122a5a442a25ec644d");
    check_sha1(a, 65, "11655326c708d70319be2610e8a57d9a5b959d3b");
    free(a);
    free(repeated);
}

static void base64_by_its_rfc(void **state)
{
    static const char *const pairs[][2] = {
        {"f", "Zg=="},         {"fo", "Zm8="},
        {"foo", "Zm9v"},       {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"},
        {"\xfb\xff", "+/8="},  {"\x14\xfb\x9c\x03\xd9\x7e", "FPucA9l+"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char out[16] = {0};
        size_t n = strlen(pairs[i][0]);
        rotor__base64(out, (const uint8_t *)at_the_edge(pairs[i][0], n), n);
        assert_string_equal(out, pairs[i][1]);
    }
    char none = 'x';
    rotor__base64(&none, NULL, 0);
    assert_int_equal(none, 'x');
}

static void keys(void **state)
{
    char accept[ROTOR_WEBSOCKET_ACCEPT], key[ROTOR_WEBSOCKET_KEY];
    rotor_websocket_accept(accept, "dGhlIHNhbXBsZSBub25jZQ=="); /* section 1.3 */
    assert_memory_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", sizeof accept);
    rotor_websocket_make_key(key, (const uint8_t *)"the sample nonce");
    assert_memory_equal(key, "dGhlIHNhbXBsZSBub25jZQ==", sizeof key);

    static const struct {
        const char *key;
        bool is_one;
    } cases[] = {
        {"dGhlIHNhbXBsZSBub25jZQ==", true},
        {"////////////////////+w==", true},
        {"", false},
        {"dGhlIHNhbXBsZSBub25jZQ=", false},
        {"dGhlIHNhbXBsZSBub25jZQ", false},
        {"dGhlIHNhbXBsZSBub25jZQ===", false},
        {"dGhlIHNhbXBsZSBub25jZQA=", false},
        {"dGhlIHNhbXBsZSBub25jZQAA", false},
        {"dGhlIHNhbXBsZSBub25j=Q==", false},
        {"dGhlIHNhbXBsZSBub25jZ ==", false},
        {"dGhlIHNhbXBsZSBub25-ZQ==", false},
        {"dGhlIHNhbXBsZSBub2_jZQ==", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = strlen(cases[i].key);
        assert_int_equal(rotor_websocket_is_key(at_the_edge(cases[i].key, n), n), cases[i].is_one);
    }
    assert_false(rotor_websocket_is_key("dGhlIHNhbXBsZSBub25j\0Q==", ROTOR_WEBSOCKET_KEY));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_verdicts),
        cmocka_unit_test(headers_are_written_as_they_are_read),
        cmocka_unit_test(masks_equal_their_twin),
        cmocka_unit_test(masks_of_pieces_make_the_whole),
        cmocka_unit_test(every_sequence_of_bounds),
        cmocka_unit_test(every_code_point),
        cmocka_unit_test(texts_at_every_split),
        cmocka_unit_test(ascii_equals_its_twin),
        cmocka_unit_test(close_payloads),
        cmocka_unit_test(close_codes),
        cmocka_unit_test(sha1_by_its_rfc),
        cmocka_unit_test(base64_by_its_rfc),
        cmocka_unit_test(keys),
    };
    return cmocka_run_group_tests_name("websocket_frame", tests, open_room, NULL);
}
