/* What a WebSocket sends. */
#include "websocket_private.h"

/* -- frames ------------------------------------------------------------------------------------ */

/* A client's keys must not be foreseen by whoever chooses what it sends (section 10.3), so they are the
** system's random numbers; asked for many at a time, as that costs a system call. */
static int next_key(char key[4])
{
    static _Thread_local struct {
        char bytes[256];
        size_t left;
    } pool;
    if (pool.left == 0) {
        int error = uv_random(NULL, NULL, pool.bytes, sizeof pool.bytes, 0, NULL);
        if (error)
            return error;
        pool.left = sizeof pool.bytes;
    }
    pool.left -= 4;
    memcpy(key, pool.bytes + pool.left, 4);
    return 0;
}

int rotor__websocket_send(rotor_websocket *ws, uint8_t opcode, bool fin, rotor_text data)
{
    rotor_websocket_frame frame = {
        .length = data.len, .opcode = opcode, .fin = fin, .masked = ws->flags & WEBSOCKET__CLIENT};
    rotor_buf *output = rotor_stream_output(&ws->stream);
    if (!output)
        return ROTOR_ECLOSED;
    if (data.len > ROTOR_BUF_MAX) /* the sum must not wrap around */
        return UV_ENOMEM;
    int error = frame.masked ? next_key(frame.key) : 0;
    if (error)
        return error;
    char *p = rotor_buf_reserve(output, ROTOR_WEBSOCKET_HEADER_MOST + data.len);
    if (!p)
        return UV_ENOMEM;
    size_t header = rotor_websocket_write_frame(p, &frame);
    if (data.len > 0)
        memcpy(p + header, data.data, data.len);
    if (frame.masked)
        rotor_websocket_mask(p + header, data.len, frame.key, 0);
    rotor_buf_commit(output, header + data.len);
    return 0;
}

int rotor__websocket_send_close(rotor_websocket *ws, int code, rotor_text reason)
{
    char payload[ROTOR_WEBSOCKET_CONTROL_MOST] = {(char)(code >> 8), (char)code};
    size_t len = reason.len < sizeof payload - 2 ? reason.len : sizeof payload - 2;
    if (len > 0)
        memcpy(payload + 2, reason.data, len);
    size_t size = code == ROTOR_WEBSOCKET_NO_CODE ? 0 : 2 + len;
    return rotor__websocket_send(ws, ROTOR_WEBSOCKET_CLOSE, true, (rotor_text){payload, size});
}

/* -- messages ---------------------------------------------------------------------------------- */

static int send_message(rotor_websocket *ws, rotor_text data, bool is_text)
{
    if (!rotor_websocket_is_open(ws))
        return ROTOR_ECLOSED;
    if (ws->flags & WEBSOCKET__SENDING)
        return ROTOR_ESTATE;
    if (is_text && !rotor_is_utf8(data.data, data.len))
        return ROTOR_WEBSOCKET_EUTF8;
    return rotor__websocket_send(ws, is_text ? ROTOR_WEBSOCKET_TEXT : ROTOR_WEBSOCKET_BINARY, true,
                                 data);
}

int rotor_websocket_send_text(rotor_websocket *ws, rotor_text text)
{
    return send_message(ws, text, true);
}

int rotor_websocket_send_binary(rotor_websocket *ws, rotor_text data)
{
    return send_message(ws, data, false);
}

int rotor_websocket_send_fragment(rotor_websocket *ws, rotor_text data, bool is_text, bool last)
{
    uint8_t opcode = ROTOR_WEBSOCKET_CONTINUATION;
    rotor_utf8 out = ws->out;
    if (!rotor_websocket_is_open(ws))
        return ROTOR_ECLOSED;
    if (ws->flags & WEBSOCKET__SENDING)
        is_text = ws->flags & WEBSOCKET__SENDING_TEXT;
    else
        opcode = is_text ? ROTOR_WEBSOCKET_TEXT : ROTOR_WEBSOCKET_BINARY;
    if (is_text && (!rotor_utf8_go_on(&out, data.data, data.len) || (last && out.left > 0)))
        return ROTOR_WEBSOCKET_EUTF8;
    int error = rotor__websocket_send(ws, opcode, last, data);
    if (error)
        return error;
    ws->out = out;
    ws->flags &= ~(uint32_t)(WEBSOCKET__SENDING | WEBSOCKET__SENDING_TEXT);
    if (!last)
        ws->flags |= WEBSOCKET__SENDING | (is_text ? WEBSOCKET__SENDING_TEXT : 0);
    return 0;
}

int rotor_websocket_ping(rotor_websocket *ws, rotor_text data)
{
    if (!rotor_websocket_is_open(ws))
        return ROTOR_ECLOSED;
    if (data.len > ROTOR_WEBSOCKET_CONTROL_MOST)
        return UV_EINVAL;
    return rotor__websocket_send(ws, ROTOR_WEBSOCKET_PING, true, data);
}
