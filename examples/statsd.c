/* Usage: statsd PORT | ADDR:PORT [SECONDS]
** Adds up what statsd_send sends, and prints it every so many seconds (10) and at its end: counters
** (NAME:NUMBER|c) as their sum, gauges (|g, changed by +1 or -1) as they are, times (|ms) as their mean. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rotor.h>

static struct metric {
    char name[64], type[4];
    double sum, count;
} metrics[1000];
static int nmetrics;
static double interval_s = 10;

/* NULL, or what is wrong with the line. */
static const char *add_line(const char *line)
{
    struct metric new = {0}, *m = metrics, *end = metrics + nmetrics;
    char number[32] = "", *rest;
    double rate = 1;
    int at = 0;
    sscanf(line, "%63[a-zA-Z0-9_.-]:%31[-+.0-9]|%3[a-z]%n|@%lf%n", new.name, number, new.type, &at,
           &rate, &at);
    double value = strtod(number, &rest);
    bool is_gauge = strcmp(new.type, "g") == 0;
    bool known = is_gauge || strcmp(new.type, "c") == 0 || strcmp(new.type, "ms") == 0;
    if (!known || line[at] || *rest || !(rate > 0 && rate <= 1))
        return "expected NAME:NUMBER|c, |g or |ms, then perhaps |@ and a rate up to 1";
    while (m < end && (strcmp(m->name, new.name) != 0 || strcmp(m->type, new.type) != 0))
        m++;
    if (m == metrics + sizeof metrics / sizeof *metrics)
        return "too many names";
    if (m == end)
        metrics[nmetrics++] = new;
    if (is_gauge && !strchr("+-", number[0]))
        m->sum = 0;
    m->sum += value / rate; /* one that was sent at a rate of 0.1 stands for ten */
    m->count += 1 / rate;
    return NULL;
}

/* Gauges stay, the others begin anew. */
static void print_summary(rotor_datagram *d)
{
    struct metric *m = metrics, *end = metrics + nmetrics;
    printf("-- metrics: %d\n", nmetrics);
    for (nmetrics = 0; m < end; m++) {
        printf("%s|%s %.10g\n", m->name, m->type, m->type[0] == 'm' ? m->sum / m->count : m->sum);
        if (m->type[0] == 'g')
            metrics[nmetrics++] = *m;
    }
}

static rotor_response create(rotor_datagram *d, rotor_scope *scope, void *seed)
{
    return rotor_ok_until(rotor_now(scope) + (uint64_t)(interval_s * 1000));
}

static rotor_response datagram(rotor_datagram *d, rotor_scope *scope, void *data, size_t n,
                               const rotor_datagram_info *info)
{
    char text[65536], from[ROTOR_ADDRESS_SIZE];
    snprintf(text, sizeof text, "%.*s", (int)n, (char *)data);
    rotor_address_format(&info->from, from, sizeof from);
    for (char *line = strtok(text, "\r\n\033"); line; line = strtok(NULL, "\r\n\033")) {
        const char *wrong = add_line(line);
        if (wrong)
            fprintf(stderr, "statsd: %s: \"%s\": %s\n", from, line, wrong);
    }
    return rotor_same();
}

static rotor_response timeout(rotor_datagram *d, rotor_scope *scope)
{
    print_summary(d);
    return create(d, scope, NULL);
}

static const rotor_datagram_protocol statsd = {
    .name = "statsd",
    .size = sizeof(rotor_datagram),
    .create = create,
    .datagram = datagram,
    .timeout = timeout,
    .drop = print_summary,
};

static void stop(rotor_loop *loop, int signum, void *context)
{
    rotor_loop_stop(loop);
}

int main(int argc, char **argv)
{
    rotor_loop *loop;
    rotor_handle handle;
    char where[ROTOR_ADDRESS_SIZE];
    if (argc < 2 || argc > 3 || (argc == 3 && !((interval_s = atof(argv[2])) > 0))) {
        fprintf(stderr, "usage: %s PORT | ADDR:PORT [SECONDS]\n", argv[0]);
        return 2;
    }
    int error = rotor_loop_new(&loop, NULL);
    if (!error)
        error = rotor_udp(loop, argv[1], &statsd, NULL, &handle);
    if (error) {
        fprintf(stderr, "%s: %s: %s\n", argv[0], argv[1], rotor_strerror(error));
        return 1;
    }
    rotor_loop_on_signal(loop, SIGINT, stop, NULL);
    rotor_loop_on_signal(loop, SIGTERM, stop, NULL);
    rotor_datagram_local((rotor_datagram *)rotor_find(loop, handle), where, sizeof where);
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("listening on %s\n", where);
    rotor_loop_run(loop);
    return rotor_loop_free(loop) ? 1 : 0;
}
