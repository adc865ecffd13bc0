/* A temporary folder with what a test needs in it. */
#ifndef ROTOR_TEST_FOLDER_H
#define ROTOR_TEST_FOLDER_H

#include <stddef.h>

/* Its path, of a new folder in TMPDIR or /tmp. */
typedef struct folder {
    char path[256];
} folder;

void folder_make(folder *f);

/* Remove it with all that is in it. */
void folder_remove(const folder *f);

/* The path of `name` in it. Static: one of the last four that were asked for. */
const char *folder_path(const folder *f, const char *name);

/* Make what `name` is to be: folders in between are made, too. */
void folder_write(const folder *f, const char *name, const void *data, size_t n);
void folder_text(const folder *f, const char *name, const char *text);
void folder_link(const folder *f, const char *name, const char *target);
void folder_folder(const folder *f, const char *name);

/* When it was modified. */
void folder_date(const folder *f, const char *name, long long seconds, long nanoseconds);

#endif
