"""What the Python versions of the labs share: connections, the fate of a request, closed books.

Every script here can be run by hand against any HTTP server, for example

    cargo run --release -p mock_server -- --slots 50 --service 50ms --queue unbounded
    PYTHONPATH=labs/kit/python python3 labs/lab03_concurrency_trap/python/lab03.py \
        --url http://127.0.0.1:8080 --arm burst --clients 500

Flags of every script (times in seconds); lab01, lab02 and lab14 need no upstream and have no --url:

    --url URL         the upstream
    --doors A,B,...   milliseconds that the upstream holds a request to /open-connections/0, /1, ...;
                      connections are opened there before the clock starts. Without it, by the load.
    --parent          end when standard input does: whoever started the script has gone

A flag that is not known, or a value that makes no sense, is one line on standard error and exit 2.

Every script prints one JSON object and nothing else to standard output:

    wall_s            length of the measured part: neither the interpreter's start nor imports
    offered           requests or items that were to be done: the sum of the next five
    ok, rejected, timed_out, failed
    never_sent        planned and never sent; may be left out
    failures          {kind: count}, which add up to `failed`
    latencies_s       [seconds], one for each `ok`, from the intended start to the end
    attempt_latencies_s  the same for every attempt that ended, whatever its fate; may be left out
    doors             requests sent to open connections, which are in no other count
    gauges            {name: number}, units in the name

Python 3.11 or later, and aiohttp for the scripts that use the network. It is imported where it is
used: interpreters beside the first one import this file too, and cannot import aiohttp.
"""

import argparse
import asyncio
import contextlib
import json
import math
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import urllib.parse

clock = time.perf_counter

# What mock_server answers unless told otherwise: 256 bytes, so that half an answer is noticed.
BODY = bytes(ord("a") + i % 26 for i in range(255)) + b"\n"

OK, REJECTED, TIMED_OUT = "ok", "rejected", "timed out"


class Parser(argparse.ArgumentParser):
    """One that says in one line what is wrong."""

    def error(self, message):
        line = " ".join(f"{os.path.basename(self.prog)}: {message}".split())
        self.exit(2, line + "\n")


def arguments(doc, url=True):
    """A parser with the flags of every script. Its numbers are finite, and not below zero."""
    parser = Parser(
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        # What a flag is called is checked, too: no part of a name stands for it.
        allow_abbrev=False,
    )
    parser.register("type", float, seconds(0))
    parser.register("type", int, whole(0, 2**64 - 1))
    if url:
        parser.add_argument("--url", type=_url, required=True)
        parser.add_argument("--doors", type=_doors, default=[])
    parser.add_argument("--parent", action="store_true")
    return parser


def seconds(least, most=3600.0):
    """Reads a number between two others."""

    def read(text):
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no number from {least:g} to {most:g}")
        return number

    return read


def whole(least, most=1_000_000):
    """Reads a whole number between two others."""

    def read(text):
        # What int() would take besides: "1_000", " 7 ", digits of other scripts.
        number = int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else -1
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(
                f"{text!r} is no whole number from {least} to {most}"
            )
        return number

    return read


def listed(read, most=1000):
    """Reads values with commas between them, at least one."""

    def read_all(text):
        parts = text.split(",")
        if len(parts) > most:
            raise argparse.ArgumentTypeError(f"{len(parts)} values are more than {most}")
        return [read(part) for part in parts]

    return read_all


def _doors(text):
    return listed(seconds(0, 3_600_000))(text) if text else []


def _url(text):
    try:
        parts = urllib.parse.urlsplit(text)
        good = parts.scheme == "http" and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise argparse.ArgumentTypeError(f"{text!r} is no http://HOST:PORT")
    return text.rstrip("/")


def start(parser, follow=True):
    """The flags; and watches, if asked to, whether the parent is still there. A script that has
    something to say at the end does not `follow`, and looks itself."""
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: leave(1))
    if args.parent and follow:
        when_parent_leaves(lambda: leave(1))
    return args


def when_parent_leaves(act):
    """Calls `act`, on a thread of its own, when standard input ends."""

    def wait():
        try:
            while os.read(0, 1024):
                pass
        except OSError:
            # Closed before we began: nobody is there.
            pass
        act()

    threading.Thread(target=wait, daemon=True).start()


def leave(status):
    """Ends at once, whatever else is going on. Worker processes notice, and end too."""
    for path in _folders:
        shutil.rmtree(path, ignore_errors=True)
    os._exit(status)


_folders = []


def temporary_folder():
    """A folder for `with`, which is gone afterwards, also when the program is told to end."""
    folder = tempfile.TemporaryDirectory()
    _folders.append(folder.name)
    return folder


def session(connections, timeout=None):
    """A client that keeps at most so many connections: aiohttp's default is 100, 0 is no limit.

    The clock of `timeout` runs while a request waits for a connection, as it does in every program
    that sets aiohttp's total timeout.

    aiohttp reads no http_proxy from the environment unless told to (trust_env).
    """
    import aiohttp

    client = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections),
        timeout=aiohttp.ClientTimeout(total=timeout),
    )
    # Else it sends a GET again, unseen, whose kept connection the server has closed.
    client._retry_connection = False
    return client


async def open_connections(client, args, n):
    """Opens n connections, by as many requests at the same time that are all held for a moment.

    Returns how many requests that took.
    """
    import aiohttp

    if not args.doors:
        return 0
    limit = client.connector.limit
    n = min(n, limit) if limit else n
    # To open a connection takes about half a millisecond here.
    door = next((i for i, ms in enumerate(args.doors) if ms >= n / 2), len(args.doors) - 1)
    patient = aiohttp.ClientTimeout(total=30)

    async def knock():
        url = f"{args.url}/open-connections/{door}"
        async with client.get(url, timeout=patient) as answer:
            await answer.read()

    # Where nobody opens, the requests that count will find out.
    await asyncio.gather(*(knock() for _ in range(n)), return_exceptions=True)
    return n


async def fetch(client, url, expected=BODY, **options):
    """The fate of one request, and its answer."""
    import aiohttp

    try:
        async with client.request(options.pop("method", "GET"), url, **options) as answer:
            # Whatever it is: only then is the connection used again.
            body = await answer.read()
            if answer.status in (429, 503):
                return REJECTED, None
            if answer.status >= 400:
                return f"status {answer.status}", None
            if expected is not None and body != expected:
                return "body", None
            return OK, body
    except TimeoutError:
        return TIMED_OUT, None
    except aiohttp.ClientConnectorError:
        return "connect", None
    except (aiohttp.ClientError, OSError):
        return "broken", None


class Books:
    """Every request has exactly one fate."""

    def __init__(self):
        self.fates = {}
        self.latencies = []
        self.attempts = []
        self.begun, self.wall, self.cpu_share = clock(), 0.0, 0.0

    @contextlib.contextmanager
    def measured(self):
        """What is done inside is the measured part; all of it begins together."""
        cpu, self.begun = time.process_time(), clock()
        yield
        self.wall = clock() - self.begun
        self.cpu_share = (time.process_time() - cpu) / self.wall

    def done(self):
        """One of those that began together has ended well."""
        self.enter(OK, clock() - self.begun)

    def enter(self, fate, took):
        self.fates[fate] = self.fates.get(fate, 0) + 1
        self.attempts.append(took)
        if fate == OK:
            self.latencies.append(took)

    def count(self, fate):
        return self.fates.get(fate, 0)

    def close(self, wall, doors=0, **gauges):
        """Prints the books."""
        failures = {k: n for k, n in self.fates.items() if k not in (OK, REJECTED, TIMED_OUT)}
        result = {
            "wall_s": wall,
            "offered": sum(self.fates.values()),
            "ok": self.count(OK),
            "rejected": self.count(REJECTED),
            "timed_out": self.count(TIMED_OUT),
            "failed": sum(failures.values()),
            "failures": failures,
            "latencies_s": [round(t, 6) for t in self.latencies],
            "attempt_latencies_s": [round(t, 6) for t in self.attempts],
            "doors": doors,
            "gauges": gauges,
        }
        json.dump(result, sys.stdout, allow_nan=False)
        print()


class Kernel:
    """Computation that really computes, in amounts of time: a chain of integer steps, each needing
    the one before. `time.sleep` would let every other thread run meanwhile."""

    def __init__(self, rounds_per_s=None):
        self.rounds_per_s = rounds_per_s or self._calibrate()

    @staticmethod
    def _calibrate():
        rounds, best = 20_000, float("inf")
        for _ in range(15):
            begin = clock()
            compute(rounds)
            # Whatever disturbs a run makes it slower: the fastest one counts.
            best = min(best, clock() - begin)
        return rounds / best

    def rounds(self, seconds):
        return int(self.rounds_per_s * seconds)

    def work(self, seconds):
        return compute(self.rounds(seconds))

    def slices(self, seconds, slice):
        """The same work in slices, for a caller who has something to do between them."""
        rounds, each = self.rounds(seconds), max(self.rounds(slice), 1)
        for done in range(0, rounds, each):
            yield compute(min(each, rounds - done))

    def alone(self, seconds):
        """How long that takes, now, with nobody else at work here."""
        begin = clock()
        self.work(seconds)
        return clock() - begin


def compute(rounds):
    """An amount of work, also as a job of a pool: top-level, so that processes find its name."""
    x = 1
    for i in range(rounds):
        x = ((x ^ (x >> 27)) * 0x3C79AC49 + i) & 0xFFFFFFFF
    return x


def timed_compute(rounds):
    """The same; returns the seconds it took."""
    begin = clock()
    compute(rounds)
    return clock() - begin


def gil():
    """1 when one thread at a time runs Python, 0 in a free-threaded build."""
    return float(getattr(sys, "_is_gil_enabled", lambda: True)())


def resident_bytes():
    """Memory that this process has now; None where the system has no /proc."""
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            for line in status:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def follow_parent():
    """Initialiser of a worker process: it ends with its parent, however that ended."""
    import multiprocessing

    parent = multiprocessing.parent_process()

    def wait():
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def process_pool(workers):
    """A pool of processes that are all running already.

    They are spawned, not forked, as is safe beside threads and the same on every system.
    """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    # When the script is told to end at once, nobody wants to hear what it had not tidied up yet.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")
    pool = ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=follow_parent
    )
    _start_all(pool, workers)
    return pool


def thread_pool(workers):
    """A pool of threads that are all running already."""
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(workers)
    _start_all(pool, workers)
    return pool


def interpreter_pool(workers):
    """A pool of threads that are all running already, each with an interpreter of its own.

    Python 3.14 has it. For 3.13 the package interpreters-pep-734 has much the same.
    """
    try:
        from concurrent.futures import InterpreterPoolExecutor
    except ImportError:
        try:
            from interpreters_backport.concurrent.futures import InterpreterPoolExecutor
        except ImportError:
            print(
                "no InterpreterPoolExecutor: Python 3.14 has one, and for Python 3.13 there is"
                " `python3 -m pip install interpreters-pep-734`",
                file=sys.stderr,
            )
            raise SystemExit(3) from None
    import site

    # A new interpreter does not know the folder of this file, from which it imports the job.
    folder = os.path.dirname(os.path.abspath(__file__))
    pool = InterpreterPoolExecutor(workers, initializer=site.addsitedir, initargs=(folder,))
    _start_all(pool, workers)
    return pool


def _start_all(pool, workers):
    # The pool starts a worker for each job that finds none idle; who started last is heard last.
    pids = set()
    for _ in range(20):
        jobs = [pool.submit(_nap, 0.05) for _ in range(workers)]
        pids.update(job.result() for job in jobs)
        if len(pids) >= workers:
            return


def _nap(seconds):
    time.sleep(seconds)
    return os.getpid(), threading.get_ident()


class Peer:
    """A user's WebSocket connection. It reads, writes and beats at the same time.

    Heartbeats are pings, of 8 bytes: nanoseconds from `origin` until they were due. They begin with
    `welcome`, the first thing that is told.
    """

    def __init__(self, ws, args, origin):
        self.ws, self.args, self.origin = ws, args, origin
        self.unanswered = 0
        # Bounded, and nobody waits for a place in it: the slowest reader would set the pace.
        self.outbox = asyncio.Queue(args.outbox)
        self.inside, self.slow = asyncio.Event(), asyncio.Event()

    async def stay(self, hear):
        """Until one of its parts ends; returns which: "left", "broken", "given_up" or "slow"."""
        parts = self.read(hear), self.write(), self.beat(), self.slow.wait()
        tasks = [asyncio.ensure_future(part) for part in parts]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
        ends = ["broken" if task.exception() else task.result() for task in done]
        return "slow" if True in ends else ends[0]

    async def read(self, hear):
        from aiohttp import WSMsgType

        while True:
            message = await self.ws.receive()
            if message.type == WSMsgType.PONG:
                self.unanswered = 0
            elif message.type == WSMsgType.PING:
                await self.ws.pong(message.data)
            elif message.type == WSMsgType.CLOSE:
                return "left"
            elif message.type != WSMsgType.TEXT or not hear(message.data):
                return "broken"

    async def write(self):
        while True:
            message = await self.outbox.get()
            await (self.ws.ping if isinstance(message, bytes) else self.ws.send_str)(message)

    def welcome(self, line):
        self.inside.set()
        return self.tell(line)

    def tell(self, line):
        """False when this user reads so slowly that it is shown the door."""
        if self.outbox.full():
            self.slow.set()
        if self.slow.is_set():
            return False
        self.outbox.put_nowait(line)
        return True

    async def beat(self):
        await self.inside.wait()
        # The first comes after a part of a beat, so that not everybody's come together.
        due = clock() - self.origin + self.args.beat * random.random()
        while True:
            await asyncio.sleep(due + self.origin - clock())
            # Counted, and not looked up on the clock: who was away finds all others silent.
            if self.unanswered >= self.args.unanswered:
                return "given_up"
            self.unanswered += 1
            if not self.outbox.full():
                self.outbox.put_nowait(int(due * 1e9).to_bytes(8, "big"))
            # Those that fell due while the loop was away are left out: nobody needs six at once.
            due += self.args.beat * (max(clock() - self.origin - due, 0) // self.args.beat + 1)


async def serve_chat(args, hall):
    """A server on a free port of this machine, until standard input ends. `hall.user(peer)` makes
    somebody who can `hear` a line and `leave`; what they do not want to hear ends their connection,
    and no other. Prints where it is, and at the end `hall.counts`."""
    from aiohttp import web

    loop, over = asyncio.get_running_loop(), asyncio.Event()
    when_parent_leaves(lambda: loop.call_soon_threadsafe(over.set))

    async def connection(request):
        ws = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=64 << 10)
        if not ws.can_prepare(request):
            hall.counts["broken"] += 1
            return web.Response(status=426)
        await ws.prepare(request)
        peer = Peer(ws, args, origin)
        user, why = hall.user(peer), "broken"
        try:
            why = await peer.stay(user.hear)
        finally:
            user.leave(why)
            # No good-byes: who reads slowly, or not at all, would be waited for.
            if request.transport is not None:
                request.transport.abort()
        return ws

    app = web.Application()
    app.router.add_get("/", connection)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    # The usual backlog loses some of many users who come at once; each would wait a second then.
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    origin = clock()
    print(json.dumps({"listening": "{}:{}".format(*runner.addresses[0])}), flush=True)
    await over.wait()
    print(json.dumps(hall.counts), flush=True)
    # Whatever is still being computed, nobody waits for it.
    leave(0)
