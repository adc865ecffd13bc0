/* Usage: chat PORT | ADDR:PORT
** A chat for telnet and nc: what one says goes to all; there are /who, /nick NAME and /quit. Whoever
** reads too slowly, or never ends a line, is dropped before that takes much memory. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <rotor.h>

enum { SEATS = 1000, LONGEST_NAME = 16, LONGEST_LINE = 1024, MOST_UNSENT = 256 * 1024 };

typedef struct member {
    rotor_stream stream;
    char name[LONGEST_NAME + 1];
} member;

static member *members[SEATS]; /* each at its slot in the loop */
static const rotor_protocol greeting, talking;

/* To one, or with `to` NULL to all but `from`; without control characters, for their terminals. */
static void tell(member *to, member *from, const char *who, const char *does, const char *what)
{
    char text[LONGEST_LINE + 64];
    int len = snprintf(text, sizeof text, "%s%s%s\n", who, does, what);
    for (int i = 0; i < len - 1; i++)
        text[i] = (unsigned char)text[i] < ' ' ? ' ' : text[i];
    for (int i = 0; i < SEATS; i++) {
        member *m = members[i];
        if (m && rotor_stream_unsent(&m->stream) > MOST_UNSENT)
            rotor_end(m->stream.machine.loop, m->stream.machine.self, ROTOR_ESTALLED);
        else if (m && (to ? m == to : m != from))
            rotor_stream_write(&m->stream, text, (size_t)len);
    }
}

static rotor_intent create(rotor_stream *s, rotor_scope *scope, void *seed)
{
    member *m = members[s->machine.self.slot] = (member *)s;
    snprintf(m->name, sizeof m->name, "Somebody");
    tell(m, NULL, "Welcome! What is your name?", "", "");
    rotor_become(s, &greeting);
    return rotor_expect_delimiter("\n", 1, LONGEST_LINE);
}

static rotor_intent take_name(rotor_stream *s, rotor_scope *scope, size_t n)
{
    member *m = (member *)s;
    char *name = rotor_buf_data(rotor_stream_input(s));
    name[strcspn(name, "\r\n")] = '\0';
    name += strncmp(name, "/nick ", 6) == 0 ? 6 : 0;
    bool good = *name && strlen(name) <= LONGEST_NAME && !strpbrk(name, " :/");
    for (int i = 0; i < SEATS && good; i++)
        good = !members[i] || strcasecmp(members[i]->name, name) != 0;
    if (good) {
        tell(NULL, NULL, m->name, " is now ", name);
        snprintf(m->name, sizeof m->name, "%s", name);
        rotor_become(s, &talking);
    } else {
        tell(m, NULL, name, " is no name, ", "or somebody has it.");
    }
    rotor_buf_consume(rotor_stream_input(s), n + 1);
    return rotor_intent_same();
}

static rotor_intent talk(rotor_stream *s, rotor_scope *scope, size_t n)
{
    member *m = (member *)s;
    char *line = rotor_buf_data(rotor_stream_input(s));
    if (strncmp(line, "/nick ", 6) == 0)
        return take_name(s, scope, n);
    line[strcspn(line, "\r\n")] = '\0';
    if (strcmp(line, "/quit") == 0)
        return rotor_intent_done();
    for (int i = 0; i < SEATS && strcmp(line, "/who") == 0; i++)
        if (members[i])
            tell(m, NULL, members[i]->name, "", "");
    if (line[0] != '/')
        tell(NULL, m, m->name, ": ", line);
    rotor_buf_consume(rotor_stream_input(s), n + 1);
    return rotor_intent_same();
}

static void leave(rotor_stream *s)
{
    members[s->machine.self.slot] = NULL;
    tell(NULL, NULL, ((member *)s)->name, " has left", "");
}

static const rotor_protocol chat = {
    .name = "chat", .size = sizeof(member), .create = create, .drop = leave};
static const rotor_protocol greeting = {
    .name = "greeting", .parent = &chat, .bytes_read = take_name};
static const rotor_protocol talking = {.name = "talking", .parent = &chat, .bytes_read = talk};

static void stop(rotor_loop *loop, int signum, void *context)
{
    rotor_loop_stop(loop);
}

int main(int argc, char **argv)
{
    rotor_loop *loop;
    rotor_handle listener;
    char where[128];
    if (argc != 2)
        return fprintf(stderr, "usage: %s PORT | ADDR:PORT\n", argv[0]), 2;
    int error = rotor_loop_new(&loop, &(rotor_config){.capacity = SEATS});
    if (!error)
        error = rotor_listen(loop, argv[1], &chat, NULL, &listener);
    if (error)
        return fprintf(stderr, "%s: %s: %s\n", argv[0], argv[1], rotor_strerror(error)), 1;
    rotor_loop_on_signal(loop, SIGINT, stop, NULL);
    rotor_loop_on_signal(loop, SIGTERM, stop, NULL);
    rotor_listener_address(loop, listener, where, sizeof where);
    printf("listening on %s\n", where);
    fflush(stdout);
    rotor_loop_run(loop);
    return rotor_loop_free(loop) ? 1 : 0;
}
