/* What paths name, and that nothing is opened but what is beneath the root: by openat2() and without. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <uv.h>

#include "../http/files_private.h"
#include "folder.h"
#include "support.h"

enum { URL = ROTOR__NAME_ENCODED, DOTS = ROTOR__NAME_DOTS };
enum { LINKS = ROTOR__OPEN_LINKS, WALK = ROTOR__OPEN_WALK };

/* -- names ------------------------------------------------------------------------------------- */

typedef struct naming {
    const char *path;
    size_t len;
    int rules;
    const char *name; /* NULL: none */
} naming;

#define TEXT(text) (text), sizeof(text) - 1

static const naming namings[] = {
    {TEXT("/"), URL, ""},
    {TEXT("/a"), URL, "a"},
    {TEXT("/a/"), URL, "a/"},
    {TEXT("/a/b.c/d"), URL, "a/b.c/d"},
    {TEXT("/a%20b"), URL, "a b"},
    {TEXT("/%61%62"), URL, "ab"},
    {TEXT("/a%2e%2E"), URL, "a.."},
    {TEXT("/..."), URL | DOTS, "..."},
    {TEXT("/a..b/c."), URL, "a..b/c."},
    {TEXT("/%c3%a4/%FF"), URL, "\xc3\xa4/\xff"},
    {TEXT("/%c0%ae%c0%ae/a"), URL, "\xc0\xae\xc0\xae/a"}, /* overlong: bytes as any others */
    {TEXT("/%252e%252e/a"), URL, "%2e%2e/a"},             /* decoded once */
    {TEXT("/%252f"), URL, "%2f"},
    {TEXT("/a\\..\\b"), URL, "a\\..\\b"}, /* a backslash divides nothing */
    {TEXT("/a+b"), URL, "a+b"},
    {TEXT("/a;b=c/d"), URL, "a;b=c/d"},
    {TEXT("/a:b"), URL, "a:b"},
    {TEXT("/.well-known/acme"), URL, ".well-known/acme"},
    {TEXT("/%2ewell-known"), URL, ".well-known"},
    {TEXT("/.git/config"), URL | DOTS, ".git/config"},
    {TEXT("/a/.b/.c"), URL | DOTS, "a/.b/.c"},

    {TEXT("/.."), URL | DOTS, NULL},
    {TEXT("/../"), URL | DOTS, NULL},
    {TEXT("/../a"), URL | DOTS, NULL},
    {TEXT("/a/.."), URL | DOTS, NULL},
    {TEXT("/a/../b"), URL | DOTS, NULL},
    {TEXT("/."), URL | DOTS, NULL},
    {TEXT("/./a"), URL | DOTS, NULL},
    {TEXT("/a/./b"), URL | DOTS, NULL},
    {TEXT("/%2e%2e/a"), URL | DOTS, NULL},
    {TEXT("/%2E%2E/a"), URL | DOTS, NULL},
    {TEXT("/.%2e/a"), URL | DOTS, NULL},
    {TEXT("/%2e./a"), URL | DOTS, NULL},
    {TEXT("/%2e"), URL | DOTS, NULL},
    {TEXT("/a/%2e%2e"), URL | DOTS, NULL},
    {TEXT("//"), URL, NULL},
    {TEXT("//a"), URL, NULL},
    {TEXT("/a//b"), URL, NULL},
    {TEXT("/a//"), URL, NULL},
    {TEXT("/a%2fb"), URL, NULL},
    {TEXT("/a%2Fb"), URL, NULL},
    {TEXT("/%2f"), URL, NULL},
    {TEXT("/..%2f..%2fa"), URL | DOTS, NULL},
    {TEXT("/a%00"), URL, NULL},
    {TEXT("/%00"), URL, NULL},
    {TEXT("/a%00.html"), URL, NULL},
    {TEXT("/a\0b"), URL, NULL},
    {TEXT("/a%0a"), URL, NULL},
    {TEXT("/a%0D%0AX: y"), URL, NULL},
    {TEXT("/a%1f"), URL, NULL},
    {TEXT("/a%7f"), URL, NULL},
    {TEXT("/a%"), URL, NULL},
    {TEXT("/a%4"), URL, NULL},
    {TEXT("/a%4g"), URL, NULL},
    {TEXT("/a%g4"), URL, NULL},
    {TEXT("/%%41"), URL, NULL},
    {TEXT("/%u002e"), URL, NULL},
    {TEXT(""), URL, NULL},
    {TEXT("a"), URL, NULL},
    {TEXT("*"), URL, NULL},
    {TEXT("http://h/a"), URL, NULL},
    {TEXT("/.git"), URL, NULL},
    {TEXT("/.git/config"), URL, NULL},
    {TEXT("/a/.htaccess"), URL, NULL},
    {TEXT("/%2egit"), URL, NULL},
    {TEXT("/..."), URL, NULL},
    {TEXT("/a/.well-known"), URL, NULL},
    {TEXT("/.well-known/.a"), URL, NULL},
    {TEXT("/.well-knows"), URL, NULL},
    {TEXT("/.well-known2"), URL, NULL},

    /* Of a program's own: nothing is decoded, the rest is the same. */
    {TEXT("a"), 0, "a"},
    {TEXT("/a"), 0, "a"},
    {TEXT(""), 0, ""},
    {TEXT("/"), 0, ""},
    {TEXT("a/b/"), 0, "a/b/"},
    {TEXT("100%"), 0, "100%"},
    {TEXT("%2e%2e/a"), 0, "%2e%2e/a"},
    {TEXT("a b"), 0, "a b"},
    {TEXT(".a"), DOTS, ".a"},
    {TEXT(".a"), 0, NULL},
    {TEXT("../a"), DOTS, NULL},
    {TEXT("a/../b"), DOTS, NULL},
    {TEXT("//a"), 0, NULL},
    {TEXT("a//b"), 0, NULL},
    {TEXT("a\0"), 0, NULL},
    {TEXT("a\n"), 0, NULL},
};

static void names_of_paths(void **state)
{
    for (size_t i = 0; i < sizeof namings / sizeof *namings; i++) {
        const naming *n = &namings[i];
        char name[ROTOR__NAME_SIZE];
        char *exactly = malloc(n->len > 0 ? n->len : 1);
        assert_non_null(exactly);
        memcpy(exactly, n->path, n->len);
        ssize_t len = rotor__file_name(name, (rotor_text){exactly, n->len}, n->rules);
        free(exactly);
        if (n->name ? len != (ssize_t)strlen(n->name) || strcmp(name, n->name) != 0
                    : len != UV_ENOENT)
            fail_msg("%s: %d %s", n->path, (int)len, len >= 0 ? name : "");
    }
}

static void names_of_every_byte(void **state)
{
    char name[ROTOR__NAME_SIZE], path[8];
    for (int c = 0; c < 256; c++) {
        bool refused = c < 0x20 || c == 0x7f;
        bool bare = refused || c == '/' || c == '.';
        snprintf(path, sizeof path, "/%%%02x", (unsigned)c);
        assert_int_equal(rotor__file_name(name, (rotor_text){path, 4}, URL), bare ? UV_ENOENT : 1);
        if (!bare)
            assert_int_equal((unsigned char)name[0], c);
        path[1] = (char)c;
        ssize_t len = rotor__file_name(name, (rotor_text){path, 2}, 0);
        assert_int_equal(len, bare ? UV_ENOENT : 1);
    }
}

static void names_have_a_length(void **state)
{
    enum { MOST = ROTOR__NAME_SIZE - 1 };
    static char path[3 * ROTOR__NAME_SIZE], name[ROTOR__NAME_SIZE];
    memset(path, 'a', sizeof path);
    path[0] = '/';
    assert_int_equal(rotor__file_name(name, (rotor_text){path, MOST + 1}, URL), MOST);
    assert_int_equal(strlen(name), MOST);
    assert_int_equal(rotor__file_name(name, (rotor_text){path, MOST + 2}, URL), UV_ENAMETOOLONG);
    assert_int_equal(rotor__file_name(name, (rotor_text){path + 1, MOST}, 0), MOST);
    assert_int_equal(rotor__file_name(name, (rotor_text){path + 1, MOST + 1}, 0), UV_ENAMETOOLONG);
    for (int i = 1; i + 3 <= (int)sizeof path; i += 3)
        memcpy(path + i, "%41", 3); /* as long as it is decoded */
    assert_int_equal(rotor__file_name(name, (rotor_text){path, 3 * MOST + 1}, URL), MOST);
    assert_int_equal(rotor__file_name(name, (rotor_text){path, 3 * MOST + 4}, URL),
                     UV_ENAMETOOLONG);
}

/* -- opening ----------------------------------------------------------------------------------- */

typedef struct scene {
    folder all;
    int root; /* of `all`/root; beside it is `all`/secret */
} scene;

static void set_up(scene *s)
{
    folder *f = &s->all;
    folder_make(f);
    folder_text(f, "secret", "secret");
    folder_text(f, "outside/secret", "secret");
    folder_text(f, "root/a", "a");
    folder_text(f, "root/dir/b", "b");
    folder_text(f, "root/dir/deep/c", "c");
    folder_text(f, "root/.hidden/d", "d");
    folder_text(f, "root/\xc0\xae\xc0\xae", "overlong");
    folder_text(f, "root/back\\slash", "backslash");

    folder_link(f, "root/to_a", "a");
    folder_link(f, "root/to_b", "dir/b");
    folder_link(f, "root/to_dir", "dir");
    folder_link(f, "root/to_dir_slash", "dir/");
    folder_link(f, "root/to_file_slash", "a/");
    folder_link(f, "root/dir/up_a", "../a");
    folder_link(f, "root/dir/deep/up_a", "../../a");
    folder_link(f, "root/dir/deep/up_up_dir", "../../dir/b");
    folder_link(f, "root/to_deep", "dir/deep");
    folder_link(f, "root/deep_up", "to_deep/../b"); /* dir/b, not b: it goes up from where it led */
    folder_link(f, "root/deep_up_up", "to_deep/../../a");
    folder_link(f, "root/chain", "chain2");
    folder_link(f, "root/chain2", "./dir/../chain3");
    folder_link(f, "root/chain3", "to_dir/deep/c");
    folder_link(f, "root/dot", ".");
    folder_link(f, "root/dir/dotdot", "..");
    folder_link(f, "root/slashes", "dir//deep///c");
    folder_link(f, "root/to_hidden", ".hidden/d");

    folder_link(f, "root/out", "../secret");
    folder_link(f, "root/out_dir", "../outside");
    folder_link(f, "root/dir/out", "../../secret");
    folder_link(f, "root/out_and_in", "../root/a");
    folder_link(f, "root/out_late", "dir/../../secret");
    folder_link(f, "root/out_by_link", "dir/dotdot/../secret");
    folder_link(f, "root/top", "..");
    folder_link(f, "root/absolute", folder_path(f, "secret"));
    folder_link(f, "root/absolute_in", folder_path(f, "root/a"));
    folder_link(f, "root/absolute_dir", f->path);
    folder_link(f, "root/slash", "/");
    folder_link(f, "root/etc", "/etc");
    folder_link(f, "root/magic", "/proc/self/root/etc/passwd");
    folder_link(f, "root/dangling", "nothing");
    folder_link(f, "root/loop", "loop");
    folder_link(f, "root/loop1", "dir/../loop2");
    folder_link(f, "root/loop2", "loop1");
    s->root = open(folder_path(f, "root"), O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_true(s->root >= 0);
}

static void tear_down(scene *s)
{
    close(s->root);
    folder_remove(&s->all);
}

/* Whether the descriptor is of what `expected` is; it is closed. */
static bool is_same(const scene *s, int fd, const char *expected)
{
    struct stat a, b;
    assert_int_equal(fstat(fd, &a), 0);
    assert_int_equal(stat(folder_path(&s->all, expected), &b), 0);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    close(fd);
    return a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

/* What is opened by a name: with links, and without; NULL: nothing. */
static const struct {
    const char *name, *with, *without;
} openings[] = {
    {"a", "root/a", "root/a"},
    {".", "root", "root"},
    {"dir", "root/dir", "root/dir"},
    {"dir/", "root/dir", "root/dir"},
    {"dir/b", "root/dir/b", "root/dir/b"},
    {"dir/deep/c", "root/dir/deep/c", "root/dir/deep/c"},
    {".hidden/d", "root/.hidden/d", "root/.hidden/d"},
    {"\xc0\xae\xc0\xae", "root/\xc0\xae\xc0\xae", "root/\xc0\xae\xc0\xae"},
    {"back\\slash", "root/back\\slash", "root/back\\slash"},
    {"b", NULL, NULL},
    {"a/", NULL, NULL},
    {"a/b", NULL, NULL},
    {"dir/a", NULL, NULL},
    {"nothing/a", NULL, NULL},
    {"A", NULL, NULL},
    {"a.", NULL, NULL},
    {"a ", NULL, NULL},

    {"to_a", "root/a", NULL},
    {"to_b", "root/dir/b", NULL},
    {"to_dir", "root/dir", NULL},
    {"to_dir/", "root/dir", NULL},
    {"to_dir/b", "root/dir/b", NULL},
    {"to_dir_slash", "root/dir", NULL},
    {"to_dir_slash/b", "root/dir/b", NULL},
    {"to_file_slash", NULL, NULL},
    {"dir/up_a", "root/a", NULL},
    {"dir/deep/up_a", "root/a", NULL},
    {"dir/deep/up_up_dir", "root/dir/b", NULL},
    {"to_deep/up_a", "root/a", NULL},
    {"deep_up", "root/dir/b", NULL},
    {"deep_up_up", "root/a", NULL},
    {"chain", "root/dir/deep/c", NULL},
    {"dot", "root", NULL},
    {"dot/a", "root/a", NULL},
    {"dot/dot/dot/dot/dot/a", "root/a", NULL},
    {"dir/dotdot", "root", NULL},
    {"dir/dotdot/a", "root/a", NULL},
    {"dir/dotdot/dir/dotdot/a", "root/a", NULL},
    {"slashes", "root/dir/deep/c", NULL},
    {"to_hidden", "root/.hidden/d", NULL},
    {"to_a/", NULL, NULL},
    {"to_a/b", NULL, NULL},

    {"out", NULL, NULL},
    {"out_dir", NULL, NULL},
    {"out_dir/", NULL, NULL},
    {"out_dir/secret", NULL, NULL},
    {"dir/out", NULL, NULL},
    {"to_dir/out", NULL, NULL},
    {"out_and_in", NULL, NULL},
    {"out_late", NULL, NULL},
    {"out_by_link", NULL, NULL},
    {"top", NULL, NULL},
    {"top/secret", NULL, NULL},
    {"top/root/a", NULL, NULL},
    {"dot/top/secret", NULL, NULL},
    {"absolute", NULL, NULL},
    {"absolute_in", NULL, NULL},
    {"absolute_dir/secret", NULL, NULL},
    {"absolute_dir/root/a", NULL, NULL},
    {"slash", NULL, NULL},
    {"slash/etc/passwd", NULL, NULL},
    {"etc/passwd", NULL, NULL},
    {"magic", NULL, NULL},
    {"dangling", NULL, NULL},
    {"loop", NULL, NULL},
    {"loop/a", NULL, NULL},
    {"loop1", NULL, NULL},
    /* These no path names, but what opens does not rely on that. */
    {"..", NULL, NULL},
    {"../secret", NULL, NULL},
    {"../root/a", NULL, NULL},
    {"dir/../../secret", NULL, NULL},
    {"/etc/passwd", NULL, NULL},
    {"/", NULL, NULL},
};

static void opens_what_is_beneath(const scene *s, int how)
{
    for (size_t i = 0; i < sizeof openings / sizeof *openings; i++) {
        for (int links = 0; links <= LINKS; links += LINKS) {
            const char *expected = links ? openings[i].with : openings[i].without;
            int fd = rotor__open_beneath(s->root, openings[i].name, how | links);
            if (fd < 0 ? expected != NULL : !expected || !is_same(s, fd, expected))
                fail_msg("%s, %s links: %d", openings[i].name, links ? "with" : "without", fd);
        }
    }
}

static bool has_openat2(const scene *s)
{
    return !(rotor__open_how(s->root, false) & WALK);
}

static void by_openat2(void **state)
{
    scene s;
    set_up(&s);
    if (has_openat2(&s)) {
        assert_int_equal(rotor__open_how(s.root, true), LINKS);
        opens_what_is_beneath(&s, 0);
        tear_down(&s);
    } else {
        tear_down(&s);
        skip();
    }
}

static void by_walking(void **state)
{
    scene s;
    set_up(&s);
    opens_what_is_beneath(&s, WALK);
    tear_down(&s);
}

/* The errors that say what to answer, and which are the same both ways. */
static void errors_of_opening(void **state)
{
    static char longest[ROTOR__NAME_SIZE], segment[300];
    scene s;
    set_up(&s);
    memset(longest, 'a', sizeof longest - 1);
    for (size_t i = 100; i < sizeof longest - 1; i += 100)
        longest[i] = '/';
    memset(segment, 'a', sizeof segment - 1);
    int from = has_openat2(&s) ? 0 : WALK;
    for (int how = from; how <= WALK; how += WALK) {
        for (int links = 0; links <= LINKS; links += LINKS) {
            assert_int_equal(rotor__open_beneath(s.root, "b", how | links), UV_ENOENT);
            assert_int_equal(rotor__open_beneath(s.root, "nothing/a", how | links), UV_ENOENT);
            assert_int_equal(rotor__open_beneath(s.root, "a/b", how | links), UV_ENOTDIR);
            assert_int_equal(rotor__open_beneath(s.root, segment, how | links), UV_ENAMETOOLONG);
            assert_int_equal(rotor__open_beneath(s.root, longest, how | links), UV_ENOENT);
        }
        assert_int_equal(rotor__open_beneath(s.root, "to_a", how), UV_ELOOP);
        assert_int_equal(rotor__open_beneath(s.root, "loop1", how | LINKS), UV_ELOOP);
        assert_int_equal(rotor__open_beneath(s.root, "out", how | LINKS), UV_EXDEV);
        assert_int_equal(rotor__open_beneath(s.root, "absolute_in", how | LINKS), UV_EXDEV);
        assert_int_equal(rotor__open_beneath(s.root, "dangling", how | LINKS), UV_ENOENT);
    }
    tear_down(&s);
}

/* What is no file is opened without waiting for anybody. */
static void what_is_no_file(void **state)
{
    scene s;
    set_up(&s);
    assert_int_equal(mkfifo(folder_path(&s.all, "root/fifo"), 0666), 0);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, folder_path(&s.all, "root/socket"));
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    for (int how = has_openat2(&s) ? 0 : WALK; how <= WALK; how += WALK) {
        assert_true(is_same(&s, rotor__open_beneath(s.root, "fifo", how), "root/fifo"));
        assert_int_equal(rotor__open_beneath(s.root, "socket", how), UV_ENXIO);
    }
    close(fd);
    tear_down(&s);
}

/* Links that lead through many folders, deep down and up again, and just too many of them. */
static void many_links(void **state)
{
    scene s;
    set_up(&s);
    char name[32], target[1024] = "";
    folder_text(&s.all, "root/1/2/3/4/5/6/7/8/9/file", "x");
    for (int i = 0; i < 50; i++)
        strcat(target, "1/2/3/../../../");
    strcat(target, "1/2/3/4/5/6/7/8/9/../../../../6/7/8/9/file");
    folder_link(&s.all, "root/up_and_down", target);
    folder_link(&s.all, "root/link0", "a");
    for (int i = 1; i <= 41; i++) {
        snprintf(name, sizeof name, "root/link%d", i);
        snprintf(target, sizeof target, "link%d", i - 1);
        folder_link(&s.all, name, target);
    }
    for (int how = has_openat2(&s) ? LINKS : LINKS | WALK; how <= (LINKS | WALK); how += WALK) {
        assert_true(is_same(&s, rotor__open_beneath(s.root, "up_and_down", how),
                            "root/1/2/3/4/5/6/7/8/9/file"));
        assert_true(is_same(&s, rotor__open_beneath(s.root, "link39", how), "root/a"));
        assert_int_equal(rotor__open_beneath(s.root, "link40", how), UV_ELOOP);
        assert_int_equal(rotor__open_beneath(s.root, "link41", how), UV_ELOOP);
    }
    tear_down(&s);
}

/* What links say may be too long together; the system may take more. */
static void long_links(void **state)
{
    scene s;
    set_up(&s);
    static char target[ROTOR__NAME_SIZE], name[ROTOR__NAME_SIZE];
    for (size_t i = 0; i + 1 < sizeof target - 200; i += 2)
        memcpy(target + i, "./", 3);
    strcat(target, "dir");
    folder_link(&s.all, "root/long", target);
    strcpy(name, "long/b");
    assert_true(is_same(&s, rotor__open_beneath(s.root, name, LINKS | WALK), "root/dir/b"));
    strcpy(name, "long/");
    memset(name + 5, 'x', 250);
    assert_int_equal(rotor__open_beneath(s.root, name, LINKS | WALK), UV_ENAMETOOLONG);
    tear_down(&s);
}

/* It says so, and keeps none. */
static void out_of_descriptors(void **state)
{
    scene s;
    set_up(&s);
    int fds[256], n = 0;
    struct rlimit before, few = {.rlim_cur = 200};
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few.rlim_max = before.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    while (n < 256 && (fds[n] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        n++;
    assert_in_range(n, 1, 255);
    int walked = rotor__open_beneath(s.root, "to_dir/deep/c", LINKS | WALK);
    int at_once = rotor__open_beneath(s.root, "a", 0);
    close(fds[--n]); /* one left: enough for a file, but not for the folder it is in */
    int in_folder = rotor__open_beneath(s.root, "dir/b", WALK);
    int alone = rotor__open_beneath(s.root, "a", WALK);
    while (n > 0)
        close(fds[--n]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(walked, UV_EMFILE);
    assert_true(at_once == UV_EMFILE || at_once == UV_ENOSYS || at_once == UV_EPERM);
    assert_int_equal(in_folder, UV_EMFILE);
    assert_true(alone >= 0);
    close(alone);
    tear_down(&s);
}

/* While a folder and a link that leads away change places all the time, never the other's file. */
static atomic_bool stop;

static void *change_places(void *data)
{
    const folder *f = data;
    char one[512], other[512];
    snprintf(one, sizeof one, "%s/root/swap", f->path);
    snprintf(other, sizeof other, "%s/root/other", f->path);
    while (!atomic_load(&stop))
        if (syscall(SYS_renameat2, AT_FDCWD, one, AT_FDCWD, other, 2)) /* RENAME_EXCHANGE */
            return data;
    return NULL;
}

static void what_changes_meanwhile(void **state)
{
    scene s;
    set_up(&s);
    folder_text(&s.all, "root/swap/secret", "no secret");
    folder_link(&s.all, "root/other", "../outside");
    pthread_t thread;
    void *result;
    atomic_store(&stop, false);
    assert_int_equal(pthread_create(&thread, NULL, change_places, &s.all), 0);
    struct stat secret, got;
    assert_int_equal(stat(folder_path(&s.all, "outside/secret"), &secret), 0);
    int escaped = 0;
    for (int i = 0; i < 20000; i++) {
        int fd =
            rotor__open_beneath(s.root, "swap/secret", (i & 1 ? WALK : 0) | (i & 2 ? LINKS : 0));
        if (fd < 0)
            continue;
        escaped += fstat(fd, &got) || got.st_ino == secret.st_ino;
        close(fd);
    }
    atomic_store(&stop, true);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_int_equal(escaped, 0);
    tear_down(&s);
    if (result)
        skip(); /* this file system cannot exchange files */
}

/* -- where openat2() is forbidden -------------------------------------------------------------- */

static int forbid_openat2(int error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

/* In a process of its own, as what is forbidden stays so. 0: all went well; 77: it cannot be forbidden. */
static int without_openat2(const scene *s, int error)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (forbid_openat2(error))
            _exit(77);
        int how = rotor__open_how(s->root, false);
        int fd = how == WALK ? rotor__open_beneath(s->root, "dir/b", how) : -1;
        bool good = fd >= 0 && is_same(s, fd, "root/dir/b") &&
                    rotor__open_how(s->root, true) == (WALK | LINKS) &&
                    rotor__open_beneath(s->root, "out", WALK | LINKS) == UV_EXDEV;
        _exit(good ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void where_openat2_is_forbidden(void **state)
{
    scene s;
    set_up(&s);
    int missing = without_openat2(&s, ENOSYS), forbidden = without_openat2(&s, EPERM);
    tear_down(&s);
    if (missing == 77)
        skip();
    assert_int_equal(missing, 0);
    assert_int_equal(forbidden, 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(names_of_paths),
        TEST(names_of_every_byte),
        TEST(names_have_a_length),
        TEST(by_openat2),
        TEST(by_walking),
        TEST(errors_of_opening),
        TEST(what_is_no_file),
        TEST(many_links),
        TEST(long_links),
        TEST(out_of_descriptors),
        TEST(what_changes_meanwhile),
        TEST(where_openat2_is_forbidden),
    };
    return cmocka_run_group_tests_name("files_open", tests, NULL, NULL);
}
