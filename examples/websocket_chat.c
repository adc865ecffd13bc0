/* Usage: websocket_chat PORT | ADDR:PORT
** A chat for browsers: at / is its page, at /chat its WebSocket. The first message is one's name, and what one
** says then goes to all. Whoever reads too slowly is dropped before that takes much memory. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <rotor.h>

enum { LONGEST_NAME = 16, LONGEST_MESSAGE = 1024, MOST_UNSENT = 256 * 1024 };

static const char page[] =
    "<!DOCTYPE html>\n<meta charset=\"utf-8\">\n<title>rotor: chat</title>\n<pre "
    "id=\"said\"></pre>\n"
    "<form id=\"form\"><input id=\"text\" placeholder=\"your name\" autofocus autocomplete=\"off\">"
    "</form>\n<script>\n"
    "const said = document.getElementById(\"said\"), text = document.getElementById(\"text\");\n"
    "const socket = new WebSocket(\"ws://\" + location.host + \"/chat\");\n"
    "function show(line) { said.append(line + \"\\n\"); }\n"
    "socket.onmessage = event => show(event.data);\n"
    "socket.onclose = event => show(\"(closed: \" + event.code + \" \" + event.reason + \")\");\n"
    "document.getElementById(\"form\").onsubmit = event => {\n  event.preventDefault();\n"
    "  if (text.value) socket.send(text.value);\n  text.value = \"\";\n"
    "  text.placeholder = \"say something\";\n};\n</script>\n";

typedef struct member {
    rotor_websocket ws;
    struct member *next;
    char name[LONGEST_NAME + 1]; /* empty: none yet */
} member;

static member *members;
static bool ending;

static rotor_text text_of(const char *text)
{
    return (rotor_text){text, strlen(text)};
}

static void tell_all(const char *who, const char *does, rotor_text what)
{
    char text[LONGEST_MESSAGE + 64];
    snprintf(text, sizeof text, "%s%s%.*s", who, does, (int)what.len, what.data);
    for (member *m = members; m; m = m->next) {
        if (rotor_websocket_unsent(&m->ws) > MOST_UNSENT)
            rotor_end(m->ws.stream.machine.loop, m->ws.stream.machine.self, ROTOR_ESTALLED);
        else if (*m->name)
            rotor_websocket_send_text(&m->ws, text_of(text));
    }
}

static bool is_name(rotor_text text)
{
    bool good = text.len > 0 && text.len <= LONGEST_NAME;
    for (size_t i = 0; i < text.len && good; i++)
        good = (unsigned char)text.data[i] >= ' ' && text.data[i] != 127 && text.data[i] != ':';
    for (member *m = members; m && good; m = m->next)
        good = strlen(m->name) != text.len || strncasecmp(m->name, text.data, text.len) != 0;
    return good;
}

static void take_name(member *m, rotor_text name)
{
    char text[LONGEST_MESSAGE + 64];
    int len = (int)name.len;
    if (is_name(name)) {
        snprintf(m->name, sizeof m->name, "%.*s", len, name.data);
        tell_all(m->name, " is here", text_of(""));
    } else {
        snprintf(text, sizeof text, "%.*s is no name, or somebody has it.", len, name.data);
        rotor_websocket_send_text(&m->ws, text_of(text));
    }
}

static rotor_intent on_open(rotor_websocket *ws, rotor_scope *scope, void *seed)
{
    ((member *)ws)->next = members;
    members = (member *)ws;
    if (ending)
        rotor_websocket_close(ws, ROTOR_WEBSOCKET_GOING_AWAY, text_of("the server ends"));
    else
        rotor_websocket_send_text(ws, text_of("Welcome! What is your name?"));
    return rotor_expect_message();
}

static rotor_intent on_message(rotor_websocket *ws, rotor_scope *scope, rotor_text data,
                               bool is_text)
{
    member *m = (member *)ws;
    if (!is_text)
        rotor_websocket_close(ws, ROTOR_WEBSOCKET_UNACCEPTABLE, text_of("only text is said here"));
    else if (*m->name)
        tell_all(m->name, ": ", data);
    else
        take_name(m, data);
    return rotor_expect_message();
}

static void on_close(rotor_websocket *ws, int code, rotor_text reason)
{
    member *m = (member *)ws, **link = &members;
    while (*link != m)
        link = &(*link)->next;
    *link = m->next;
    if (*m->name)
        tell_all(m->name, " has left", text_of(""));
}

static const rotor_websocket_handler chat = {
    .protocol = ROTOR_WEBSOCKET_PROTOCOL("chat", member),
    .open = on_open,
    .message = on_message,
    .close = on_close,
    .max_message = LONGEST_MESSAGE,
};

static bool is(rotor_text text, const char *other)
{
    return text.len == strlen(other) && memcmp(text.data, other, text.len) == 0;
}

static rotor_response on_request(rotor_http *h, rotor_scope *scope)
{
    rotor_text path = rotor_http_path(h), method = rotor_http_method(h);
    if (is(path, "/chat")) {
        rotor_websocket_upgrade(h, &chat, NULL); /* or it says what is wrong with the request */
    } else if (!is(path, "/")) {
        rotor_http_send_text(h, 404, "404 Not Found\n");
    } else if (!is(method, "GET") && !is(method, "HEAD")) {
        rotor_http_add_text(h, "Allow", "GET, HEAD");
        rotor_http_send_text(h, 405, "405 Method Not Allowed\n");
    } else {
        rotor_http_add_text(h, "Content-Type", "text/html");
        rotor_http_send_text(h, 200, page);
    }
    return rotor_done();
}

static const rotor_http_handler web = {.name = "websocket_chat", .request_received = on_request};

/* The first time: say goodbye to all, and end when they and the requests under way are through. The second
** time: end now. */
static void stop(rotor_loop *loop, int signum, void *context)
{
    const rotor_handle *listener = context;
    if (rotor_http_drain(loop, *listener, 30000, NULL, NULL))
        rotor_loop_stop(loop);
    ending = true;
    for (member *m = members; m; m = m->next)
        rotor_websocket_close(&m->ws, ROTOR_WEBSOCKET_GOING_AWAY, text_of("the server ends"));
}

int main(int argc, char **argv)
{
    rotor_loop *loop;
    rotor_handle listener;
    char where[128];
    if (argc != 2)
        return fprintf(stderr, "usage: %s PORT | ADDR:PORT\n", argv[0]), 2;
    int error = rotor_loop_new(&loop, NULL);
    if (!error)
        error = rotor_http_serve(loop, argv[1], &web, NULL, &listener);
    if (error)
        return fprintf(stderr, "%s: %s: %s\n", argv[0], argv[1], rotor_strerror(error)), 1;
    rotor_loop_on_signal(loop, SIGINT, stop, &listener);
    rotor_loop_on_signal(loop, SIGTERM, stop, &listener);
    rotor_listener_address(loop, listener, where, sizeof where);
    printf("listening on http://%s/\n", where);
    fflush(stdout);
    rotor_loop_run(loop);
    return rotor_loop_free(loop) ? 1 : 0;
}
