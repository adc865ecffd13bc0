# Turns the records of bench/run (fields between tabs) into two Markdown tables. Exits 1 when there
# is a fault; with check=1 also when rotor is above a budget that repeats exactly, or was not
# measured against it.
#
#   load SERVER LOAD ROUND REQUESTS US USER_TICKS SYSTEM_TICKS P99_US ERRORS
#   instructions SERVER TOTAL_OF_FEW TOTAL_OF_MANY REQUESTS_BETWEEN
#   redis CLIENT COMMAND DEPTH ROUND NUMBER US
#   idle SERVER BYTES      answer SERVER BYTES      missing SERVER REASON      fault TEXT

BEGIN {
    FS = "\t"
    label["rotor-c"] = "rotor, C"
    label["rotor-lua"] = "rotor, Lua"
    label["epoll"] = "raw epoll"
    label["libuv"] = "bare libuv"
    label["luv"] = "bare luv"
    label["echo-c"] = "rotor, C"
    label["echo-lua"] = "rotor, Lua"
    label["echo-libev"] = "libev"
    label["echo-libuv"] = "bare libuv"
    label["echo1"] = "64 bytes, 100 connections"
    label["echo16"] = "the same, 16 in flight"
    label["c100"] = "`-t1 -c100`"
    label["c400"] = "`-t2 -c400`"
    label["pipelined"] = "`-t1 -c100`, 16 pipelined"

    # Lua pipelined: 1.15 times hyper, which reached 0.766 of raw epoll where both were measured.
    budget["user", "rotor-c"] = 0.35
    budget["user", "rotor-lua"] = 0.65
    budget["ratio", "rotor-c"] = 0.97
    budget["ratio", "rotor-lua"] = 0.88
    budget["ratio", "echo-c"] = 0.97
    budget["ratio", "echo-lua"] = 0.85
    budget["instructions", "rotor-c"] = 1800
    budget["instructions", "rotor-lua"] = 3200
    budget["idle", "rotor-c"] = 400
    budget["idle", "rotor-lua"] = 640
}

$1 == "load" {
    n = ++runs[$3, $2]
    round_of[$3, $2, n] = $4
    rate[$3, $2, n] = rate_in[$3, $2, $4] = $5 / $6 * 1e6
    user[$3, $2, n] = $7 / tick / $5 * 1e6
    kernel[$3, $2, n] = $8 / tick / $5 * 1e6
    p99[$3, $2, n] = $9 / 1000
    errors[$3, $2] += $10
}
$1 == "instructions" {
    once = sprintf("%.0f", ($4 - $3) / $5) + 0
    if (!($2 in lowest) || once < lowest[$2]) lowest[$2] = once
    if (!($2 in highest) || once > highest[$2]) highest[$2] = once
}
$1 == "redis" {
    key = $4 SUBSEP $3
    if (!(key in redis_seen)) { redis_seen[key]; redis_keys[++redis_count] = key }
    n = ++runs[$2, key]
    rate[$2, key, n] = rate_in[$2, key, $5] = $6 / $7 * 1e6
    if ($2 == "rotor") round_of[$2, key, n] = $5
}
$1 == "idle" { idle[$2] = $3 }
$1 == "answer" { answer[$2] = $3 }
$1 == "missing" { missing[$2] = $3 }
$1 == "fault" { faults[++fault_count] = $2 }

function name(key) { return key in label ? label[key] : key }

# 1234567 → 1,234,567
function grouped(x,    s, tail) {
    s = sprintf("%.0f", x)
    while (length(s) > 3) {
        tail = "," substr(s, length(s) - 2) tail
        s = substr(s, 1, length(s) - 3)
    }
    return s tail
}

# The median of values[load, server, 1 … runs].
function median(values, load, server,    n, i, j, v, sorted) {
    n = runs[load, server]
    for (i = 1; i <= n; i++) {
        v = values[load, server, i]
        for (j = i; j > 1 && sorted[j - 1] > v; j--) sorted[j] = sorted[j - 1]
        sorted[j] = v
    }
    return n % 2 ? sorted[(n + 1) / 2] : (sorted[n / 2] + sorted[n / 2 + 1]) / 2
}

# The cell that says what the budget is and whether `value` keeps it; empty where there is none.
function judged(kind, server, value,    limit, kept) {
    if (!((kind, server) in budget)) return ""
    limit = budget[kind, server]
    kept = kind == "ratio" ? value >= limit : value <= limit
    if (!kept && (kind == "instructions" || kind == "idle")) bad = 1
    if (kind == "ratio") limit = "× " base_of(server) " ≥ " limit
    else if (kind == "user") limit = "user ≤ " limit
    else limit = "≤ " grouped(limit)
    return limit (kept ? ", kept" : ", MISSED")
}

# What a server's rate is compared with, in the same round.
function base_of(server) { return server ~ /^echo-/ ? "libev" : "epoll" }

function load_row(load, server,    n, i, base, base_rate, ratio, cell) {
    n = runs[load, server]
    if (!n) {
        row(name(load) "|" name(server) "|" \
            (server in missing ? missing[server] : "failed") "||||||")
        return
    }
    base = server ~ /^echo-/ ? "echo-libev" : "epoll"
    for (i = 1; i <= n; i++) {
        base_rate = rate_in[load, base, round_of[load, server, i]]
        ratio[load, server, i] = base_rate ? rate[load, server, i] / base_rate : 0
    }
    if (load == "c100") cell = judged("user", server, median(user, load, server))
    if ((load == "pipelined" || load == "echo1") && base_rate) cell = judged("ratio", server, median(ratio, load, server))
    row(name(load) "|" name(server) "|" grouped(median(rate, load, server)) "|" \
        (base_rate ? sprintf("%.2f", median(ratio, load, server)) : "–") "|" \
        sprintf("%.2f|%.2f|%.2f|%d|", median(user, load, server), median(kernel, load, server), \
            median(p99, load, server), errors[load, server]) cell)
}

function cost_row(server,    counted, held, repeats) {
    if (server in missing) {
        row(name(server) "|" missing[server] "|||||")
        return
    }
    counted = server in lowest
    held = server in idle
    repeats = lowest[server] == highest[server] ? "exactly" : "up to " grouped(highest[server])
    row(name(server) "|" answer[server] "|" \
        (counted ? grouped(lowest[server]) "|" repeats : "–|–") "|" \
        (counted ? judged("instructions", server, lowest[server]) : "") "|" \
        (held ? grouped(idle[server]) : "–") "|" \
        (held ? judged("idle", server, idle[server]) : ""))
}

function redis_row(key,    i, n, part, base, ratio) {
    n = runs["rotor", key]
    for (i = 1; i <= n; i++) {
        base = rate_in["redis-benchmark", key, round_of["rotor", key, i]]
        ratio["rotor", key, i] = base ? rate["rotor", key, i] / base : 0
    }
    split(key, part, SUBSEP)
    row(part[2] "|" part[1] "|" grouped(median(rate, "rotor", key)) "|" \
        grouped(median(rate, "redis-benchmark", key)) "|" \
        sprintf("%.2f", median(ratio, "rotor", key)))
}

# Tables: a row is its cells joined by "|"; columns are as wide as their widest cell, the first
# `left` of them flush left.
function row(line) { rows[++row_count] = line }

# In characters: the continuation bytes of UTF-8 take no room.
function width(s,    bytes) { bytes = length(s); return bytes - gsub(/[\200-\277]/, "", s) }

function repeated(c, n,    s) {
    while (n-- > 0) s = s c
    return s
}

function print_table(left,    r, c, n, cells, wide, line, gap) {
    for (r = 1; r <= row_count; r++) {
        n = split(rows[r], cells, "|")
        for (c = 1; c <= n; c++)
            if (width(cells[c]) > wide[c]) wide[c] = width(cells[c])
    }
    for (r = 1; r <= row_count; r++) {
        split(rows[r], cells, "|")
        line = "|"
        for (c = 1; c <= n; c++) {
            gap = repeated(" ", wide[c] - width(cells[c]))
            line = line " " (c <= left ? cells[c] gap : gap cells[c]) " |"
        }
        print line
        if (r > 1) continue
        line = "|"
        for (c = 1; c <= n; c++)
            line = line " " repeated("-", wide[c] - 1) (c <= left ? "-" : ":") " |"
        print line
    }
    print ""
    row_count = 0
}

END {
    loads = split(load_names, load_list, " ")
    servers = split(server_names, server_list, " ")
    if (only == "" || only == "wrk") {
        row("load|server|requests/s|× epoll|user µs|system µs|p99 ms|errors|budget")
        for (l = 1; l <= loads; l++)
            for (s = 1; s <= servers; s++) load_row(load_list[l], server_list[s])
        print_table(2)
    }
    if (only == "" || only == "echo") {
        echo_count = split(echo_loads, echo_load_list, " ")
        echoers = split(echo_names, echo_list, " ")
        row("echo|server|messages/s|× libev|user µs|system µs|p99 ms|errors|budget")
        for (l = 1; l <= echo_count; l++)
            for (s = 1; s <= echoers; s++) load_row(echo_load_list[l], echo_list[s])
        print_table(2)
    }
    if (only == "" || only == "redis") {
        row("Redis command|in flight|rotor.redis, 1/s|redis-benchmark, 1/s|×")
        for (k = 1; k <= redis_count; k++) redis_row(redis_keys[k])
        if ("redis" in missing) row("redis-server|" missing["redis"] "|||")
        print_table(1)
    }
    if (only !~ /wrk|echo|redis/) {
        row("server|answer, bytes|instructions|repeats|budget|idle, bytes|budget")
        for (s = 1; s <= servers; s++) cost_row(server_list[s])
        print_table(1)
    }
    for (f = 1; f <= fault_count; f++) print "FAILED: " faults[f]
    for (key in budget) {
        split(key, part, SUBSEP)
        if ((part[1] == "instructions" && only !~ /idle|echo|redis/ && !(part[2] in lowest)) ||
            (part[1] == "idle" && only !~ /instructions|echo|redis/ && !(part[2] in idle))) bad = 1
    }
    exit fault_count > 0 || (check && bad)
}
