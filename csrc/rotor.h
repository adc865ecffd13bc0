/* rotor: state machines over libuv. The umbrella header: includes everything public. */
#ifndef ROTOR_H
#define ROTOR_H

#define ROTOR_VERSION "0.1.0"

#include "core/alloc.h"
#include "core/buf.h"
#include "core/deadline.h"
#include "core/dump.h"
#include "core/error.h"
#include "core/future.h"
#include "core/io.h"
#include "core/loop.h"
#include "core/machine.h"
#include "core/notifier.h"
#include "core/process.h"
#include "core/watchdog.h"

#include "stream/address.h"
#include "stream/connect.h"
#include "stream/datagram.h"
#include "stream/listen.h"
#include "stream/memory.h"
#include "stream/persist.h"
#include "stream/stream.h"
#include "stream/trace.h"
#include "stream/transport.h"

#include "http/message.h"
#include "http/parser.h"
#include "http/chunked.h"
#include "http/server.h"
#include "http/date.h"
#include "http/conditions.h"
#include "http/mime.h"
#include "http/files.h"
#include "http/websocket.h"
#include "http/websocket_frame.h"
#include "http/url.h"
#include "http/ask.h"
#include "http/client.h"
#include "http/fetch.h"
#include "http/metrics.h"

#endif
