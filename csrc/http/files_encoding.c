/* Which content codings a client accepts (RFC 9110 section 12.5.3). Pure. */
#include "files_private.h"
#include "scan.h"

const rotor__coding rotor__codings[ROTOR__CODINGS] = {
    {"br", ".br"}, {"zstd", ".zst"}, {"gzip", ".gz"}};

typedef struct reader {
    const char *p, *end;
} reader;

static void skip_ows(reader *r)
{
    while (r->p < r->end && rotor__is_ows(*r->p))
        r->p++;
}

static bool skip(reader *r, char c)
{
    skip_ows(r);
    if (r->p == r->end || *r->p != c)
        return false;
    r->p++;
    skip_ows(r);
    return true;
}

static rotor_text read_token(reader *r)
{
    const char *start = r->p;
    while (r->p < r->end && rotor__is(*r->p, ROTOR__TOKEN))
        r->p++;
    return (rotor_text){start, (size_t)(r->p - start)};
}

/* A weight in thousandths, or -1. */
static int read_weight(reader *r)
{
    int weight = 0;
    if (r->end - r->p < 3 || (*r->p | 32) != 'q' || r->p[1] != '=')
        return -1;
    r->p += 2;
    if (*r->p != '0' && *r->p != '1')
        return -1;
    weight = 1000 * (*r->p++ - '0');
    if (r->p < r->end && *r->p == '.') {
        r->p++;
        for (int unit = 100; unit > 0 && r->p < r->end && rotor__is(*r->p, ROTOR__DIGIT);
             unit /= 10)
            weight += unit * (*r->p++ - '0');
    }
    return weight <= 1000 ? weight : -1;
}

static bool is_coding(rotor_text token, const char *name)
{
    size_t len = strlen(name);
    return token.len == len && rotor_http_name_equal(token.data, name, len);
}

static void take(rotor__accepted *a, rotor_text coding, int weight)
{
    if (is_coding(coding, "*"))
        a->any = weight;
    else if (is_coding(coding, "identity"))
        a->identity = weight;
    else if (is_coding(coding, "x-gzip"))
        coding = (rotor_text){"gzip", 4};
    for (int i = 0; i < ROTOR__CODINGS; i++)
        if (is_coding(coding, rotor__codings[i].name))
            a->weight[i] = weight;
}

void rotor__accept_encoding(rotor__accepted *a, rotor_text value)
{
    reader r = {value.data, value.data + value.len};
    while (r.p < r.end) {
        rotor_text coding = read_token(&r);
        int weight = skip(&r, ';') ? read_weight(&r) : 1000;
        skip_ows(&r);
        bool is_whole = r.p == r.end || *r.p == ',';
        if (coding.len > 0 && weight >= 0 && is_whole)
            take(a, coding, weight);
        while (r.p < r.end && *r.p != ',') /* it is malformed */
            r.p++;
        (void)skip(&r, ',');
    }
}

int rotor__best_coding(rotor__accepted *a)
{
    int identity = a->identity >= 0 ? a->identity : a->any;
    int best = -1, most = identity > 0 ? identity - 1 : 0;
    for (int i = 0; i < ROTOR__CODINGS; i++) {
        int weight = a->weight[i] >= 0 ? a->weight[i] : a->any;
        if (weight > most) {
            most = weight;
            best = i;
        }
    }
    if (best >= 0)
        a->weight[best] = 0;
    return best;
}
