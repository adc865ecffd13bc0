---@meta rotor.types

-- What rotor is made of, for editors that read LuaCATS annotations (lua-language-server), and for
-- people. Nothing here runs. Times are seconds as numbers, and where one may be left out, math.huge
-- or nil mean: no deadline. What cannot fail but by misuse throws; what can fail at run time
-- returns nil, "NAME: message" and "NAME", so that assert() fits around it.

-- luacheck: ignore 212 241, no max comment line length

--------------------------------------------------------------------------------------------------

--- The module. Its functions about a loop are about the default loop, which is made when it is
--- first needed; a loop has the same ones as methods.
---@class rotor
---@field version string
---@field threads rotor.threads
local rotor = {}

--- Declare a type of machine: `rotor.machine "Name" { create = …, timeout = … }`. Besides
--- transitions the table may hold other values (but no functions), which `self` begins with.
---@param name string for messages
---@return fun(transitions: rotor.MachineTransitions): rotor.MachineType
function rotor.machine(name) end

--- Declare a protocol, which is what a stream runs:
--- `rotor.protocol "Name" { create = …, bytes_read = … }`.
---@param name string for messages
---@param options? rotor.ProtocolOptions
---@return fun(transitions: rotor.ProtocolTransitions): rotor.Protocol
function rotor.protocol(name, options) end

--- Declare what a datagram socket does:
--- `rotor.datagram "Name" { create = …, datagram = … }`.
---@param name string for messages
---@param options? rotor.DatagramOptions
---@return fun(transitions: rotor.DatagramTransitions): rotor.Datagram
function rotor.datagram(name, options) end

--- Switch tracing of a protocol on, or off: the connections of what listens or connects with it from
--- now on are counted, with their transitions, moves and ends. Those under way stay as they are; who
--- is not traced pays nothing. Returns the protocol: `local P = rotor.trace(rotor.protocol "P" { … })`.
---
--- With ROTOR_TRACE=FOLDER in the environment every protocol is traced, and its diagram written to
--- FOLDER/NAME.dot when rotor.run() returns, and when it is not used any more or the program ends.
---@param protocol rotor.Protocol
---@param on? boolean true
---@return rotor.Protocol
function rotor.trace(protocol, on) end

--- What was counted since tracing was first switched on, in the language of Graphviz: put into a
--- file, `dot -Tsvg FILE` draws it. A box is a state, with how often each of its transitions ran; an
--- arrow a move, or an end, with what led there. Throws when the protocol was never traced.
---@param protocol rotor.Protocol
---@return string
function rotor.diagram(protocol) end

--- Load machine types and protocols written in C from a shared object, by their names, to be used
--- like those declared in Lua; rotor_lua.h has how it is made. A path without a "/" is a file in the
--- current folder. It is never unloaded, and loading it again gives the same ones.
---@param path string
---@return table<string, rotor.MachineType|rotor.Protocol|rotor.Datagram>?
---@return string? message
---@return string? name ELOAD: it is none; EVERSION: for another rotor; EINVAL: one that cannot begin
function rotor.load(path) end

--- A buf, with those bytes in it.
---@param ... rotor.Data
---@return rotor.Buf
function rotor.buf(...) end

--- Make a loop of its own. Close it when it is not needed any more, which `local loop <close>`
--- does.
---@param options? rotor.LoopOptions
---@return rotor.Loop
function rotor.loop(options) end

--- The default loop.
---@return rotor.Loop
function rotor.default() end

--- Run the default loop; see rotor.Loop.run, and so on.
---@return true
function rotor.run() end

---@return true
function rotor.turn() end

function rotor.stop() end

---@return number seconds
function rotor.now() end

---@return integer
function rotor.count() end

---@param fn fun(message: string)?
function rotor.on_error(fn) end

---@param name rotor.Signal
---@param fn? fun(name: rotor.Signal)
---@return true?
---@return string? message
---@return string? name
function rotor.on_signal(name, fn) end

---@param seconds number|false|nil
---@param fn? fun(report: rotor.Lag)
function rotor.watchdog(seconds, fn) end

---@param options rotor.ProcessOptions
---@return rotor.Process?
---@return string? message
---@return string? name
function rotor.process(options) end

---@return string
function rotor.dump() end

---@param name rotor.Signal
---@param on? boolean
---@return true?
---@return string? message
---@return string? name
function rotor.dump_on_signal(name, on) end

---@param type rotor.MachineType
---@param seed? any
---@return rotor.Handle?
---@return string? message
---@return string? name
function rotor.add(type, seed) end

---@param address string|integer
---@param protocol rotor.Protocol
---@param options? rotor.ListenOptions
---@return rotor.Handle?
---@return string? message
---@return string? name
function rotor.listen(address, protocol, options) end

---@param address string|integer
---@param protocol rotor.Protocol
---@param options? rotor.ConnectOptions
---@return rotor.Handle?
---@return string? message
---@return string? name
function rotor.connect(address, protocol, options) end

---@param address string|integer
---@param protocol rotor.Protocol
---@param options? rotor.PersistOptions
---@return rotor.Handle?
---@return string? message
---@return string? name
function rotor.persist(address, protocol, options) end

---@param address string|integer|nil
---@param datagram rotor.Datagram
---@param options? rotor.UdpOptions
---@return rotor.Handle?
---@return string? message
---@return string? name
function rotor.udp(address, datagram, options) end

---@return rotor.Port
---@return rotor.Future
function rotor.future() end

---@param futures rotor.Future[]
---@return rotor.Future
function rotor.all(futures) end

---@param futures rotor.Future[]
---@return rotor.Future
function rotor.first(futures) end

--------------------------------------------------------------------------------------------------

---@class rotor.LoopOptions
---@field capacity? integer how many machines may be alive at once; 1,048,576
---@field buffer? integer bytes of the read and of the write buffer that streams borrow; 65,536
---@field context? any `loop.context`, and `scope.context` in transitions
---@field virtual? boolean its time stands still but for advance(): for tests

--- Runs machines. One loop may be run inside a transition of another, but not of its own.
---@class rotor.Loop
---@field context any as given in the options
local Loop = {}

--- Run until no machine is left or stop() was called.
---@return true
function Loop:run() end

--- One turn without waiting: what is queued, ready or due.
---@return true
function Loop:turn() end

--- Have so much time pass in a loop that was made with `virtual`: everything is done that becomes due,
--- each thing at its time.
---@param seconds number
---@return true
function Loop:advance(seconds) end

--- As task.spawn(), in this loop.
---@param fn fun(...: any): ...: any
---@param ... any
---@return rotor.Task
function Loop:spawn(fn, ...) end

--- Have run() return once the present event is dealt with. Machines stay as they are.
function Loop:stop() end

--- End everything: each machine is dropped. Twice does no harm; in a transition of the loop it
--- throws.
---@return true
function Loop:close() end

--- The loop's monotonic clock, as of the present event.
---@return number seconds
function Loop:now() end

--- How many machines are alive.
---@return integer
function Loop:count() end

--- Have errors that nobody else hears told to `fn`, as one text with name, transition and
--- traceback; nil: print them to standard error, as is the default.
---@param fn fun(message: string)?
function Loop:on_error(fn) end

---@alias rotor.Signal "HUP"|"INT"|"QUIT"|"USR1"|"USR2"|"TERM"|"CHLD"|"WINCH"

--- Call `fn` when the process gets the signal, in place of what was set before; nil: nothing. It
--- does not keep the loop running.
---@param name rotor.Signal
---@param fn? fun(name: rotor.Signal)
---@return true?
---@return string? message
---@return string? name
function Loop:on_signal(name, fn) end

--- Have `fn` told of each event that keeps the loop for that long, so that nothing else can happen
--- meanwhile, and of the Lua function that was running then. Without `fn` on_error is. With nil,
--- false or 0 it is switched off, and costs nothing. While it is on, Lua is a little slower, as it
--- needs the hook of debug.sethook; where that is in use, this is an error. Coroutines that were made
--- before are not looked into.
---@param seconds number|false|nil
---@param fn? fun(report: rotor.Lag)
function Loop:watchdog(seconds, fn) end

---@class rotor.Lag
---@field message string all of it in words
---@field seconds number how long the event has taken
---@field machine? string "NAME SLOT.GENERATION" of the machine that has taken most of that
---@field transition? string which of its transitions
---@field traceback? string where Lua was when the time was up; nil if C has taken it

--- Run a program: `loop:process { "sort", "-n", stdin = "pipe", stdout = "pipe" }`.
---@param options rotor.ProcessOptions
---@return rotor.Process?
---@return string? message
---@return string? name ENOENT: there is no such program, or folder; EACCES; and others
function Loop:process(options) end

--- The program, looked for in PATH unless there is a slash in it, and its arguments stand at 1, 2 …
---@class rotor.ProcessOptions
---@field [integer] string
---@field env? table<string, string|number|false> put into its environment, which is otherwise that of this process; false: taken out
---@field cwd? string the folder it begins in
---@field stdin? "inherit"|"null"|"pipe"|file*|integer what this process has, unless given; /dev/null; one end of a pair of sockets; or a file or descriptor of ours
---@field stdout? "inherit"|"null"|"pipe"|file*|integer
---@field stderr? "inherit"|"null"|"pipe"|file*|integer

--- How a program has ended: one of the two.
---@class rotor.ProcessEnd
---@field status? integer 0 if all went well
---@field signal? string|integer "TERM", or its number where it is a rare one

--- A program that runs. The loop runs as long as it does. When the loop is closed, or nobody has the object
--- any more, the program goes on; ends of pipes that nobody has connected to stay while it runs.
---@class rotor.Process
---@field pid integer
---@field exited rotor.Future of a rotor.ProcessEnd
---@field stdin? string where it was "pipe": the address ("fd:7") of the other end, for rotor.connect or task.connect; nil once it is connected to
---@field stdout? string
---@field stderr? string
local Process = {}

--- Send it a signal.
---@param name? string TERM unless another is named, such as KILL, INT, HUP, STOP or CONT
---@return true?
---@return string? message
---@return string? name ECLOSED: it has ended
function Process:kill(name) end

--- In a task: wait until it has ended; see rotor.Future.await.
---@param seconds? number
---@return rotor.ProcessEnd?
---@return string? message
---@return string? name ETIMEDOUT
function Process:wait(seconds) end

--- It is not needed any more: if it still runs it is killed (by KILL), and pipes nobody has asked for are
--- closed. `local process <close>` does that.
function Process:close() end

--- What every machine and task waits for: a line for each, in the order of their slots, such as
--- `echo 3.1: "\n" within 4096 bytes, peer 127.0.0.1:4242; for 1.250 s; deadline in 58.750 s`.
--- That is its name and its handle's numbers; what it waits for; since when it does; and its
--- deadline, if it has one. Of a task it is what it has called and where, and where it was spawned.
---@return string lines, each with its line break
function Loop:dump() end

--- Print that to stderr whenever the process gets the signal; or, with false, not any more.
---@param name rotor.Signal
---@param on? boolean
---@return true?
---@return string? message
---@return string? name
function Loop:dump_on_signal(name, on) end

--- Add a machine. Outside of transitions its `create` runs at once; inside, after the present one.
---@param type rotor.MachineType
---@param seed? any for create
---@return rotor.Handle?
---@return string? message
---@return string? name
function Loop:add(type, seed) end

---@class rotor.ListenOptions
---@field backlog? integer connections that the kernel keeps waiting; 1,024
---@field reuse_port? boolean let several listeners share the port
---@field ipv6_only? boolean "[::]:80" is not for IPv4, too
---@field delay? boolean leave Nagle's algorithm on
---@field keepalive? integer seconds of silence until the peer is asked for a sign of life; never
---@field connections? integer stop accepting when the loop has so many machines
---@field seed? any for the create of each stream

--- Accept connections, each of which runs `protocol`. An address is "127.0.0.1:80", "[::1]:80",
--- "name:80", "80" (on the loopback), "unix:/path" or "unix:@abstract"; port 0 takes a free one,
--- which handle:address() tells. A socket that listens already is "fd:3"; those passed by systemd
--- or the like (LISTEN_FDS) are "inherited", or "inherited:NAME". Of several, separated by commas,
--- all are listened on or none, and the message names the one that failed; no path may have a
--- comma. handle:close() stops accepting on all of them, and the connections go on.
---@param address string|integer
---@param protocol rotor.Protocol
---@param options? rotor.ListenOptions
---@return rotor.Handle?
---@return string? message
---@return string? name
function Loop:listen(address, protocol, options) end

---@class rotor.ConnectOptions
---@field timeout? number seconds for the look-up and all attempts together; 10
---@field delay? boolean leave Nagle's algorithm on
---@field keepalive? integer seconds of silence after which the system asks if the peer is there
---@field seed? any for the stream's create, or for its fatal when there is no connection

--- Connect, and run `protocol` on the connection: its `create` is called when it is made, its
--- `fatal` when it cannot be. The addresses of a name are tried side by side, the next one a quarter
--- of a second after the last or as soon as one has failed; the first to answer is taken.
---@param address string|integer
---@param protocol rotor.Protocol
---@param options? rotor.ConnectOptions
---@return rotor.Handle?
---@return string? message
---@return string? name
function Loop:connect(address, protocol, options) end

---@class rotor.PersistOptions
---@field timeout? number seconds for each try; 10
---@field delay? boolean leave Nagle's algorithm on
---@field keepalive? integer seconds of silence after which the system asks if the peer is there
---@field backoff? number seconds from which the next wait is drawn, between half of them and all; it doubles with each try, and starts anew after a connection that has lasted longer; 0.1
---@field backoff_max? number seconds, the ceiling of that; 30
---@field up? fun(handle: rotor.Handle) there is a connection, and the protocol's create has run, which may have kept the stream; this is its handle
---@field down? fun(code: string?, message: string?, seconds: number) it has ended (code and message, "ECONNREFUSED" and "ECONNREFUSED: connection refused (127.0.0.1:1)", are nil when it ended well) or could not be made; the next try is in so many seconds; the stream's `drop` is still to come
---@field seed? any for the create of each stream

--- Keep a connection: connect, and when it has ended, or could not be made, wait and connect again.
--- Each is a stream of its own, whose protocol's create is called anew. The name is looked up for
--- each try. Nothing is queued meanwhile. handle:close() ends it with its stream (and `down` is not
--- told), handle:wake() makes a wait end at once, handle:stream() is the present stream's handle.
--- What `up` and `down` throw goes to on_error; how connections end does not.
---@param address string|integer
---@param protocol rotor.Protocol
---@param options? rotor.PersistOptions
---@return rotor.Handle?
---@return string? message
---@return string? name
function Loop:persist(address, protocol, options) end

---@class rotor.UdpOptions
---@field peer? string|integer the only one to exchange datagrams with, and then what does not arrive is told: exception
---@field max? integer bytes of a datagram that are read, the rest is cut; as many as the loop's buffer holds, and more is EINVAL
---@field receive_buffer? integer bytes that the system keeps; as the next
---@field send_buffer? integer
---@field reuse_port? boolean let several sockets share the datagrams of a port
---@field reuse_address? boolean let several sockets get each multicast datagram of a port
---@field broadcast? boolean allow sending to broadcast addresses
---@field ipv6_only? boolean of an IPv6 socket: nothing by IPv4
---@field multicast_ttl? integer how many networks a multicast datagram may cross; 1, none but its own
---@field multicast_interface? string the name or an address of the one it leaves by
---@field no_multicast_loop? boolean not to sockets of this machine
---@field seed? any for the socket's create

--- Open a datagram socket. The address is its own, as in listen(), "0.0.0.0:53" or "[::]:53" by any
--- interface, nil for any free port; of "unix:/path" it is a Unix datagram socket.
---@param address string|integer|nil
---@param datagram rotor.Datagram
---@param options? rotor.UdpOptions
---@return rotor.Handle?
---@return string? message
---@return string? name
function Loop:udp(address, datagram, options) end

--- A port, and the future that it resolves.
---@return rotor.Port
---@return rotor.Future
function Loop:future() end

--- A future of the values of all of them: a list with their number in `n`. It fails with the first
--- that fails.
---@param futures rotor.Future[]
---@return rotor.Future
function Loop:all(futures) end

--- A future of the first value. When all fail, it fails with the last.
---@param futures rotor.Future[]
---@return rotor.Future
function Loop:first(futures) end

--- An HTTP client; see rotor.http.client.
---@param options? rotor.http.ClientOptions
---@return rotor.http.Client
function Loop:client(options) end

--- Serve HTTP; see rotor.http.serve.
---@param address string|integer
---@param handler rotor.http.Handler|fun(req: rotor.http.Request, res: rotor.http.Response)
---@param options? rotor.http.ServeOptions
---@return rotor.Handle?
---@return string? message
---@return string? name
function Loop:serve(address, handler, options) end

--------------------------------------------------------------------------------------------------

--- Names a machine, a stream, a socket or a listener, for ever: of one that has ended it finds nothing. Two
--- handles of one machine are the same object, so a handle may be the key of a table.
---@class rotor.Handle
local Handle = {}

--- Have the machine's `wakeup` called: once for all wakes until then.
---@return true?
---@return string? message
---@return string? name ECLOSED: it has ended
function Handle:wake() end

--- End the machine, before the present turn of the loop is over. What a stream has not sent yet is not sent any more. With `drain`, which is for
--- what http.serve returned: accept no more, answer the requests under way, and close what is left
--- after so many seconds. Then what is returned is a future of how many requests were cut off.
---@param options? { drain: number }
---@return true|rotor.Future?
---@return string? message
---@return string? name ECLOSED: it has ended
function Handle:close(options) end

---@return boolean
function Handle:alive() end

--- Where a listener listens, or a stream's or datagram socket's own end is.
---@return string?
---@return string? message
---@return string? name
function Handle:address() end

--- Of what rotor.persist returned: the handle of its present stream, from `up` to its end, or nil.
---@return rotor.Handle?
function Handle:stream() end

--- Wakes its machine, like handle:wake().
---@class rotor.Notifier
local Notifier = {}

---@return true?
---@return string? message
---@return string? name ECLOSED: the loop is closed
function Notifier:wakeup() end

--------------------------------------------------------------------------------------------------

--- Made by rotor.machine, or loaded by rotor.load.
---@class rotor.MachineType

--- What a transition of a machine has to return: what a method of its scope has returned.
---@class rotor.Verdict

--- What a machine does when something happens to it. Each states all that the machine waits for
--- next.
---@class rotor.MachineTransitions
--- Begin.
---@field create fun(self: table, scope: rotor.Scope, seed: any): rotor.Verdict
--- What an io of the machine waits for is there, or an error that reading or writing will tell;
--- see Scope.open.
---@field ready? fun(self: table, scope: rotor.Scope, io: rotor.Io, readable: boolean, writable: boolean): rotor.Verdict
--- The child asked for exists; absent: wait.
---@field spawned? fun(self: table, scope: rotor.Scope, child: rotor.Handle): rotor.Verdict
--- It does not; at "ECAPACITY" wakeup is called when there is room. Absent: end.
---@field spawn_error? fun(self: table, scope: rotor.Scope, code: string, seed: any): rotor.Verdict
--- The deadline has passed; absent: end with ETIMEDOUT.
---@field timeout? fun(self: table, scope: rotor.Scope): rotor.Verdict
--- Somebody woke the machine; absent: keep waiting.
---@field wakeup? fun(self: table, scope: rotor.Scope): rotor.Verdict
--- A child has ended with a value; or with nil, what it gave to scope:error() (what it has thrown is
--- told to on_error, and here "ELUA: …"), and a name. A machine that has this transition owns
--- the machines it spawned: they end before it, whatever ends it. Absent: children go their own way.
---@field child_done? fun(self: table, scope: rotor.Scope, child: rotor.Handle, value: any, error: any, name: string?): rotor.Verdict
--- The machine has ended, in whatever way; called exactly once.
---@field drop? fun(self: table)

--- What a machine's transition looks around with and answers by; valid until it returns.
---@class rotor.Scope
---@field loop rotor.Loop
---@field context any the loop's
local Scope = {}

--- Wait for wakeups and, if given, for so many seconds, then for timeout.
---@param seconds? number
---@return rotor.Verdict
function Scope:ok(seconds) end

--- Keep waiting for what was waited for, the deadline included.
---@return rotor.Verdict
function Scope:same() end

--- Create a machine; then hear spawned or spawn_error, and at its end child_done.
---@param type rotor.MachineType
---@param seed? any
---@return rotor.Verdict
function Scope:spawn(type, seed) end

--- End well. The parent's child_done hears the value.
---@param value? any
---@return rotor.Verdict
function Scope:done(value) end

--- End with an error, any value. The parent's child_done hears it, or else on_error.
---@param value any
---@return rotor.Verdict
function Scope:error(value) end

--- The loop's monotonic clock.
---@return number seconds
function Scope:now() end

--- The machine's own handle.
---@return rotor.Handle
function Scope:handle() end

---@return rotor.Notifier
function Scope:notifier() end

--- Watch a descriptor (of a pipe, a terminal, an eventfd, inotify …) for this machine, which must
--- have a transition `ready`. It is made non-blocking. An integer is taken over, and closed with the
--- io or the machine. A file (io.stdin, io.popen "…") stays Lua's: closing it ends the io, and when
--- the io ends before, the file is as it was. Do not use its own methods meanwhile: they have
--- buffers. Nothing is waited for yet; see Io.want.
---@param what integer|file*
---@return rotor.Io?
---@return string? message
---@return string? name EPERM: it is always ready, as regular files are; EEXIST: it is watched already; EBADF
function Scope:open(what) end

--- A descriptor that a machine watches. It ends with its machine, if it is not closed before; then
--- all of these fail with ECLOSED.
---@class rotor.Io
local Io = {}

--- Have `ready` called whenever there is something to read ("r"), room to write ("w"), or either
--- ("rw"), until told otherwise; "": never.
---@param events "r"|"w"|"rw"|""
---@return true?
---@return string? message
---@return string? name
function Io:want(events) end

--- What is there, at most n bytes of it (8,192 by default).
---@param n? integer
---@return string?
---@return string? message
---@return string? name EAGAIN: there is nothing yet; EEOF: there will be nothing more
function Io:read(n) end

--- Write as much as there is room for.
---@param bytes rotor.Data
---@return integer? n how many bytes that was
---@return string? message
---@return string? name EAGAIN: there is no room now; EPIPE: there is nobody who reads
function Io:write(bytes) end

---@return integer?
---@return string? message
---@return string? name
function Io:fd() end

---@return true?
---@return string? message
---@return string? name
function Io:close() end

--------------------------------------------------------------------------------------------------

--- Made by rotor.protocol, or loaded by rotor.load.
---@class rotor.Protocol

---@class rotor.ProtocolOptions
---@field high_water? integer bytes of output at which reading stops until it is below half of that; 65,536
---@field stall? number seconds that a peer may take no output before fatal("ESTALLED"); 30
---@field turns? integer transitions in a row before others have their turn; 64

--- What a transition of a protocol has to return: what a method of its stream has returned.
---@class rotor.Intent

--- What a stream does when something happens to it. Each states all that the stream waits for next.
--- Besides transitions the table may hold other values (but no functions), which `self` begins with.
---@class rotor.ProtocolTransitions
--- The connection is there.
---@field create fun(self: table, stream: rotor.Stream, seed: any): rotor.Intent
--- What was expected is there: the first n bytes of the input, and behind them the delimiter if
--- that was expected.
---@field bytes_read? fun(self: table, stream: rotor.Stream, n: integer): rotor.Intent
--- The output has left, as far as was expected.
---@field bytes_flushed? fun(self: table, stream: rotor.Stream): rotor.Intent
--- The deadline has passed; absent: end.
---@field timeout? fun(self: table, stream: rotor.Stream): rotor.Intent
--- Somebody woke the stream; absent: keep waiting.
---@field wakeup? fun(self: table, stream: rotor.Stream): rotor.Intent
--- What was expected cannot come: the peer has closed, or too much came without the delimiter;
--- absent: end.
---@field exception? fun(self: table, stream: rotor.Stream, code: "EEOF"|"ELIMIT", message: string): rotor.Intent
--- The peer has closed its direction while nothing was being read: in a sleep, while only a flush
--- is waited for, or with too much output unsent. What it sent before may still be read. Told once;
--- a connection that was reset goes to `fatal`. Absent: not watched for.
---@field hangup? fun(self: table, stream: rotor.Stream): rotor.Intent
--- The connection is broken; or it was never made, and then this is all that the stream hears, with
--- the seed. The code is "ECONNREFUSED", and the message "connection refused (127.0.0.1:1)"; of a
--- connection that was reset the address is not known any more.
---@field fatal? fun(self: table, stream: rotor.Stream, code: string, message: string, seed: any)
--- The stream has ended, in whatever way; called exactly once if create was.
---@field drop? fun(self: table, stream: rotor.Stream)
--- The protocol split into states, by their names; see Stream.become.
---@field states? table<string, rotor.State>

--- A state of a protocol: in it these transitions stand before those of its parent, and these
--- before the protocol's own.
---@class rotor.State
---@field parent? string another state of the protocol; absent: the protocol itself
---@field bytes_read? fun(self: table, stream: rotor.Stream, n: integer): rotor.Intent
---@field bytes_flushed? fun(self: table, stream: rotor.Stream): rotor.Intent
---@field timeout? fun(self: table, stream: rotor.Stream): rotor.Intent
---@field wakeup? fun(self: table, stream: rotor.Stream): rotor.Intent
---@field exception? fun(self: table, stream: rotor.Stream, code: "EEOF"|"ELIMIT", message: string): rotor.Intent
---@field hangup? fun(self: table, stream: rotor.Stream): rotor.Intent
---@field fatal? fun(self: table, stream: rotor.Stream, code: string, message: string, seed: any)

--- A connection, run by its protocol. Its intents are for its own transitions; other machines may
--- keep the stream, to write to it or to wake it.
---@class rotor.Stream
---@operator len: integer
local Stream = {}

--- Append to the output. All that is written in one transition leaves in one write.
---@param ... rotor.Data
---@return true?
---@return string? message
---@return string? name ECLOSED: it has ended, or nothing more can be sent
function Stream:write(...) end

--- The first n bytes of the input (all of it by default), consumed. `#stream` tells how many there
--- are.
---@param n? integer
---@return string
function Stream:take(n) end

--- The same, but they stay.
---@param n? integer
---@return string
function Stream:peek(n) end

--- Drop the first n bytes of the input.
---@param n integer
function Stream:consume(n) end

--- The same as take, but in a buf.
---@param n? integer
---@return rotor.Buf
function Stream:split(n) end

--- How many bytes of output have not left yet.
---@return integer
function Stream:unsent() end

--- Tell the peer, when all output has left, that no more comes. Reading goes on.
function Stream:shutdown() end

--- Wait until at least n bytes of input are there: bytes_read(n).
---@param n integer
---@param seconds? number then timeout
---@return rotor.Intent
function Stream:expect_bytes(n, seconds) end

--- Wait until the delimiter occurs in the input at or behind the offset: bytes_read(n), with n
--- bytes before it. When it does not begin within the first `max` bytes: exception("ELIMIT").
---@param delimiter string
---@param max integer
---@param seconds? number then timeout
---@param offset? integer default 0
---@return rotor.Intent
function Stream:expect_delimiter(delimiter, max, seconds, offset) end

--- Wait until at most n bytes (none by default) of output are left to be sent: bytes_flushed.
---@param n? integer
---@param seconds? number then timeout
---@return rotor.Intent
function Stream:expect_flush(n, seconds) end

--- What `intent` (of expect_bytes, expect_delimiter or sleep) waits for, and also until at most n
--- bytes of output are left to be sent, whichever is first: bytes_flushed. Told once; same() goes on
--- with the rest. `return stream:and_flush(stream:expect_bytes(1), 65536)`
---@param intent rotor.Intent
---@param n integer
---@return rotor.Intent
function Stream:and_flush(intent, n) end

--- Move to a state of the protocol, or without a name to the protocol itself; the stream again, whose
--- intent comes next: `return stream:become("body"):expect_bytes(10)`.
---@param state? string
---@return rotor.Stream
function Stream:become(state) end

--- The name of the state it is in; nil: in none, but the protocol itself.
---@return string?
function Stream:state() end

--- Wait for wakeups only. Nothing is read.
---@param seconds? number then timeout
---@return rotor.Intent
function Stream:sleep(seconds) end

--- Keep waiting for what was waited for, the deadline included.
---@return rotor.Intent
function Stream:same() end

--- Send what was written, then close.
---@param seconds? number at most
---@return rotor.Intent
function Stream:done(seconds) end

--- Send what was written, tell the peer that no more comes, and drop what it still sends until it
--- closes too. Closing with unread input may take the last answer from a peer before it has read
--- it.
---@param seconds number at most
---@return rotor.Intent
function Stream:linger(seconds) end

--- Close at once; what has not left is dropped.
---@return rotor.Intent
function Stream:abort() end

--- The same, and tell on_error.
---@param value any
---@return rotor.Intent
function Stream:error(value) end

--- The peer's address; in `fatal`, when there was no connection, what was to be connected to.
---@return string?
---@return string? message
---@return string? name
function Stream:peer() end

--- The own address.
---@return string?
---@return string? message
---@return string? name
function Stream:address() end

--- The loop's monotonic clock.
---@return number seconds
function Stream:now() end

---@return rotor.Handle
function Stream:handle() end

---@return rotor.Notifier
function Stream:notifier() end

---@return rotor.Loop
function Stream:loop() end

--- The loop's context.
---@return any
function Stream:context() end

--- Whether it has ended: then write() fails, and all else throws.
---@return boolean
function Stream:ended() end

--------------------------------------------------------------------------------------------------

--- Made by rotor.datagram, or loaded by rotor.load.
---@class rotor.Datagram

---@class rotor.DatagramOptions
---@field turns? integer datagrams in a row before others have their turn; 64

--- What a transition of a datagram socket has to return: what a method of it has returned.
---@class rotor.SocketVerdict

--- What a datagram socket does when something happens to it. Each states all that it waits for next;
--- it always waits for datagrams.
---@class rotor.DatagramTransitions
--- The socket is open.
---@field create fun(self: table, socket: rotor.Socket, seed: any): rotor.SocketVerdict
--- A datagram has come, perhaps an empty one. `size` is nil, or its true size when it was cut.
--- Absent: datagrams are dropped.
---@field datagram? fun(self: table, socket: rotor.Socket, data: string, from: string, size: integer?): rotor.SocketVerdict
--- After "EAGAIN": sending may be tried again; absent: keep waiting.
---@field writable? fun(self: table, socket: rotor.Socket): rotor.SocketVerdict
--- The deadline has passed; absent: end with ETIMEDOUT.
---@field timeout? fun(self: table, socket: rotor.Socket): rotor.SocketVerdict
--- Somebody woke the socket; absent: keep waiting.
---@field wakeup? fun(self: table, socket: rotor.Socket): rotor.SocketVerdict
--- Something that was sent to the peer has not arrived ("ECONNREFUSED": nobody listens there). The
--- socket is as good as before. Absent: end with that error.
---@field exception? fun(self: table, socket: rotor.Socket, code: string, message: string): rotor.SocketVerdict
--- The socket has ended, in whatever way; called exactly once. It can still send.
---@field drop? fun(self: table, socket: rotor.Socket)

--- A datagram socket. Its verdicts are for its own transitions; other machines may keep it, to send
--- by it.
---@class rotor.Socket
local Socket = {}

--- Send one datagram, to an address (no name) or to the peer. That it was sent does not say that it
--- arrives.
---@param data rotor.Data
---@param to? string|integer
---@return true?
---@return string? message
---@return string? name EAGAIN: not sent, writable is called once when it can be tried again; ENOBUFS: not sent, and nobody tells when (a Unix receiver's queue is full); EMSGSIZE: too large; EDESTADDRREQ, ENOTCONN: there is no peer; ECLOSED: the socket has ended
function Socket:send(data, to) end

--- Take part in a multicast group: "239.1.2.3", "ff02::1:3". An interface is named, or given by an
--- address of it; nil: the system chooses.
---@param group string
---@param interface? string
---@return true?
---@return string? message
---@return string? name
function Socket:join(group, interface) end

--- Take part in it no longer.
---@param group string
---@param interface? string
---@return true?
---@return string? message
---@return string? name
function Socket:leave(group, interface) end

--- Wait for datagrams, wakeups and, if given, for so many seconds, then for timeout.
---@param seconds? number
---@return rotor.SocketVerdict
function Socket:ok(seconds) end

--- Keep waiting for what was waited for, the deadline included.
---@return rotor.SocketVerdict
function Socket:same() end

--- Close.
---@return rotor.SocketVerdict
function Socket:done() end

--- The same, and tell on_error.
---@param value any
---@return rotor.SocketVerdict
function Socket:error(value) end

--- The peer's address.
---@return string?
---@return string? message
---@return string? name ENOTCONN: it has none
function Socket:peer() end

--- The own address.
---@return string?
---@return string? message
---@return string? name
function Socket:address() end

--- The loop's monotonic clock.
---@return number seconds
function Socket:now() end

---@return rotor.Handle
function Socket:handle() end

---@return rotor.Notifier
function Socket:notifier() end

---@return rotor.Loop
function Socket:loop() end

--- The loop's context.
---@return any
function Socket:context() end

--- Whether it has ended: then send() fails, and all else throws.
---@return boolean
function Socket:ended() end

--------------------------------------------------------------------------------------------------

--- Resolves its future, once. Collected before that, it has the future fail with ECANCELED.
---@class rotor.Port
local Port = {}

--- Resolve with any value. (A port that has come from another thread: with one that travels.)
---@param value any
---@return true?
---@return string? message
---@return string? name ECANCELED: nobody waits for it any more; ECLOSED: the loop is closed
function Port:set(value) end

--- Resolve with an error, any value, which those who wait get with its name.
---@param error any
---@param name? string "ELUA" by default
---@return true?
---@return string? message
---@return string? name
function Port:fail(error, name) end

--- Give up: the future fails with ECANCELED.
function Port:drop() end

--- Whether nobody waits for the value any more (or has got it).
---@return boolean
function Port:canceled() end

--- Have that machine woken when nobody waits for the value any more, or now if that is so.
---@param machine rotor.Handle
---@return true?
---@return string? message
---@return string? name
function Port:watch(machine) end

--- A value that comes later, once. What it waits for is canceled when it is canceled or collected;
--- but a function given to map() or and_then() is called in any case, unless it is canceled.
---
--- It may be sent to another thread, and is gone here. There it is a future of the loop of the task
--- that receives it, or else of the default loop. The loop here still resolves it, while it runs,
--- with what travels (see rotor.threads), so bufs in the value move; an error that cannot travel
--- goes as text. When the loop here is closed it fails with ECLOSED; when it is canceled or collected
--- there, it is canceled here. One that is in its own value, or in a ring of such, is never collected.
---@class rotor.Future
local Future = {}

--- The value, as often as it is asked for. EAGAIN: there is none yet.
---@return any value nil if it failed
---@return any error
---@return string? name
function Future:get() end

---@return "pending"|"ready"|"failed"
function Future:status() end

--- Have that machine woken when the future is resolved, or now if it is.
---@param machine rotor.Handle
---@return true?
---@return string? message
---@return string? name
function Future:watch(machine) end

--- Wait for it, in a task: what get() gives then. The future can be asked again.
---@param seconds? number
---@return any value nil if it failed, or there was none in time
---@return any error
---@return string? name ETIMEDOUT, too
function Future:await(seconds) end

--- It is not needed any more. Tasks that wait for it hear ECANCELED.
function Future:cancel() end

--- A future of what the function makes of the value. An error passes by. What the function throws
--- is reported, and is what the future fails with. This one is used up.
---@param fn fun(value: any): any
---@return rotor.Future
function Future:map(fn) end

--- A future of the value that the function returns, or of the future that it returns. It hears of
--- an error, too. This one is used up.
---@param fn fun(value: any, error: any, name: string?): any
---@return rotor.Future
function Future:and_then(fn) end

--- The same future, but failing with ETIMEDOUT after so many seconds. This one is used up.
---@param seconds number
---@return rotor.Future?
---@return string? message
---@return string? name ECAPACITY: it takes a machine, for which the loop has no room
function Future:timeout(seconds) end

--------------------------------------------------------------------------------------------------

--- `local http = require "rotor.http"`
---@class rotor.http
local http = {}

--- Serve HTTP: `handler` is called with each request and its response, and answers at once, or keeps the response and
--- answers later, or waits as a task does, by `task.sleep`, `http.get(url):await()`, channels, anything: then it
--- *is* a task, and the request ends with it. It is canceled when its client leaves (unless req:on_hangup() was given
--- a function), when its time is over, or when its server has been drained long enough. When it ends without an
--- answer 500 is answered, and on_error is told. After its answer it may go on for as long as it likes.
--- Or `handler` is one with transitions, see http.handler; they cannot wait. See rotor.Loop.listen for addresses.
---@param address string|integer
---@param handler rotor.http.Handler|rotor.http.Files|fun(req: rotor.http.Request, res: rotor.http.Response)
---@param options? rotor.http.ServeOptions
---@return rotor.Handle?
---@return string? message
---@return string? name
function http.serve(address, handler, options) end

--- Declare a handler that hears of everything that happens to a request, for bodies that come or go
--- piece by piece: `http.handler "Name" { request_chunk = …, request_end = …, … }`. Besides transitions
--- the table may hold other values (but no functions), which `self` begins with; that is a table for
--- each request.
---@param name string for messages
---@return fun(transitions: rotor.http.HandlerTransitions): rotor.http.Handler
function http.handler(name) end

--- GET `url`, by a client that the loop has; its future is the response: `http.get(url):await()` in a task. Whatever
--- keeps it from coming is what the future fails with: HTTP_EURL, ECONNREFUSED, ETIMEDOUT, HTTP_ETRUNCATED …
--- Canceling the future cancels the request, and so does unwinding the last task that waits for it by await().
---@param url string
---@param options? rotor.http.RequestOptions but for url and method
---@return rotor.Future future of a rotor.http.Reply
function http.get(url, options) end

--- The same for any request: `http.request { url = …, method = "POST", body = … }`. With a requester in
--- front, that is told of the response as it comes, and what is returned is the call's handle, which
--- close() cancels: `http.request(Requester, { url = … })`.
---@overload fun(requester: rotor.http.Requester, options: rotor.http.RequestOptions): rotor.Handle?, string?, string?
---@param options rotor.http.RequestOptions
---@return rotor.Future future of a rotor.http.Reply
function http.request(options) end

--- A client with settings and connections of its own, for the loop of the task that runs, or the default one.
---@param options? rotor.http.ClientOptions
---@return rotor.http.Client
function http.client(options) end

--- Declare a requester that hears of everything that happens to a call, for bodies that come or go piece by
--- piece: `http.requester "Name" { response_chunk = …, … }`. Besides transitions the table may hold other
--- values (but no functions), which `self` begins with; that is a table for each call.
---@param name string for messages
---@return fun(transitions: rotor.http.RequesterTransitions): rotor.http.Requester
function http.requester(name) end

--- What all servers of this Lua state have counted whose option `metrics` is true, in Prometheus'
--- text format: to be sent as "text/plain; version=0.0.4".
---@return string
function http.metrics() end

--- A folder that is served: `http.serve(address, http.files "public")`; or by a handler that calls it:
---
---     local static = http.files("public", { prefix = "/static" })
---     http.serve(address, function(req, res)
---       if req.path:find("^/static/") then return static(req, res) end
---       …
---     end)
---
--- GET and HEAD are answered with the file, or as conditions and ranges ask; a folder with its index. What
--- is not below `root`, cannot be named plainly, or is not to be served is 404. The folder is opened
--- here, and stays that one wherever it is moved. Reading blocks the loop as long as the disk takes.
---@param root string
---@param options? rotor.http.FilesOptions
---@return rotor.http.Files?
---@return string? message
---@return string? name ENOENT: there is no such folder
function http.files(root, options) end

---@class rotor.http.FilesOptions
---@field prefix? string what paths of requests begin with, as in "/static"; other paths are not found
---@field index? string|false the file that stands for its folder; "index.html"; false: none
---@field cache_control? string the value of Cache-Control; none is sent
---@field default_type? string for extensions that are not known; "application/octet-stream"
---@field types? table<string, string> media types by extension, as in { md = "text/markdown" }
---@field symlinks? boolean follow symbolic links that are relative and stay below the root; false
---@field dotfiles? boolean serve names that begin with a dot, other than /.well-known/; false
---@field precompressed? boolean send "x.br", "x.zst" or "x.gz" in place of "x" to who accepts it; false

--- Call it to answer a request: with the file that its path means, or, given a name, with that one: a path
--- below the root, not percent-encoded. Headers that were added before are sent, too. What is not found is
--- answered with a line of text; try() leaves that to you. Returns true; or nil, message, name when the
--- client has left.
---@class rotor.http.Files
---@overload fun(req: rotor.http.Request, res: rotor.http.Response, name?: string): true?, string?, string?
local Files = {}

--- The same, but leave the request to be answered otherwise if there is nothing to answer with.
---@param req rotor.http.Request
---@param res rotor.http.Response
---@param name? string
---@return true? answered
---@return string? message
---@return string? name such as ENOENT or ELOOP: it would be 404; EACCES: 403; HTTP_EREADONLY: 405
function Files:try(req, res, name) end

--- Give the folder's descriptor back; otherwise that is left to the garbage collector, or to `<close>`.
function Files:close() end

---@class rotor.http.ServeOptions
---@field max_request_line? integer bytes; 8 KiB; else 414
---@field max_head? integer bytes; 32 KiB; else 431
---@field max_fields? integer header fields; 128; else 431
---@field max_body? integer bytes of a body that is told whole; 8 MiB; else 413
---@field max_trailers? integer bytes; 8 KiB; else 400
---@field head_timeout? number seconds for the whole head; 10; else 408
---@field body_timeout? number seconds for a body without progress; 30; else 408
---@field body_rate? integer bytes a second that a body must make on average; 500
---@field handler_timeout? number seconds for an answer that comes later, and, when a task gives it piece by piece, from each to the next; 30; else 503, or it is cut off
---@field idle_timeout? number seconds for the next request; 60
---@field stall_timeout? number seconds for a client that takes no output; 30
---@field pipelined? integer requests of one connection in a row before others have their turn; 64
---@field log? fun(entry: rotor.http.LogEntry) called for each request that is over, refused ones, too
---@field metrics? boolean whether to count for http.metrics(), which costs two looks at the clock for each request; false
---@field backlog? integer see rotor.ListenOptions, as for the next
---@field reuse_port? boolean
---@field ipv6_only? boolean
---@field delay? boolean
---@field keepalive? integer
---@field connections? integer

--- One request, for an access log. Of one that was refused unread nothing but the status may be known.
---@class rotor.http.LogEntry
---@field method string?
---@field target string?
---@field version string?
---@field host string?
---@field user_agent string?
---@field referer string?
---@field remote string?
---@field status integer 0: it was not answered
---@field whole boolean all of the answer was written
---@field received integer bytes of its head and, decoded, of its body
---@field sent integer bytes of its answer
---@field seconds number from the end of its head to the end of its answer

---@class rotor.http.Handler

--- Each transition is called with `self`, the request and the response, and returns what the request
--- waits for next: what req:ok(), hold(), and_flush(), same(), done() or error() returns; those of which
--- that is not said here return nothing.
---@class rotor.http.HandlerTransitions
---@field headers_received? fun(self, req: rotor.http.Request, res: rotor.http.Response): rotor.http.Receive the head is there; without it bodies are told whole, or, without request_received, as they come
---@field request_received? fun(self, req: rotor.http.Request, res: rotor.http.Response): rotor.http.Answer all of it is there
---@field request_chunk? fun(self, req: rotor.http.Request, res: rotor.http.Response, data: string): rotor.http.Answer some of a progressive body
---@field request_end? fun(self, req: rotor.http.Request, res: rotor.http.Response): rotor.http.Answer the body has ended
---@field flushed? fun(self, req: rotor.http.Request, res: rotor.http.Response): rotor.http.Answer output is sent as far as req:and_flush() has asked
---@field wakeup? fun(self, req: rotor.http.Request, res: rotor.http.Response): rotor.http.Answer somebody woke the connection, by its handle()
---@field timeout? fun(self, req: rotor.http.Request, res: rotor.http.Response): rotor.http.Answer the deadline has passed; without it: 503
---@field hangup? fun(self, req: rotor.http.Request, res: rotor.http.Response): rotor.http.Answer the client has closed its direction while the request waits: most likely it has left
---@field bad_request? fun(self, req: rotor.http.Request, res: rotor.http.Response, name: string, message: string) it is not acceptable, or not all of it came; what was not understood of it is empty. Returns nothing; may answer
---@field error_page? fun(self, req: rotor.http.Request, res: rotor.http.Response, status: integer, why: string?) the server is about to answer by itself; returns nothing; may answer instead, or add headers
---@field request_over? fun(self, req: rotor.http.Request, res: rotor.http.Response) whatever has become of it; once for each request that any transition was told of. Returns nothing

---@class rotor.http.Receive what headers_received returns

---@class rotor.http.Answer what other transitions return

--- A request. It is over when it has been answered and the handler has returned: then its fields
--- throw. One that was answered before its handler returned is used again for the next request, so keep
--- what you need of it, not the object.
---@class rotor.http.Request
---@field method string
---@field path string still percent-encoded; at least "/"
---@field query string? behind the first "?"
---@field target string as sent
---@field version "1.0"|"1.1"
---@field host string of the target, or else of Host; "" in HTTP/1.0 without
---@field headers rotor.http.Headers
---@field has_body boolean whether the head has announced one
---@field length integer? of the body, as announced; nil: its end will tell
---@field body string "" when there is none
---@field trailers rotor.http.Headers what came behind a body in chunks
---@field remote string? where it comes from
local Request = {}

--- Have `fn` called, once, when the client leaves while the request waits; a handler that is a task is not canceled
--- then. For handlers that are one function; others have the transition `hangup`.
---@param fn fun()
---@return rotor.http.Request
function Request:on_hangup(fn) end

--- The connection's handle, to wake it by; the handler's `wakeup` is called.
---@return rotor.Handle
function Request:handle() end

--- From headers_received: tell the body whole; more than `max` bytes are 413.
---@param max? integer bytes; max_body of the server's options
---@param seconds? number until `timeout`
---@return rotor.http.Receive
function Request:buffered(max, seconds) end

--- From headers_received: tell the body as it comes; more than `max` bytes are 413.
---@param max? integer bytes; any number
---@param seconds? number until `timeout`
---@return rotor.http.Receive
function Request:progressive(max, seconds) end

--- Wait: for wakeups, the deadline, and what there is to come of a progressive body. Without a deadline, for
--- handler_timeout of the server's options, unless it is the client that is waited for.
---@param seconds? number until `timeout`
---@return rotor.http.Answer
function Request:ok(seconds) end

--- Wait, but for nothing of the body: it is not read until a transition answers otherwise. From
--- headers_received: progressive, but not yet.
---@param seconds? number until `timeout`
---@param max? integer from headers_received: as of progressive
---@return rotor.http.Answer|rotor.http.Receive
function Request:hold(seconds, max) end

--- What `answer` waits for, and until no more than `n` bytes of output are unsent: `flushed`.
---@param answer rotor.http.Answer what ok or hold has returned just now
---@param n integer bytes
---@return rotor.http.Answer
function Request:and_flush(answer, n) end

--- Wait for the same as before.
---@return rotor.http.Answer
function Request:same() end

--- The request was answered. If it was not: 500 is; and what was not finished is cut off.
---@return rotor.http.Answer|rotor.http.Receive
function Request:done() end

--- Answer 500, or cut off what was begun; `value` goes to on_error.
---@param value any
---@return rotor.http.Answer|rotor.http.Receive
function Request:error(value) end

--- `headers["content-type"]` is the first value by that name, in whatever case; pairs(headers) goes
--- through all in order.
---@class rotor.http.Headers
---@field [string] string?

--- The answer. Kept, it may be sent later, from any transition of the loop.
---@class rotor.http.Response
local Response = {}

--- Answer: `res:send(200, "body")`, `res:send("body")`, `res:send(404)`. Once; a second time
--- throws. The body may be a function, which is called for one piece after the other, as fast as the
--- client takes them, until it returns nil.
---@overload fun(self: rotor.http.Response, body?: rotor.Data|fun(): string?): true?, string?, string?
---@param status integer? 200 to 599; the one of status(), or 200
---@param body? rotor.Data|fun(): string?
---@return true?
---@return string? message
---@return string? name ECLOSED: the client has left, or has been answered 503
function Response:send(status, body) end

--- Begin to answer; the body follows by write() and finish(): of the Content-Length that was added, or else in
--- chunks. What is written and not taken by the client is kept in memory: in a task write() waits, and from
--- elsewhere look at unsent(), and wait by req:and_flush().
---@param status? integer as of send
---@return true?
---@return string? message
---@return string? name
function Response:start(status) end

--- Write some of the body. A task waits when more than 64 KiB are unsent until the client has taken most of it.
---@param ... rotor.Data
---@return true?
---@return string? message
---@return string? name ECLOSED: the client has left
function Response:write(...) end

--- Write the rest, if any, and end the body.
---@param ... rotor.Data
---@return true?
---@return string? message
---@return string? name
function Response:finish(...) end

--- Add a trailer field, between start and finish, to a body in chunks.
---@param name string
---@param value string|number
---@return rotor.http.Response
function Response:trailer(name, value) end

--- How many bytes written on the connection are still to be sent.
---@return integer
function Response:unsent() end

--- The connection becomes a stream that runs `protocol`: by 101 and the header Upgrade that was added, if
--- the client has asked for that, or by 200 to CONNECT. What was read behind the request is its
--- first input.
---@param protocol rotor.Protocol
---@param options? { seed: any }
---@return true?
---@return string? message
---@return string? name
function Response:upgrade(protocol, options) end

--- The status of a send() or start() without one.
---@param status integer 200 to 599
---@return rotor.http.Response
function Response:status(status) end

--- Add a header field. A value with a line break throws, and so does what is not the handler's to
--- set.
---@param name string
---@param value string|number
---@return rotor.http.Response
function Response:header(name, value) end

--- Whether all of the answer is on its way, or cannot be any more.
---@return boolean
function Response:sent() end

--- A pool of connections, kept by where they lead. It is closed when it is collected, too.
---@class rotor.http.Client
local Client = {}

--- See http.get.
---@param url string
---@param options? rotor.http.RequestOptions
---@return rotor.Future
function Client:get(url, options) end

--- See http.request.
---@overload fun(self: rotor.http.Client, requester: rotor.http.Requester, options: rotor.http.RequestOptions): rotor.Handle?, string?, string?
---@param options rotor.http.RequestOptions
---@return rotor.Future
function Client:request(options) end

--- How many connections there are, and how many of them are kept for later.
---@return integer open
---@return integer idle
function Client:connections() end

--- Close the connections that are kept. What is under way goes on; nothing new can be asked for.
---@return true
function Client:close() end

---@class rotor.http.ClientOptions
---@field timeout? number seconds for a whole request, redirects included, until the last byte of the response; 30; math.huge: no limit
---@field idle_timeout? number seconds that a connection is kept; 30
---@field continue_timeout? number seconds to wait for "100 Continue" where it was asked for; 1
---@field stall_timeout? number seconds for a server that takes no output; 30
---@field redirects? integer to follow at most; 10
---@field connections? integer at a time; 512; more requests wait
---@field connections_per_origin? integer 64
---@field idle? integer connections that are kept at a time; 256
---@field idle_per_origin? integer 32
---@field max_status_line? integer bytes; 8 KiB
---@field max_head? integer bytes; 32 KiB
---@field max_fields? integer header fields; 128
---@field max_body? integer bytes of a body that is told whole; 8 MiB
---@field max_trailers? integer bytes; 8 KiB

---@class rotor.http.RequestOptions
---@field url? string http:// only; needed but for get(url)
---@field method? string "GET" by default
---@field headers? table<string|integer, string|number|(string|number)[]> { Name = value, Name = { value, … }, { name, value }, … }
---@field body? string|number|fun(): string|rotor.Future|nil a function is called for one piece after the other, as fast as the server takes them, until it returns nil; or a future of the next piece
---@field timeout? number seconds, as of the client
---@field max_body? integer bytes, as of the client; with on_body there is no limit without it
---@field redirects? integer as of the client; 0: get the redirect itself
---@field address? string where to connect to instead: "unix:/path", "127.0.0.1:8080"
---@field proxy? string an HTTP proxy's address
---@field expect? boolean send the body only when the server has said "100 Continue", or nothing for a while
---@field on_body? fun(data: string, response: rotor.http.Reply): rotor.Future? gets the body as it comes; a future that it returns is waited for before more is read
---@field streamed? boolean with a requester: the body is written by it; of the Content-Length among the headers, or in chunks
---@field seed? any with a requester: call.seed

--- A response that a future has.
---@class rotor.http.Reply
---@field status integer
---@field reason string as sent; often ""
---@field version "1.0"|"1.1"
---@field url string that was answered, of the last redirect
---@field headers rotor.http.Headers
---@field body string? "" when there is none; nil with on_body
---@field trailers rotor.http.Headers

---@class rotor.http.Requester

--- Each transition is called with `self` and the call, and returns what the call waits for next: what
--- call:ok(), hold(), same(), done() or error() returns; the last two return nothing.
---@class rotor.http.RequesterTransitions
---@field headers_received? fun(self, call: rotor.http.Call): rotor.http.Receive the response's head is there; without it bodies are told whole, or, without response_received, as they come
---@field informational? fun(self, call: rotor.http.Call): rotor.http.Answer an interim response (1xx)
---@field redirected? fun(self, call: rotor.http.Call): rotor.http.Answer a redirect is about to be followed, to call.url
---@field response_received? fun(self, call: rotor.http.Call): rotor.http.Answer all of the response is there; the call is over
---@field response_chunk? fun(self, call: rotor.http.Call, data: string): rotor.http.Answer some of a progressive body
---@field response_end? fun(self, call: rotor.http.Call): rotor.http.Answer the body has ended; the call is over
---@field body_wanted? fun(self, call: rotor.http.Call): rotor.http.Answer some of a streamed body can be written; told again when most of it was sent
---@field wakeup? fun(self, call: rotor.http.Call): rotor.http.Answer somebody woke the call, by its handle()
---@field timeout? fun(self, call: rotor.http.Call): rotor.http.Answer the deadline of an answer has passed; without it the call fails
---@field failed? fun(self, call: rotor.http.Call, name: string, message: string) the call is over; without it this goes to on_error
---@field call_over? fun(self, call: rotor.http.Call) whatever has become of it; once for each call

--- A request and the response to it. Before a head has come, its status is 0.
---@class rotor.http.Call
---@field url string of the last redirect that was followed
---@field status integer
---@field reason string
---@field version "1.0"|"1.1"
---@field headers rotor.http.Headers
---@field length integer? of the body; nil: only its end will tell
---@field body string in response_received
---@field trailers rotor.http.Headers in response_received and response_end
---@field remote string? the server's address, as long as the call has the connection
---@field seed any
local Call = {}

--- To wake it by; close() cancels the call.
---@return rotor.Handle
function Call:handle() end

--- From headers_received: tell the body whole; more than `max` bytes fail.
---@param max? integer bytes; max_body of the client's options
---@param seconds? number until `timeout`
---@return rotor.http.Receive
function Call:buffered(max, seconds) end

--- From headers_received: tell the body as it comes; more than `max` bytes fail.
---@param max? integer bytes; any number
---@param seconds? number until `timeout`
---@return rotor.http.Receive
function Call:progressive(max, seconds) end

--- Go on. The deadline of the whole call stays in force as well.
---@param seconds? number until `timeout`
---@return rotor.http.Answer
function Call:ok(seconds) end

--- Go on, but read nothing until a transition answers otherwise: what the server sends is left with it. From
--- headers_received: progressive, but not yet.
---@param seconds? number until `timeout`
---@param max? integer from headers_received: as of progressive
---@return rotor.http.Answer|rotor.http.Receive
function Call:hold(seconds, max) end

--- Wait for the same as before.
---@return rotor.http.Answer
function Call:same() end

--- Give the call up: the rest of the response is not read.
---@return rotor.http.Answer|rotor.http.Receive
function Call:done() end

--- The same, and `value` goes to on_error.
---@param value any
---@return rotor.http.Answer|rotor.http.Receive
function Call:error(value) end

--- Write some of a streamed body, from body_wanted on. What the server does not take is kept in memory.
---@param ... rotor.Data
---@return true?
---@return string? message
---@return string? name ECLOSED: the server wants no more of it, or the call is over
function Call:write(...) end

--- Write the rest, if any, and end the body.
---@param ... rotor.Data
---@return true?
---@return string? message
---@return string? name
function Call:finish(...) end

--- Add a trailer field, before finish(), to a body in chunks.
---@param name string
---@param value string|number
---@return rotor.http.Call
function Call:trailer(name, value) end

--- How many bytes written are still to be sent.
---@return integer
function Call:unsent() end

--- In headers_received after 101, or a 2xx to CONNECT: the connection becomes a stream that runs
--- `protocol`, with what has come behind the head as its first input. The call is over then.
---@param protocol rotor.Protocol
---@param options? { seed: any }
---@return true?
---@return string? message
---@return string? name
function Call:upgrade(protocol, options) end

--------------------------------------------------------------------------------------------------

--- `local websocket = require "rotor.websocket"`: WebSockets (RFC 6455), of servers and clients alike.
--- Extensions are not offered and not accepted: there is no permessage-deflate, and no wss://.
---@class rotor.websocket
local websocket = {}

--- Declare what a WebSocket does: `websocket.handler "Name" { message = …, … }`; or with options,
--- `websocket.handler("Name", { max_message = 1 << 16 }) { … }`.
---@param name string
---@param options? rotor.websocket.HandlerOptions
---@return fun(transitions: rotor.websocket.HandlerTransitions): rotor.websocket.Handler
function websocket.handler(name, options) end

--- Answer a request that asks for a WebSocket: with 101, and the connection is one; or with what is wrong
--- with it (400, 403, 405, 426). Headers that were added go along. It is answered in both cases.
---@param req rotor.http.Request
---@param res rotor.http.Response
---@param handler rotor.websocket.Handler
---@param options? rotor.websocket.UpgradeOptions
---@return true?
---@return string? message
---@return string? name WEBSOCKET_EHANDSHAKE, WEBSOCKET_EORIGIN: it was refused; ECLOSED: the client has left
function websocket.upgrade(req, res, handler, options) end

--- Connect to "ws://host:port/path?query" on the default loop. `open` is told when the handshake is through,
--- or else `close`, with 1006 and the reason. `websocket.connect(loop, url, …)`: on that loop.
---@overload fun(loop: rotor.Loop, url: string, handler: rotor.websocket.Handler, options?: rotor.websocket.ConnectOptions): rotor.Handle?, string?, string?
---@param url string
---@param handler rotor.websocket.Handler
---@param options? rotor.websocket.ConnectOptions
---@return rotor.Handle?
---@return string? message
---@return string? name WEBSOCKET_EURL, HTTP_EUSERINFO; WEBSOCKET_ETLS: "wss://"
function websocket.connect(url, handler, options) end

--- Answer a request that asks for a WebSocket, in the handler's task, which then sends and receives by what this
--- returns:
---
---     http.serve(address, function(req, res)
---       local ws <close> = assert(websocket.accept(req, res))
---       for data, kind in ws:messages() do ws:send(data, kind) end
---     end)
---@param req rotor.http.Request
---@param res rotor.http.Response
---@param options? rotor.websocket.UpgradeOptions but for seed
---@return rotor.websocket.Straight?
---@return string? message
---@return string? name as of upgrade
function websocket.accept(req, res, options) end

--- Connect to "ws://host:port/path?query", in a task.
---@param url string
---@param options? rotor.websocket.ConnectOptions but for seed
---@return rotor.websocket.Straight?
---@return string? message
---@return string? name as of connect; or why the handshake has failed
function websocket.dial(url, options) end

--- A WebSocket for tasks. Messages that nobody receives stop the peer when there are 16 of them.
---@class rotor.websocket.Straight
local Straight = {}

--- Wait for the next message; if given, no longer than so many seconds.
---@param seconds? number
---@return string? data
---@return string? kind "text" or "binary"; or the message
---@return string? name ETIMEDOUT; ECLOSED: either side has closed it; or why the connection broke
function Straight:recv(seconds) end

--- `for data, kind in ws:messages() do`, until it is closed.
---@return fun(): string?, string?
function Straight:messages() end

--- Send a text, which has to be UTF-8, or binary data. Waits while more than 64 KiB are unsent.
---@param data rotor.Data
---@param kind? "text"|"binary" "text"
---@return true?
---@return string? message
---@return string? name
function Straight:send(data, kind) end

--- Begin to close; what came before is still received. `local ws <close>` does it, too.
---@param code? integer 1000; those of an application are 3000 to 4999
---@param reason? string at most 123 bytes
---@return true?
---@return string? message
---@return string? name
function Straight:close(code, reason) end

---@class rotor.websocket.Handler

--- What is passed by a peer is answered: a message too large with 1009, of too many fragments with 1008.
---@class rotor.websocket.HandlerOptions
---@field max_message? integer bytes; 16 MiB
---@field max_fragments? integer of one message; 131,072
---@field ping_interval? number|false seconds of silence until a ping is sent; 30; false: never
---@field pong_timeout? number|false seconds for a sign of life then; 30; false: for ever
---@field close_timeout? number|false seconds for the answer to a close; 10; false: for ever
---@field high_water? integer bytes of output at which reading stops; 65,536
---@field stall_timeout? number seconds for a peer that takes no output; 30
---@field turns? integer transitions in a row before others have their turn; 64

---@class rotor.websocket.UpgradeOptions
---@field protocols? string|string[] the subprotocols that are spoken here, the best first
---@field origins? string|string[] the sites whose pages may connect, as in "https://example.org"; "*": any. By default those of the host that was asked; who is no browser says none, and may always
---@field seed? any for `open`

---@class rotor.websocket.ConnectOptions
---@field protocols? string|string[] the subprotocols to ask for, the best first
---@field headers? table<string, string|number> more headers of the request
---@field address? string where to connect to, if not to what the URL says, see rotor.connect
---@field timeout? number seconds for connecting and the handshake together; 10
---@field keepalive? integer see rotor.ListenOptions, as for the next
---@field delay? boolean
---@field seed? any for `open`

--- Each is given `self` and the WebSocket, and but for the last two returns what the WebSocket waits for
--- next: `return ws:expect_message()`. All may be absent; without `message` and `message_chunk`, a peer
--- that sends any is refused (1003).
---@class rotor.websocket.HandlerTransitions
---@field open? fun(self: table, ws: rotor.WebSocket, seed: any): rotor.WebSocketIntent the handshake is through
---@field message? fun(self: table, ws: rotor.WebSocket, data: string, kind: "text"|"binary"): rotor.WebSocketIntent a whole message
---@field message_chunk? fun(self: table, ws: rotor.WebSocket, data: string, kind: "text"|"binary", last: boolean): rotor.WebSocketIntent in place of message: a piece of one, as it came; text may be cut inside of a character
---@field ping? fun(self: table, ws: rotor.WebSocket, data: string): rotor.WebSocketIntent was received, and answered
---@field pong? fun(self: table, ws: rotor.WebSocket, data: string): rotor.WebSocketIntent also as an answer to a ping of ping_interval, which is empty
---@field flushed? fun(self: table, ws: rotor.WebSocket): rotor.WebSocketIntent the output is sent as far as was waited for
---@field timeout? fun(self: table, ws: rotor.WebSocket): rotor.WebSocketIntent without it: close(1001)
---@field wakeup? fun(self: table, ws: rotor.WebSocket): rotor.WebSocketIntent
---@field close? fun(self: table, ws: rotor.WebSocket, code: integer, reason: string, name: string?, seed: any) it is closed: with the peer's code, and no name; with the code for what the peer did wrong; or with 1006, and a name such as "ECONNRESET". Exactly once for each open; without one, and with the seed, if a client could not connect
---@field drop? fun(self: table, ws: rotor.WebSocket) the last that is heard of it, if it was opened

--- What a transition returns.
---@class rotor.WebSocketIntent

--- A WebSocket. What it waits for is for its own transitions to say; anybody may keep it, to send by it.
---@class rotor.WebSocket
local WebSocket = {}

--- Send a text, which has to be UTF-8; all that is sent in one transition leaves in one write.
---@param text rotor.Data
---@return true?
---@return string? message
---@return string? name ECLOSED: it is closed, or closing
function WebSocket:send(text) end

---@param data rotor.Data
---@return true?
---@return string? message
---@return string? name
function WebSocket:send_binary(data) end

--- Send a part of a message, the first or the next; the first says what kind it is. Until the last was
--- sent no other message can be.
---@param data rotor.Data
---@param last boolean
---@param kind? "text"|"binary" "text"
---@return true?
---@return string? message
---@return string? name
function WebSocket:send_fragment(data, last, kind) end

---@param data? string|number at most 125 bytes
---@return true?
---@return string? message
---@return string? name
function WebSocket:ping(data) end

--- Begin to close; `close` tells when it is through. Messages that come meanwhile are dropped. In a
--- transition of its own it is what that returns, too: `return ws:close(4000, "enough")`.
---@param code? integer 1000; those of an application are 3000 to 4999
---@param reason? string at most 123 bytes
---@return true|rotor.WebSocketIntent?
---@return string? message
---@return string? name ECLOSED: it is closed, or closing
function WebSocket:close(code, reason) end

--- Wait for the next message, or what else happens; if given, for so many seconds, then for timeout.
---@param seconds? number
---@return rotor.WebSocketIntent
function WebSocket:expect_message(seconds) end

--- Wait until at most n bytes (0 by default) are still to be sent: flushed. Nothing is read meanwhile.
---@param n? integer
---@param seconds? number
---@return rotor.WebSocketIntent
function WebSocket:expect_flush(n, seconds) end

--- What was asked for just now, and to be told once at most n bytes are still to be sent:
--- `return ws:and_flush(ws:expect_message(), 4096)`.
---@param intent rotor.WebSocketIntent
---@param n integer
---@return rotor.WebSocketIntent
function WebSocket:and_flush(intent, n) end

--- Wait for wakeups only. Nothing is read.
---@param seconds? number then timeout
---@return rotor.WebSocketIntent
function WebSocket:sleep(seconds) end

--- Keep waiting for what was waited for, the deadline included.
---@return rotor.WebSocketIntent
function WebSocket:same() end

--- close(1000), and not longer than so many seconds.
---@param seconds? number
---@return rotor.WebSocketIntent
function WebSocket:done(seconds) end

--- End the connection at once, without a close.
---@return rotor.WebSocketIntent
function WebSocket:abort() end

--- close(1011), and tell on_error.
---@param value any
---@return rotor.WebSocketIntent
function WebSocket:error(value) end

--- How many bytes are still to be sent.
---@return integer
function WebSocket:unsent() end

--- The subprotocol that was agreed on.
---@return string?
function WebSocket:protocol() end

--- The peer's address.
---@return string?
---@return string? message
---@return string? name
function WebSocket:peer() end

--- The own address.
---@return string?
---@return string? message
---@return string? name
function WebSocket:address() end

--- The loop's monotonic clock.
---@return number seconds
function WebSocket:now() end

---@return rotor.Handle
function WebSocket:handle() end

---@return rotor.Notifier
function WebSocket:notifier() end

---@return rotor.Loop
function WebSocket:loop() end

--- The loop's context.
---@return any
function WebSocket:context() end

--- Whether messages can be sent.
---@return boolean
function WebSocket:is_open() end

--- Whether it has ended: then send() fails, and most else throws.
---@return boolean
function WebSocket:ended() end

--------------------------------------------------------------------------------------------------

--- `local redis = require "rotor.redis"`
---@class rotor.redis
---@field null rotor.redis.Null what stands for a null inside of a reply; a whole reply that is one is nil
local redis = {}

--- Connect to a Redis server, and again whenever the connection has ended or could not be made.
--- Nothing waits for a connection: commands fail at once while there is none, see
--- rotor.redis.Client.ready.
---@param address? string|integer as for rotor.connect; 127.0.0.1:6379
---@param options? rotor.redis.Options
---@return rotor.redis.Client?
---@return string? message
---@return string? name
function redis.connect(address, options) end

--- Whether that element of a reply is an error.
---@param value any
---@return boolean
function redis.is_error(value) end

--- Whether a failure of that name ("WRONGTYPE", "ERR") is what the server has replied, and so no
--- matter of the connection ("ECONNRESET", "ENOTCONN"). Of nil, which is no failure, it is false.
---@param name string?
---@return boolean
function redis.is_reply(name) end

---@class rotor.redis.Null

--- An error inside of a reply, as among the results of a transaction. tostring() makes
--- "NAME: message" of it.
---@class rotor.redis.Error
---@field name string as in "WRONGTYPE"; "ERR" of one that has none
---@field message string

--- What the server refuses for its password, user, database or name, also later, ends the client:
--- it would be refused again.
---@class rotor.redis.Options
---@field password? string
---@field username? string "default"
---@field database? integer 0
---@field name? string what CLIENT LIST shows
---@field protocol? integer 3, or 2 as soon as the server does not know it; 2: do not even ask
---@field timeout? number seconds for connecting, and again for what is said at the beginning; 10
---@field keepalive? integer seconds without traffic until TCP asks whether the server is there
---@field backoff? number seconds until the first new attempt, see rotor.persist
---@field backoff_max? number
---@field max_reply? integer bytes of a reply; a larger one ends the connection; 512 MiB
---@field loop? rotor.Loop that of the task that connects, or the default loop
---@field on_up? fun(client: rotor.redis.Client) it is connected, and what was subscribed to is so again
---@field on_down? fun(client: rotor.redis.Client, name: string, message: string, seconds: number?) it is not, or still not; the next attempt comes in so many seconds, or not at all
---@field on_push? fun(client: rotor.redis.Client, push: any[]) what comes unasked in RESP3, other than messages

--- A client. Every command is a method of its name, `client:set("key", 1)`, `client:hgetall("h")`,
--- but for those below. It gives a future of the reply; any number may be under way. Those of one
--- transition leave in one write. Arguments are strings and numbers.
---
--- A reply is a string, an integer, a list (also of a set), and in RESP3 a table by key, a float or a
--- boolean; null is nil, but redis.null inside of a list or table. A future fails with "WRONGTYPE:
--- Operation against …" and the name "WRONGTYPE" when that is the reply; with ENOTCONN when the
--- command was not sent, as there is no connection; with the reason when the connection has ended
--- since then: the command may or may not have been executed.
---
--- What blocks, such as BLPOP, blocks all that comes behind it: it is for a client of its own, as is
--- WATCH outside of transaction().
---@class rotor.redis.Client
---@field [string] fun(self: rotor.redis.Client, ...: string|number): rotor.Future
local RedisClient = {}

--- A future of the client, for when it is connected; failing when it never will be, as the server has
--- refused it. As long as attempts go on it waits: see rotor.Future.timeout.
---@return rotor.Future
function RedisClient:ready() end

--- A command by its name in whatever case, as in `client:call("JSON.GET", "key")`.
---@param name string
---@param ... string|number
---@return rotor.Future
function RedisClient:call(name, ...) end

--- All commands that `fn` makes, as a transaction: a future of the list of their results, in which
--- an error is a rotor.redis.Error. nil: what was watched has changed, and nothing was done. With
--- "EXECABORT" the server has refused a command, and done nothing either.
---
--- With `watch` and `read` it first watches those keys and calls `read`, which makes its commands and
--- returns a future; `fn` is given the value of that, later. Until then there can be no other
--- transaction of the client (EBUSY).
---@param fn fun(tx: rotor.redis.Transaction, value: any)
---@param options? rotor.redis.TransactionOptions
---@return rotor.Future
function RedisClient:transaction(fn, options) end

--- Have `fn` called with each message that is published there, from now on, also after another
--- connection had to be made. A future of how many channels and patterns are subscribed to. In RESP2
--- a client that has subscribed to any takes no other commands (EBUSY). A task that is to wait for messages
--- has them sent to a channel:
---
---     local news = task.channel()
---     client:subscribe("news", function(message) news:try_send(message) end):await()
---     for message in news do … end
---
---@param channels string|string[]
---@param fn fun(message: string, channel: string)
---@return rotor.Future
function RedisClient:subscribe(channels, fn) end

--- The same for all channels that match, as in "news.*".
---@param patterns string|string[]
---@param fn fun(message: string, channel: string, pattern: string)
---@return rotor.Future
function RedisClient:psubscribe(patterns, fn) end

--- No more messages from there, at once; nil: from none of the channels.
---@param channels? string|string[]
---@return rotor.Future
function RedisClient:unsubscribe(channels) end

---@param patterns? string|string[]
---@return rotor.Future
function RedisClient:punsubscribe(patterns) end

--- Which version of its protocol the server speaks; nil while there is no connection.
---@return 2|3|nil
function RedisClient:protocol() end

--- End the connection, and make no other. What is under way fails with ECANCELED; no function given
--- to the client is called any more. `local client <close>` does it, too.
---@return true?
---@return string? message
---@return string? name ECLOSED: that was done before
function RedisClient:close() end

---@class rotor.redis.TransactionOptions
---@field watch? string|string[] keys
---@field read? fun(client: rotor.redis.Client): rotor.Future

--- What the function of a transaction makes commands by: each is a method of its name, and returns
--- the place that its result will have.
---@class rotor.redis.Transaction
---@field [string] fun(self: rotor.redis.Transaction, ...: string|number): integer
local RedisTransaction = {}

---@param name string
---@param ... string|number
---@return integer
function RedisTransaction:call(name, ...) end

--------------------------------------------------------------------------------------------------

--- Tasks: straight-line code. `local task = require "rotor.task"`.
---
--- A task is a coroutine that a machine drives. What waits, waits in the task itself: not in the
--- program, a transition, or a coroutine inside of it. What it waits in is bounded by the deadlines
--- around it, and ended when the task is canceled: then the task unwinds: something is thrown where it
--- waits (also when it would begin to), so that its `<close>` variables are closed. Who catches that has
--- it thrown again at the next wait, but for what is inside of task.shield. Whatever was waited for has
--- either happened, or not at all: a value is never lost.
---
--- Where a function takes `seconds`, it gives nil, a message and "ETIMEDOUT" when that long was not
--- enough.
---
--- `task.locals` is a table of what belongs to the task that runs; one that is spawned begins with a
--- copy of its parent's.
---@class rotor.task
---@field locals table<string, any>
local task = {}

--- Run the function as a task: soon, in the loop of the task that spawns it, or else in the default
--- loop (loop:spawn: in that one). It ends with what the function returns or throws. An error is told
--- to whoever joins; if nobody does within a second, nor can any more, to on_error. Throws when the
--- loop is full.
---@param fn fun(...: any): ...: any
---@param ... any for fn
---@return rotor.Task
function task.spawn(fn, ...) end

--- The task that runs, or nil. Handles of one task are equal, but may be different objects.
---@return rotor.Task?
function task.running() end

--- Whether an error that was caught is what unwinds a task, and better thrown again.
---@param error any
---@return boolean
function task.is_cancellation(error) end

---@param seconds number
function task.sleep(seconds) end

--- Let others have their turn.
function task.yield() end

--- Unwind here if the task has been canceled or is past its deadline; what waits does so itself.
function task.check() end

--- Wait for that signal of the process, by its name without SIG: the name; or ETIMEDOUT. All tasks that
--- wait for it are told, next to what rotor.on_signal has been given. One that comes after the task
--- has waited for it once, while it does something else, is there at its next wait; when no such task
--- is left, and no function, signals do what they do to any program.
---@param name string
---@param seconds? number
---@return string?
---@return string? message
---@return string? name
function task.signal(name, seconds) end

--- Call the function and wait for all tasks that were spawned by its scope: what it has returned. The
--- first error, of it or of one of them, cancels all the others and is thrown, with both tracebacks
--- (further ones go to on_error). nil, message, "ECANCELED" when scope:cancel() was called. Its tasks
--- are bound by the deadlines around it.
---@param fn fun(scope: rotor.TaskScope, ...: any): ...: any
---@param ... any
---@return any ...
function task.scope(fn, ...) end

--- Call the function, which has so many seconds for everything it waits in: what it has returned; or
--- nil, message, "ETIMEDOUT", and it was unwound.
---@param seconds number
---@param fn fun(...: any): ...: any
---@param ... any
---@return any ...
function task.deadline(seconds, fn, ...) end

--- Call the function so that neither a cancellation nor the deadlines around it unwind what is inside:
--- for what must be done on the way out. Then it had better have some seconds of its own.
---@param seconds? number
---@param fn fun(...: any): ...: any
---@param ... any
---@return any ...
function task.shield(seconds, fn, ...) end

--- Call a function on the thread pool, in a Lua state of its own, while others run here: what it
--- returns; what it throws is thrown, with its traceback. Its upvalues, arguments and results are what
--- can travel (see rotor.threads); or it is a function in C without upvalues. A task that is
--- canceled does not wait for it: what has not begun then never does, and what has stops waiting where it
--- blocks in a channel between threads, with ECANCELED. What never returns uses up a thread of the pool, keeps its
--- loop from being closed, and the process from ending.
---@param fn fun(...: any): ...: any
---@param ... any
---@return any ...
function task.offload(fn, ...) end

--- A channel for the tasks of this program, of any of its loops. (rotor.threads.channel is between
--- threads.)
---@param capacity? integer nil: no bound; 0: who sends waits for who receives
---@return rotor.TaskChannel
function task.channel(capacity) end

--- Wait for the first of several: its key, and what it gives. Each is a table with one verb:
---
--- `{ recv = channel }`, `{ send = channel, value = value }`, `{ await = future }`, `{ join = task }`,
--- `{ after = seconds }`, `{ readable = conn }`, `{ writable = conn }`, `{ accept = listener }`,
--- `{ recv = socket }`.
---
--- Exactly one of them happens. Of several that are there already it is any. With `default = true` it
--- does not wait, and returns "default" when none is there.
---@param cases table<any, table|boolean>
---@return any key
---@return any ...
function task.select(cases) end

--- Connect, and wait for that, in a task: the connection; or nil, a message with the address, and why. The addresses
--- of a name are tried side by side, see rotor.Loop.connect.
---@param address string|integer
---@param options? rotor.TaskConnectOptions
---@return rotor.TaskConn?
---@return string? message
---@return string? name
function task.connect(address, options) end

---@class rotor.TaskConnectOptions
---@field timeout? number seconds for the look-up and all attempts together; 10
---@field delay? boolean leave Nagle's algorithm on
---@field keepalive? integer seconds of silence after which the system asks if the peer is there

--- Listen, in the loop of the task that runs or else in the default one. Addresses are as for
--- rotor.Loop.listen. Connections wait in the system's backlog until somebody accepts them.
---@param address string|integer
---@param options? rotor.TaskListenOptions
---@return rotor.TaskListener?
---@return string? message
---@return string? name
function task.listen(address, options) end

---@class rotor.TaskListenOptions
---@field backlog? integer connections that the kernel keeps waiting; 1,024
---@field reuse_port? boolean let several listeners share the port
---@field ipv6_only? boolean "[::]:80" is not for IPv4, too
---@field delay? boolean leave Nagle's algorithm on
---@field keepalive? integer seconds of silence until the peer is asked for a sign of life; never
---@field connections? integer accept nothing while the loop has so many machines, of which each task is one; twice what the descriptor limit allows

--- Open a datagram socket, in the loop of the task that runs or else in the default one, as
--- rotor.Loop.udp does.
---@param address? string|integer its own; nil: any
---@param options? rotor.UdpOptions `seed` is without meaning
---@return rotor.TaskUdp?
---@return string? message
---@return string? name
function task.udp(address, options) end

--- Of a lock that is free nobody waits for anything: others have no turn, and a cancellation waits, too.
---@return rotor.Mutex
function task.mutex() end

--- Any number of readers, or one writer. Who comes later waits behind a writer that waits; after a
--- writer all readers come that wait.
---@return rotor.RWLock
function task.rwlock() end

---@param n integer how many may have it at once
---@return rotor.Semaphore
function task.semaphore(n) end

---@param mutex rotor.Mutex
---@return rotor.Condition
function task.condition(mutex) end

---@return rotor.WaitGroup
function task.wait_group() end

---@return rotor.Once
function task.once() end

---@param n integer
---@return rotor.Barrier
function task.barrier(n) end

--- A connection, as tasks use it. One task may read while others write. What is read and what has become
--- of the peer is told in order: a read that fails leaves what has come before to the next one, also when it
--- was canceled or its time was over; at the end of what the peer has sent each gives "EEOF", or how the
--- connection broke ("ECONNRESET"). Closed by `<close>`, or when it is collected.
---@class rotor.TaskConn
local TaskConn = {}

--- Read exactly so many bytes.
---@param n integer
---@param seconds? number
---@return string?
---@return string? message
---@return string? name EEOF: there are fewer to come, which can be read
function TaskConn:read(n, seconds) end

--- Read what comes before a delimiter, which is dropped.
---@param delimiter string
---@param max? integer most bytes before it; 65,536
---@param seconds? number
---@return string?
---@return string? message
---@return string? name ELIMIT: it does not begin within `max` bytes, which can be read; EEOF
function TaskConn:read_until(delimiter, max, seconds) end

--- Read what is there, at least one byte.
---@param max? integer most bytes
---@param seconds? number
---@return string?
---@return string? message
---@return string? name
function TaskConn:read_some(max, seconds) end

--- Read until the peer has closed its direction: all of it, perhaps "".
---@param max? integer most bytes; 16 MiB
---@param seconds? number
---@return string?
---@return string? message
---@return string? name ELIMIT: there is more than `max`, which can be read
function TaskConn:read_all(max, seconds) end

--- `for line in conn:lines() do`: read_until("\n"), and at the end what is left. What has ended it is what
--- the next read says, but for a line that is too long, which can be read.
---@param max? integer most bytes of a line; 65,536
---@return fun(): string?, string?, string?
function TaskConn:lines(max) end

--- Write all that it is given. Waits while 64 KiB or more are unsent, until half of that is; what it was given is sent
--- also if that wait is canceled.
---@param ... rotor.Data
---@return true?
---@return string? message
---@return string? name
function TaskConn:write(...) end

--- Wait until all that was written is sent.
---@param seconds? number
---@return true?
---@return string? message
---@return string? name
function TaskConn:flush(seconds) end

--- When all is sent, tell the peer that no more comes. Reading goes on.
---@return true?
---@return string? message
---@return string? name
function TaskConn:shutdown() end

--- Close it. What was written is sent in the background, but a peer that takes nothing for half a minute has
--- lost it; and over TCP one of whose bytes not all were read may lose the last of it: where that can be,
--- shutdown() and read until the end first. Who waits is told ECLOSED.
---@return true
function TaskConn:close() end

--- Close it at once, without what is unsent; over TCP the peer sees a reset. Also after close().
---@return true
function TaskConn:abort() end

--- Whether it was closed here.
---@return boolean
function TaskConn:closed() end

--- How many bytes were written and are not sent yet.
---@return integer
function TaskConn:unsent() end

---@return string?
---@return string? message
---@return string? name
function TaskConn:peer() end

---@return string?
---@return string? message
---@return string? name
function TaskConn:address() end

--- What listens. `for conn in listener do` accepts until it is closed.
---@class rotor.TaskListener
local TaskListener = {}

--- Accept a connection. One that nobody waits for any more is for the next.
---@param seconds? number
---@return rotor.TaskConn?
---@return string? message
---@return string? name ECLOSED
function TaskListener:accept(seconds) end

--- Where it listens, with the true port; with commas if that are several.
---@return string?
---@return string? message
---@return string? name
function TaskListener:address() end

--- Listen no longer. Who waits in accept() is told ECLOSED.
---@return true
function TaskListener:close() end

---@return boolean
function TaskListener:closed() end

--- A datagram socket, as tasks use it. What comes while nobody receives is kept, 256 datagrams or 1 MiB at
--- most; what comes then is dropped. `#socket` is how many are kept; `for data, from in socket do` receives
--- until it is closed.
---@class rotor.TaskUdp
---@operator len: integer
local TaskUdp = {}

--- Receive a datagram: its bytes, who sent it, and its true size if it was cut.
---@param seconds? number
---@return string?
---@return string? from or a message
---@return integer|string? size or the name of why not: ECONNREFUSED, of something that was sent before
function TaskUdp:recv(seconds) end

--- Send a datagram, to an address (no name) or to the peer. Waits while the system has no room for it. That
--- it was sent does not say that it arrives.
---@param data rotor.Data
---@param to? string|integer
---@return true?
---@return string? message
---@return string? name see rotor.Socket.send
function TaskUdp:send(data, to) end

---@return string?
---@return string? message
---@return string? name
function TaskUdp:address() end

---@return string?
---@return string? message
---@return string? name ENOTCONN: it has none
function TaskUdp:peer() end

--- How many datagrams have come and were dropped.
---@return integer
function TaskUdp:dropped() end

--- As rotor.Socket.join.
---@param group string
---@param interface? string
---@return true?
---@return string? message
---@return string? name
function TaskUdp:join(group, interface) end

---@param group string
---@param interface? string
---@return true?
---@return string? message
---@return string? name
function TaskUdp:leave(group, interface) end

--- Who waits is told ECLOSED; what was kept is dropped.
---@return true
function TaskUdp:close() end

--- A task, as it is held. `name` may be set.
---@class rotor.Task
---@field name string?
local Task = {}

--- Wait for its end: what it has returned; or nil, the error as text with where it was thrown, where
--- the task was spawned and who waits for it, and "ELUA"; or ECANCELED. Outside of tasks only when it
--- has ended.
---@param seconds? number
---@return any ...
function Task:join(seconds) end

--- Have it unwind where it waits, or next does. Whether it has not ended yet.
---@return boolean
function Task:cancel() end

---@return boolean
function Task:done() end

--- What task.scope's function is given; `#scope` is how many of its tasks have not ended.
---@class rotor.TaskScope
---@operator len: integer
local TaskScope = {}

--- As task.spawn, but the scope waits for it. Throws when the scope has ended.
---@param fn fun(...: any): ...: any
---@param ... any
---@return rotor.Task
function TaskScope:spawn(fn, ...) end

--- Cancel its function and its tasks.
function TaskScope:cancel() end

--- A channel. `for value in channel do` receives until it is closed; `#channel` is how many values are
--- in it.
---@class rotor.TaskChannel
---@operator len: integer
local TaskChannel = {}

--- Send a value that is not nil, and wait while there is no room: true; or nil, "closed".
---@param value any
---@param seconds? number
---@return true?
---@return string? message
---@return string? name
function TaskChannel:send(value, seconds) end

--- The same without waiting: false when there is no room.
---@param value any
---@return boolean?
---@return "closed"?
function TaskChannel:try_send(value) end

--- Wait for a value; nil, "closed" when there will be none any more.
---@param seconds? number
---@return any
---@return string? message
---@return string? name
function TaskChannel:recv(seconds) end

--- The same without waiting: nil, "empty" when there is none.
---@return any
---@return "closed"|"empty"|nil
function TaskChannel:try_recv() end

--- No more is sent; what is in it can still be received. So does closing a variable with it.
function TaskChannel:close() end

---@return boolean
function TaskChannel:closed() end

--- One task's at a time, in the order in which they come. It is free again when its holder ends. To
--- close a variable with it unlocks it.
---@class rotor.Mutex
local Mutex = {}

--- Wait until it is free, and take it.
---@param seconds? number
---@return rotor.Mutex?
---@return string? message
---@return string? name
function Mutex:lock(seconds) end

--- Take it if it is free.
---@return rotor.Mutex|false
function Mutex:try_lock() end

--- Throws if the task does not hold it.
function Mutex:unlock() end

---@return boolean
function Mutex:locked() end

---@class rotor.RWLock
local RWLock = {}

--- Wait until nobody writes: what to unlock, or to close a variable with.
---@param seconds? number
---@return rotor.RWGuard?
---@return string? message
---@return string? name
function RWLock:read(seconds) end

--- Wait until nobody reads or writes: likewise.
---@param seconds? number
---@return rotor.RWGuard?
---@return string? message
---@return string? name
function RWLock:write(seconds) end

---@class rotor.RWGuard
local RWGuard = {}

--- Throws the second time.
function RWGuard:unlock() end

--- To close a variable with it releases one.
---@class rotor.Semaphore
local Semaphore = {}

---@param seconds? number
---@return rotor.Semaphore?
---@return string? message
---@return string? name
function Semaphore:acquire(seconds) end

---@return rotor.Semaphore|false
function Semaphore:try_acquire() end

--- Any task may, and the program; each time makes one more free, also before what acquire() gave is closed.
function Semaphore:release() end

---@class rotor.Condition
local Condition = {}

--- Unlock the mutex, wait to be woken, and lock it again, whatever the wait has come to.
---@param seconds? number
---@return true?
---@return string? message
---@return string? name
function Condition:wait(seconds) end

--- Wake who has waited longest; whether there was one.
---@return boolean
function Condition:signal() end

--- Wake all; how many.
---@return integer
function Condition:broadcast() end

---@class rotor.WaitGroup
local WaitGroup = {}

---@param n? integer 1
function WaitGroup:add(n) end

--- One less. Throws below 0.
function WaitGroup:done() end

--- Wait until there are none.
---@param seconds? number
---@return true?
---@return string? message
---@return string? name
function WaitGroup:wait(seconds) end

---@class rotor.Once
local Once = {}

--- What the function returns, which is called by the first who comes here, and by the next if it
--- throws; the others wait for that.
---@param fn fun(...: any): ...: any
---@param ... any
---@return any ...
function Once:run(fn, ...) end

---@class rotor.Barrier
local Barrier = {}

--- Wait until as many do as it was made for: whether this was the last.
---@param seconds? number
---@return boolean?
---@return string? message
---@return string? name
function Barrier:wait(seconds) end

--------------------------------------------------------------------------------------------------

--- Bytes for whatever writes or sends. What is in a buf stays there; a number is written as in Lua.
---@alias rotor.Data string|number|rotor.Buf

--- Bytes that are appended at the back and taken at the front, without a new string for each step: `#buf` tells
--- how many there are. Sent to another thread they are not copied, they move, and this buf is empty. Its memory goes when
--- it is empty, or collected; or at once at the end of the block with `local buf <close>`.
---@class rotor.Buf
---@operator len: integer
local Buf = {}

--- Append strings, numbers, and what is in other bufs.
---@param ... rotor.Data
function Buf:append(...) end

--- How many bytes are before the first occurrence of the delimiter that begins behind the first `offset` bytes; nil if
--- it is not there. A search that is repeated when more has come looks only at what is new. With a line that ends
--- in "\n" in front, `buf:take(buf:find "\n")` is the line.
---@param delimiter string
---@param offset? integer 0
---@return integer?
function Buf:find(delimiter, offset) end

--- The first n bytes (all of them by default), consumed.
---@param n? integer
---@return string
function Buf:take(n) end

--- The same, but they stay.
---@param n? integer
---@return string
function Buf:peek(n) end

--- The same as take, but in a buf of their own.
---@param n? integer
---@return rotor.Buf
function Buf:split(n) end

--- Drop the first n bytes.
---@param n integer
function Buf:consume(n) end

--------------------------------------------------------------------------------------------------

--- Threads: what crosses them, and what they share. `local threads = require "rotor.threads"`, or
--- `rotor.threads`.
---
--- A value crosses by copy: nil, booleans, numbers, strings, and tables of them, with cycles and
--- whatever they share. What threads may share goes by reference: counters, dictionaries, the
--- channels made here, ports and notifiers. Bufs and futures move: here a buf is empty and a future gone
--- once it is sent, and each is as it was if it could not be. Where there may be several receivers (the
--- arguments of rotor.threads, copy()) bufs are copied, and futures refused, as a future is that a task
--- waits for. Nothing else crosses, no function, and no table with a metatable; trying to is an error
--- that names the path: "msg.handlers[2] is a function".
---
--- Called, it starts threads, each with a Lua state and a default loop of its own, that look for
--- modules where this one does: `threads(n, fn, ...)`. In each of them fn runs with its number, from 1
--- to n, and copies of the arguments; then its loop until nothing is left in it. What fn has returned
--- is the thread's result, as it is when the loop has ended. Of fn itself the code goes to the thread,
--- with copies of its upvalues; so modules are to be required inside of it. Instead of a function the name of a
--- module will do that returns one.
---
--- What such threads listen on they share, unless it is given `reuse_port = false`: the same address
--- in each is one, and the system spreads the connections over them. Of port 0 all have the free port that the
--- first has got; of a Unix socket or an inherited one, each a duplicate of the first's; a list of addresses each
--- thread listens on by itself. (A port is shared with
--- other programs of the same user, too, that ask for it: a second server is not told that it is in use.)
---
--- A thread that dies with an error is reported to on_error of the default loop that it was started
--- from, once that runs; the others go on. When the Lua state closes that has started them, threads
--- are asked to stop at once, and waited for: one that neither runs its loop nor waits for a channel ends first what
--- it does.
---@class rotor.threads
---@overload fun(n: integer, fn: function|string, ...: any): rotor.threads.Crew?, string?, string?
local threads = {}

--- A copy of the value, as it would arrive in another thread.
---@generic T
---@param value T
---@return T
function threads.copy(value) end

--- A number that threads share. Each of its methods happens as a whole.
---@param n? integer 0
---@return rotor.threads.Counter
function threads.counter(n) end

--- A dictionary that threads share, for what is read much more often than written and may be
--- forgotten: caches, rate limits, sessions. Keys are strings, values strings, numbers and booleans.
--- Each of its methods happens as a whole.
---
--- It takes `max_bytes` at most: then what was not used for longest goes. One of 64 KiB or more
--- is 16 parts, to any one of which a key belongs; so a value takes a 16th of it at most.
---@param options rotor.threads.DictOptions
---@return rotor.threads.Dict
function threads.dict(options) end

--- A channel between threads: what is sent at one end comes out at another, once, in order. Anybody
--- who has it may send and receive. One that is sent through itself, or in a ring of such, is never
--- collected unless it is received.
---@param capacity? integer from 1; nil: no bound
---@return rotor.threads.Channel
function threads.channel(capacity) end

--- The threads of one call; `#crew` is how many. They run on when it is collected.
---@class rotor.threads.Crew
local Crew = {}

---@class rotor.threads.JoinOptions
---@field timeout? number seconds
---@field drain? number seconds that threads have to end on SIGTERM; 30

--- Wait until all have ended: in a task of the default loop; or else by running that, which must not run
--- then. May be done as often as one likes.
---
--- Meanwhile SIGTERM, if the program has no other use for it, has all threads of this Lua state stop
--- within `drain` seconds, as by stop(); a second one, at once. Either is heard by a thread in its loop, or
--- where it blocks in a channel: a function that does not come back to either is waited for.
---@param options? rotor.threads.JoinOptions
---@return table? results by the threads' numbers; nil: why not, by message and name
---@return table<integer, string>|string|nil errors with tracebacks by the numbers of those that have died of them; nil: none has
---@return string? name ETIMEDOUT; ECANCELED: the loop was stopped meanwhile
function Crew:join(options) end

--- Have them end: what listens in their default loops is closed, HTTP servers drain, and what else
--- there is has the seconds to end by itself; then their loops are stopped. With 0 they are stopped at once.
--- A thread that blocks in a channel without a value stops waiting, with ECANCELED.
---@param seconds? number 30
function Crew:stop(seconds) end

---@class rotor.threads.Counter
local Counter = {}

---@return integer
function Counter:get() end

---@param n integer
function Counter:set(n) end

--- Add to it, around the ends of the range if it comes to that.
---@param n? integer 1
---@return integer n the new value
function Counter:add(n) end

--- Set it if it is what is expected.
---@param expected integer
---@param n integer
---@return boolean set whether it was
function Counter:compare_and_set(expected, n) end

---@class rotor.threads.DictOptions
---@field max_bytes integer what it may take, from 4,096

---@class rotor.threads.Dict
local Dict = {}

---@param key string
---@return string|number|boolean|nil
function Dict:get(key) end

--- Store a value; after the seconds, if given, it is gone.
---@param key string
---@param value string|number|boolean
---@param seconds? number
---@return true?
---@return string? message
---@return string? name E2BIG: it is larger than a part of the dictionary; ENOMEM
function Dict:set(key, value, seconds) end

--- Store a value if there is no such key.
---@param key string
---@param value string|number|boolean
---@param seconds? number
---@return boolean? added false: there is one
---@return string? message
---@return string? name as of set
function Dict:add(key, value, seconds) end

--- Add to a number. A key that is not there begins at `initial`, for that many seconds; one that is
--- there keeps its expiry.
---@param key string
---@param n? number 1
---@param initial? number
---@param seconds? number
---@return number? n the new value
---@return string? message
---@return string? name ENOENT: there is no such key, and no initial; EINVAL: it is not a number; as of set
function Dict:incr(key, n, initial, seconds) end

--- Store a value, or delete the key for nil, if what is stored is what is expected, or for nil if
--- there is no such key.
---@param key string
---@param expected string|number|boolean|nil
---@param value string|number|boolean|nil
---@param seconds? number
---@return boolean? set whether it was
---@return string? message
---@return string? name as of set
function Dict:compare_and_set(key, expected, value, seconds) end

---@param key string
---@return boolean deleted whether it was there
function Dict:delete(key) end

--- The keys that were there, of each part at one moment.
---@return string[]
function Dict:keys() end

---@return integer
function Dict:count() end

--- Drop what has expired now, and not when it is met or its place is needed.
---@return integer n
function Dict:flush() end

--- `#channel` is how many values are in it.
---@class rotor.threads.Channel
local ThreadChannel = {}

--- Send a copy of the value, and wait while there is no room: in a task; or else, where no loop runs,
--- by blocking the thread.
---@param value any but nil
---@param seconds? number
---@return true? sent nil: why not
---@return string? why "closed", or a message
---@return string? name ETIMEDOUT; ECANCELED: this is a thread, and is to stop
function ThreadChannel:send(value, seconds) end

--- Send it if there is room.
---@param value any but nil
---@return boolean? sent nil: the channel is closed
---@return string? why "closed"
function ThreadChannel:try_send(value) end

--- Receive a value, and wait for it as send does. `for value in channel do` does it until the channel is
--- closed and empty.
---@param seconds? number
---@return any value nil: why not
---@return string? why "closed", or a message
---@return string? name as of send
function ThreadChannel:recv(seconds) end

--- Receive what is there.
---@return any value nil: nothing
---@return string? why "empty" or "closed"
function ThreadChannel:try_recv() end

---@return boolean
function ThreadChannel:closed() end

--- Nothing more can be sent; what is in it can still be received. `local channel <close>` does it, too.
function ThreadChannel:close() end
