/* Files that are sent piece by piece: every byte of them, to slow clients, too; and what becomes of those that
** change, and of clients that leave. */
#include "test.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "files_site.h"
#include "sockets.h"
#include "support.h"

enum { SIZE = 3000001, PIECE = 65536 };

#define GET(path, fields) "GET " path " HTTP/1.1\r\nHost: h\r\n" fields "\r\n"

/* What is in the file at that place; no two blocks of it are alike. */
static unsigned char byte_at(size_t i)
{
    return (unsigned char)((i ^ i >> 8 ^ i >> 16) * 31 + i % 251);
}

static char content[SIZE];

static void open_large(site *s)
{
    for (size_t i = 0; i < SIZE; i++)
        content[i] = (char)byte_at(i);
    site_begin(s);
    folder_write(&s->folder, "root/large", content, SIZE);
    folder_write(&s->folder, "root/medium", content, 100000);
    folder_text(&s->folder, "root/small", "small");
    site_open(s);
}

/* A client over real sockets, which hold only a small part of the file. */
static int connect_to(site *s, int family)
{
    int near, far, size = 100000;
    sockets_pair(family, &near, &far);
    assert_int_equal(setsockopt(near, SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
    assert_int_equal(setsockopt(far, SOL_SOCKET, SO_RCVBUF, &size, sizeof size), 0);
    web_adopt(&s->web, near);
    return far;
}

/* Receive up to `n` bytes, in pieces of `piece`, until the end if that comes before. How many they were. */
static size_t receive(site *s, int fd, char *to, size_t n, size_t piece)
{
    size_t have = 0;
    for (int idle = 0; have < n && idle < 10000;) {
        ssize_t got = recv(fd, to + have, piece < n - have ? piece : n - have, 0);
        if (got == 0 || (got < 0 && errno == ECONNRESET))
            break;
        assert_true(got > 0 || errno == EAGAIN);
        if (got > 0)
            have += (size_t)got;
        idle = got > 0 ? 0 : idle + 1;
        if (got > 0)
            assert_int_equal(rotor_loop_turn(s->web.loop), 0);
        else
            sockets_turn(s->web.loop);
    }
    return have;
}

/* The head of an answer, its end included. Static. */
static const char *receive_head(site *s, int fd)
{
    static char head[4096];
    size_t n = 0;
    do {
        assert_true(n < sizeof head - 1);
        assert_int_equal(receive(s, fd, head + n, 1, 1), 1);
        head[++n] = '\0';
    } while (n < 4 || memcmp(head + n - 4, "\r\n\r\n", 4) != 0);
    return head;
}

/* An answer whose body is the file's, `n` bytes from `from` on. */
static void receives(site *s, int fd, int status, size_t from, size_t n, size_t piece)
{
    static char body[SIZE];
    const char *head = receive_head(s, fd);
    assert_int_equal(site_status(head), status);
    assert_int_equal(strtoull(site_field(head, "Content-Length"), NULL, 10), n);
    assert_int_equal(receive(s, fd, body, n, piece), n);
    assert_memory_equal(body, content + from, n);
}

static void receives_small(site *s, int fd)
{
    char body[5];
    assert_int_equal(site_status(receive_head(s, fd)), 200);
    assert_int_equal(receive(s, fd, body, 5, 5), 5);
    assert_memory_equal(body, "small", 5);
}

static void leave(site *s, int fd)
{
    close(fd);
    TURN_UNTIL(s->web.loop, rotor_loop_count(s->web.loop) == 1); /* the client in memory */
}

/* -- every byte -------------------------------------------------------------------------------- */

static void over(int family)
{
    static const size_t pieces[] = {PIECE, 1000, 99};
    site s = {0};
    open_large(&s);
    int fd = connect_to(&s, family);
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        sockets_send(fd, GET("/large", ""));
        receives(&s, fd, 200, 0, SIZE, pieces[i]);
    }
    leave(&s, fd);
    site_close(&s);
}

static void over_tcp(void **state)
{
    over(AF_INET);
}

static void over_unix_sockets(void **state)
{
    over(AF_UNIX);
}

static void parts_of_it(void **state)
{
    static const struct {
        size_t from, n;
    } parts[] = {{0, 1},          {0, SIZE},      {1, SIZE - 1},        {SIZE - 1, 1},
                 {12345, 654321}, {777, 65536},   {777, 65537},         {777, 65535},
                 {4095, 131072},  {65536, 65536}, {SIZE - 65537, 65537}};
    site s = {0};
    open_large(&s);
    int fd = connect_to(&s, AF_INET);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char ask[256];
        snprintf(ask, sizeof ask, GET("/large", "Range: bytes=%zu-%zu\r\n"), parts[i].from,
                 parts[i].from + parts[i].n - 1);
        sockets_send(fd, ask);
        receives(&s, fd, 206, parts[i].from, parts[i].n, PIECE);
    }
    leave(&s, fd);
    site_close(&s);
}

/* One behind the other, in their order. */
static void ahead_of_the_answers(void **state)
{
    site s = {0};
    open_large(&s);
    int fd = connect_to(&s, AF_INET);
    sockets_send(fd, GET("/small", "") GET("/large", "") GET("/small", "") GET("/medium", "")
                         GET("/large", "Range: bytes=100-200099\r\n") GET("/small", ""));
    receives_small(&s, fd);
    receives(&s, fd, 200, 0, SIZE, PIECE);
    receives_small(&s, fd);
    receives(&s, fd, 200, 0, 100000, PIECE);
    receives(&s, fd, 206, 100, 200000, PIECE);
    receives_small(&s, fd);
    leave(&s, fd);
    site_close(&s);
}

static void heads_only(void **state)
{
    site s = {0};
    open_large(&s);
    int fd = connect_to(&s, AF_INET);
    sockets_send(fd, "HEAD /large HTTP/1.1\r\nHost: h\r\n\r\n" GET("/small", ""));
    const char *head = receive_head(&s, fd);
    assert_int_equal(site_status(head), 200);
    assert_string_equal(site_field(head, "Content-Length"), "3000001");
    receives_small(&s, fd);
    leave(&s, fd);
    site_close(&s);
}

/* HTTP/1.0, and whoever asks for it, gets the end of the connection behind the last byte. */
static void and_then_the_end(void **state)
{
    static const char *const asks[] = {"GET /large HTTP/1.0\r\n\r\n",
                                       GET("/large", "Connection: close\r\n")};
    site s = {0};
    open_large(&s);
    for (int i = 0; i < 2; i++) {
        int fd = connect_to(&s, AF_INET);
        sockets_send(fd, asks[i]);
        receives(&s, fd, 200, 0, SIZE, PIECE);
        size_t more = 99;
        assert_int_equal(sockets_end(s.web.loop, fd, &more), 0);
        assert_int_equal(more, 0);
        leave(&s, fd);
    }
    site_close(&s);
}

/* Where there is no descriptor, for the kernel to send it to. */
static void over_another_transport(void **state)
{
    for (size_t split = 0; split <= 1000; split += 1000) {
        site s = {0};
        open_large(&s);
        rotor_memory_split(s.web.client, split);
        const char *answer = site_get(&s, "/medium", NULL);
        assert_int_equal(site_status(answer), 200);
        assert_memory_equal(site_body(answer), content, 100000);
        site_gives(&s, "/small", NULL, 200, "small");
        site_close(&s);
    }
}

/* -- what changes meanwhile -------------------------------------------------------------------- */

/* Less came than was announced, but nothing that was not in the file; and then the end. */
static void ends_early(site *s, int fd)
{
    static char body[SIZE];
    size_t n = receive(s, fd, body, SIZE, PIECE);
    assert_in_range(n, 0, SIZE - 1);
    assert_memory_equal(body, content, n);
    assert_true(recv(fd, body, 1, 0) <= 0);
}

static void a_file_that_becomes_shorter(void **state)
{
    site s = {0};
    open_large(&s);
    int fd = connect_to(&s, AF_INET);
    sockets_send(fd, GET("/large", "") GET("/small", ""));
    assert_int_equal(site_status(receive_head(&s, fd)), 200);
    assert_int_equal(truncate(folder_path(&s.folder, "root/large"), SIZE / 2), 0);
    ends_early(&s, fd);
    assert_int_equal(s.web.requests, 1);
    leave(&s, fd);
    site_close(&s);
}

static void a_file_that_becomes_empty(void **state)
{
    site s = {0};
    open_large(&s);
    int fd = connect_to(&s, AF_UNIX);
    sockets_send(fd, GET("/large", ""));
    assert_int_equal(site_status(receive_head(&s, fd)), 200);
    assert_int_equal(truncate(folder_path(&s.folder, "root/large"), 0), 0);
    ends_early(&s, fd);
    leave(&s, fd);
    site_close(&s);
}

static void a_file_that_becomes_longer(void **state)
{
    site s = {0};
    open_large(&s);
    int fd = connect_to(&s, AF_INET);
    sockets_send(fd, GET("/large", ""));
    static char body[SIZE];
    const char *head = receive_head(&s, fd);
    assert_string_equal(site_field(head, "Content-Length"), "3000001");
    assert_int_equal(truncate(folder_path(&s.folder, "root/large"), 2 * SIZE), 0);
    assert_int_equal(receive(&s, fd, body, SIZE, PIECE), SIZE);
    assert_memory_equal(body, content, SIZE);
    sockets_send(fd, GET("/small", ""));
    receives_small(&s, fd);
    leave(&s, fd);
    site_close(&s);
}

/* Who began with the old one gets it to its end. */
static void a_file_that_is_replaced(void **state)
{
    site s = {0};
    open_large(&s);
    folder_text(&s.folder, "root/new", "new");
    int fd = connect_to(&s, AF_INET);
    sockets_send(fd, GET("/large", "") GET("/large", ""));
    static char body[SIZE];
    assert_int_equal(site_status(receive_head(&s, fd)), 200);
    assert_int_equal(
        rename(folder_path(&s.folder, "root/new"), folder_path(&s.folder, "root/large")), 0);
    assert_int_equal(receive(&s, fd, body, SIZE, PIECE), SIZE);
    assert_memory_equal(body, content, SIZE);
    assert_string_equal(site_field(receive_head(&s, fd), "Content-Length"), "3");
    assert_int_equal(receive(&s, fd, body, 3, 3), 3);
    assert_memory_equal(body, "new", 3);
    leave(&s, fd);
    site_close(&s);
}

/* Some files of the system say that they are longer than what can be read of them: then nothing is sent that
** would have the wrong length. */
static void a_file_that_is_shorter_than_it_says(void **state)
{
    static const char root[] = "/sys/kernel/mm/transparent_hugepage";
    site s = {.name = "enabled"};
    if (access("/sys/kernel/mm/transparent_hugepage/enabled", R_OK))
        skip();
    site_begin(&s);
    site_open(&s);
    rotor_http_files_free(s.files);
    assert_int_equal(rotor_http_files_new(&s.files, root, NULL), 0);
    const char *answer = site_get(&s, "/", NULL);
    assert_int_equal(site_status(answer), 503);
    assert_null(site_field(answer, "ETag"));
    assert_string_equal(site_body(answer), "503 Service Unavailable\n");
    site_close(&s);
}

/* -- ends -------------------------------------------------------------------------------------- */

/* A client that has got the head of the large file, and some of it. */
static int begin(site *s)
{
    static char body[100000];
    open_large(s);
    int fd = connect_to(s, AF_INET);
    sockets_send(fd, GET("/large", ""));
    assert_int_equal(site_status(receive_head(s, fd)), 200);
    assert_int_equal(receive(s, fd, body, sizeof body, PIECE), sizeof body);
    assert_memory_equal(body, content, sizeof body);
    assert_int_equal(s->web.overs, 0);
    return fd;
}

static void a_client_that_leaves(void **state)
{
    site s = {0};
    int fd = begin(&s);
    sockets_reset(fd);
    TURN_UNTIL(s.web.loop, rotor_loop_count(s.web.loop) == 1);
    assert_int_equal(s.web.overs, 1);
    site_close(&s);
}

static void a_client_that_takes_nothing(void **state)
{
    site s = {.web.config.stall_ms = 5000};
    int fd = begin(&s);
    for (int i = 0; i < 100; i++) /* until the sockets are full */
        sockets_turn(s.web.loop);
    web_wait(&s.web, 4999);
    assert_int_equal(s.web.overs, 0);
    web_wait(&s.web, 1);
    assert_int_equal(rotor_loop_count(s.web.loop), 1);
    assert_int_equal(s.web.overs, 1);
    close(fd);
    site_close(&s);
}

/* Each must close the file's descriptor, which the test's end counts. */
static void the_end_of_the_loop(void **state)
{
    site s = {0};
    int fd = begin(&s);
    site_close(&s);
    close(fd);
}

static void the_end_of_the_files(void **state)
{
    static char body[SIZE];
    site s = {0};
    int fd = begin(&s);
    rotor_http_files_free(s.files);
    s.files = NULL;
    assert_int_equal(receive(&s, fd, body, SIZE - 100000, PIECE), SIZE - 100000);
    assert_memory_equal(body, content + 100000, SIZE - 100000);
    leave(&s, fd);
    site_close(&s);
}

/* -- memory ------------------------------------------------------------------------------------ */

static void a_large_one(void)
{
    static const char ask[] = GET("/medium", "");
    site s = {0};
    site_begin(&s);
    folder_write(&s.folder, "root/medium", content, 100000);
    int error = rotor_http_files_new(&s.files, folder_path(&s.folder, "root"), NULL);
    if (!error) {
        s.web.context = &s;
        s.web.received = site_received;
        error = web_open(&s.web);
    }
    if (!error) {
        if (!web_connect(&s.web) && !rotor_memory_send(s.web.client, ask, sizeof ask - 1)) {
            web_turn(&s.web);
            const char *answer = web_received(&s.web);
            int status = *answer ? site_status(answer) : 0;
            bool whole = status == 200 && strlen(answer) > 0 && web_is_shut(&s.web) == false;
            assert_true(whole || test_alloc_failed() > 0);
        }
        web_close(&s.web);
    }
    assert_true(!error || test_alloc_failed() > 0);
    rotor_http_files_free(s.files);
    folder_remove(&s.folder);
}

static void memory_runs_out(void **state)
{
    for (size_t i = 0; i < 100000; i++)
        content[i] = (char)('a' + i % 26);
    test_out_of_memory(a_large_one);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(over_tcp),
        TEST(over_unix_sockets),
        TEST(parts_of_it),
        TEST(ahead_of_the_answers),
        TEST(heads_only),
        TEST(and_then_the_end),
        TEST(over_another_transport),
        TEST(a_file_that_becomes_shorter),
        TEST(a_file_that_becomes_empty),
        TEST(a_file_that_becomes_longer),
        TEST(a_file_that_is_replaced),
        TEST(a_file_that_is_shorter_than_it_says),
        TEST(a_client_that_leaves),
        TEST(a_client_that_takes_nothing),
        TEST(the_end_of_the_loop),
        TEST(the_end_of_the_files),
        TEST(memory_runs_out),
    };
    return cmocka_run_group_tests_name("files_large", tests, NULL, NULL);
}
