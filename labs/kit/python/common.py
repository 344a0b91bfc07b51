"""What the Python versions of the labs share: connections, the fate of a request, closed books.

Every script here can be run by hand against any HTTP server, for example

    cargo run --release -p mock_server -- --slots 50 --service 50ms --queue unbounded
    PYTHONPATH=labs/kit/python python3 labs/lab03_concurrency_trap/python/lab03.py \
        --url http://127.0.0.1:8080 --arm burst --clients 500

Flags of every script (times in seconds):

    --url URL         the upstream
    --doors A,B,...   milliseconds that the upstream holds a request to /open-connections/0, /1, ...;
                      connections are opened there before the clock starts. Without it, by the load.
    --parent          end when standard input does: whoever started the script has gone

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

Python 3.9 or later, and aiohttp.
"""

import argparse
import asyncio
import json
import os
import sys
import threading
import time

import aiohttp

clock = time.perf_counter

# What mock_server answers unless told otherwise: 256 bytes, so that half an answer is noticed.
BODY = bytes(ord("a") + i % 26 for i in range(255)) + b"\n"

OK, REJECTED, TIMED_OUT = "ok", "rejected", "timed out"


def arguments(doc):
    """A parser with the flags of every script."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", required=True)
    parser.add_argument("--doors", default="")
    parser.add_argument("--parent", action="store_true")
    return parser


def start(parser):
    """The flags; and watches, if asked to, whether the parent is still there."""
    args = parser.parse_args()
    args.url = args.url.rstrip("/")
    if args.parent:
        threading.Thread(target=_until_parent_leaves, daemon=True).start()
    return args


def _until_parent_leaves():
    while os.read(0, 1024):
        pass
    os._exit(1)


def session(connections, timeout=None):
    """A client that keeps at most so many connections: aiohttp's default is 100, 0 is no limit.

    The clock of `timeout` runs while a request waits for a connection, as it does in every program
    that sets aiohttp's total timeout.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections),
        timeout=aiohttp.ClientTimeout(total=timeout),
    )


async def open_connections(client, args, n):
    """Opens n connections, by as many requests at the same time that are all held for a moment.

    Returns how many requests that took.
    """
    if not args.doors:
        return 0
    limit = client.connector.limit
    n = min(n, limit) if limit else n
    holds = [float(ms) for ms in args.doors.split(",")]
    # To open a connection takes about half a millisecond here.
    door = next((i for i, ms in enumerate(holds) if ms >= n / 2), len(holds) - 1)
    patient = aiohttp.ClientTimeout(total=30)

    async def knock():
        url = f"{args.url}/open-connections/{door}"
        async with client.get(url, timeout=patient) as answer:
            await answer.read()

    await asyncio.gather(*(knock() for _ in range(n)))
    return n


async def fetch(client, url, expected=BODY, **options):
    """The fate of one request, and its answer."""
    try:
        async with client.request(options.pop("method", "GET"), url, **options) as answer:
            if answer.status in (429, 503):
                return REJECTED, None
            if answer.status >= 400:
                return f"status {answer.status}", None
            body = await answer.read()
            if expected is not None and body != expected:
                return "body", None
            return OK, body
    except asyncio.TimeoutError:
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
            _mix(rounds)
            # Whatever disturbs a run makes it slower: the fastest one counts.
            best = min(best, clock() - begin)
        return rounds / best

    def rounds(self, seconds):
        return int(self.rounds_per_s * seconds)

    def work(self, seconds):
        _mix(self.rounds(seconds))


def _mix(rounds):
    x = 1
    for i in range(rounds):
        x = ((x ^ (x >> 27)) * 0x3C79AC49 + i) & 0xFFFFFFFF
    return x


def compute(rounds):
    """An amount of work as a job of a pool: top-level, so that processes find it by its name."""
    return _mix(rounds)


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
