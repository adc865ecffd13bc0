#include "folder.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"

void folder_make(folder *f)
{
    const char *tmp = getenv("TMPDIR");
    int n = snprintf(f->path, sizeof f->path, "%s/rotor-test-XXXXXX", tmp ? tmp : "/tmp");
    assert_in_range(n, 1, sizeof f->path - 1);
    assert_non_null(mkdtemp(f->path));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static int open_up(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return type == FTW_DNR ? chmod(path, 0700) : 0;
}

void folder_remove(const folder *f)
{
    assert_int_equal(nftw(f->path, open_up, 16, FTW_PHYS), 0);
    assert_int_equal(nftw(f->path, remove_one, 16, FTW_PHYS | FTW_DEPTH), 0);
}

const char *folder_path(const folder *f, const char *name)
{
    static char paths[4][8192];
    static unsigned which;
    char *path = paths[which++ % 4];
    assert_in_range(snprintf(path, sizeof *paths, "%s/%s", f->path, name), 1, sizeof *paths - 1);
    return path;
}

static void make_way(const folder *f, const char *name)
{
    char path[8192];
    strcpy(path, folder_path(f, name));
    for (char *p = path + strlen(f->path) + 1; (p = strchr(p, '/')); *p++ = '/') {
        *p = '\0';
        assert_true(mkdir(path, 0777) == 0 || errno == EEXIST);
    }
}

void folder_write(const folder *f, const char *name, const void *data, size_t n)
{
    make_way(f, name);
    int fd = open(folder_path(f, name), O_WRONLY | O_CREAT | O_TRUNC, 0666);
    assert_true(fd >= 0);
    while (n > 0) {
        ssize_t written = write(fd, data, n);
        assert_true(written > 0);
        data = (const char *)data + written;
        n -= (size_t)written;
    }
    close(fd);
}

void folder_text(const folder *f, const char *name, const char *text)
{
    folder_write(f, name, text, strlen(text));
}

void folder_link(const folder *f, const char *name, const char *target)
{
    make_way(f, name);
    assert_int_equal(symlink(target, folder_path(f, name)), 0);
}

void folder_folder(const folder *f, const char *name)
{
    make_way(f, name);
    assert_int_equal(mkdir(folder_path(f, name), 0777), 0);
}

void folder_date(const folder *f, const char *name, long long seconds, long nanoseconds)
{
    struct timespec times[2] = {{.tv_sec = (time_t)seconds, .tv_nsec = nanoseconds},
                                {.tv_sec = (time_t)seconds, .tv_nsec = nanoseconds}};
    assert_int_equal(utimensat(AT_FDCWD, folder_path(f, name), times, 0), 0);
}
