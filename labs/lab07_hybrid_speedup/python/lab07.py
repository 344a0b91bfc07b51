"""lab07 in Python: N items, each fetched (f) and then processed (p, real computation).

    --arm sequential     one after another
    --arm async          C fetches at a time, computing on the event loop
    --arm threads        W threads; each fetches, waits for its item, and computes
    --arm hybrid-threads C fetches at a time on the event loop, computing in a pool of W threads
    --arm hybrid         the same with a pool of W processes
    --arm hybrid-interpreters  the same with a pool of W threads, each with an interpreter of its own
                         (Python 3.14, or 3.13 with the package interpreters-pep-734)
    --items N
    --cost P             seconds of computation an item takes on a processor of its own
    --concurrency C      fetches at a time of the arms with an event loop
    --workers W
    --work compute|sleep what processing does; sleeping lets other threads run, computing does not
    --timeout T          of one fetch

The upstream decides f. The other flags, and what is printed: see common.py. A latency is the time from
the start of an item's fetch to the end of its processing. Calibration of the computation and the start
of the pools come before the clock. Gauges: items_per_s, kernel_rounds_per_s, cost_alone_s (one item's
processing, measured alone just before), gil (1 when one thread at a time runs Python, 0 in a
free-threaded build), client_cpu_share (processor time of the main process over the time of the whole).
"""

import asyncio
import contextlib
import http.client
import socket
import threading
import time
import urllib.parse

from common import (
    BODY,
    OK,
    REJECTED,
    TIMED_OUT,
    Books,
    Kernel,
    arguments,
    clock,
    compute,
    fetch,
    gil,
    interpreter_pool,
    open_connections,
    process_pool,
    seconds,
    session,
    start,
    thread_pool,
    whole,
)


class Socket(socket.socket):
    """Has one deadline for a whole answer. A plain timeout would begin anew with every read."""

    def recv_into(self, *into):
        left = self.desk.deadline - clock()
        if left <= 0:
            raise TimeoutError
        self.settimeout(left)
        return super().recv_into(*into)


class Desk(http.client.HTTPConnection):
    """A connection of one thread that waits for its answers: the standard library's client."""

    def __init__(self, args):
        url = urllib.parse.urlsplit(args.url)
        super().__init__(url.hostname, url.port or 80, timeout=args.timeout)
        self.path = url.path or "/"
        with contextlib.suppress(OSError):
            # Where nobody listens, the requests that count will find out.
            self.connect()

    def connect(self):
        super().connect()
        self.sock = Socket(fileno=self.sock.detach())
        self.sock.settimeout(self.timeout)
        self.sock.desk = self

    def fetch(self):
        self.deadline = clock() + self.timeout
        try:
            self.request("GET", self.path)
            answer = self.getresponse()
            body = answer.read()
        except TimeoutError:
            self.close()
            return TIMED_OUT
        except (http.client.HTTPException, OSError) as error:
            self.close()
            return "connect" if isinstance(error, ConnectionRefusedError) else "broken"
        if answer.status in (429, 503):
            return REJECTED
        if answer.status >= 400:
            return f"status {answer.status}"
        return OK if body == BODY else "body"


def process(args, kernel):
    """What is done with an item."""
    return time.sleep(args.cost) if args.work == "sleep" else kernel.work(args.cost)


async def sequential(args, kernel, books):
    async with session(1, args.timeout) as client:
        doors = await open_connections(client, args, 1)
        with books.measured():
            for _ in range(args.items):
                sent = clock()
                fate, _ = await fetch(client, args.url)
                if fate == OK:
                    process(args, kernel)
                books.enter(fate, clock() - sent)
        return doors


def threads(args, kernel, books):
    # Connections are opened before the clock starts, and so are the threads.
    desks = [Desk(args) for _ in range(args.workers)]
    pool, lock, taken = thread_pool(args.workers), threading.Lock(), iter(range(args.items))

    def work(desk):
        while True:
            with lock:
                if next(taken, None) is None:
                    return desk.close()
            sent = clock()
            fate = desk.fetch()
            if fate == OK:
                process(args, kernel)
            with lock:
                books.enter(fate, clock() - sent)

    with pool, books.measured():
        for job in [pool.submit(work, desk) for desk in desks]:
            job.result()
    return 0


async def on_a_loop(args, books, handle):
    """C fetches at a time; `handle` gets what has come."""
    async with session(args.concurrency, args.timeout) as client:
        doors = await open_connections(client, args, args.concurrency)
        permits = asyncio.Semaphore(args.concurrency)

        async def one():
            # The permit is for the fetch alone: what is processed holds up no fetch.
            async with permits:
                sent = clock()
                fate, _ = await fetch(client, args.url)
            if fate == OK:
                await handle()
            books.enter(fate, clock() - sent)

        with books.measured():
            async with asyncio.TaskGroup() as group:
                for _ in range(args.items):
                    group.create_task(one())
        return doors


# wrong: Fetching and computing on one event loop
def async_only(args, kernel, books):
    """While an item is processed the loop is away: it reads no answer and sends no request."""

    async def handle():
        process(args, kernel)

    return asyncio.run(on_a_loop(args, books, handle))


# right: Fetching on the event loop, computing in a pool
# so: The waits for the upstream overlap on one thread either way. Computations overlap as well in a
#     pool of processes or interpreters, which have a GIL each; in one of threads they take turns.
def hybrid(args, kernel, books, make_pool):
    job, argument = (
        (time.sleep, args.cost) if args.work == "sleep" else (compute, kernel.rounds(args.cost))
    )
    with make_pool(args.workers) as pool:

        async def handle():
            await asyncio.get_running_loop().run_in_executor(pool, job, argument)

        return asyncio.run(on_a_loop(args, books, handle))


def on_interpreters(args, kernel, books):
    return hybrid(args, kernel, books, interpreter_pool)


ARMS = {
    "sequential": lambda args, kernel, books: asyncio.run(sequential(args, kernel, books)),
    "async": async_only,
    "threads": threads,
    "hybrid-threads": lambda args, kernel, books: hybrid(args, kernel, books, thread_pool),
    "hybrid": lambda args, kernel, books: hybrid(args, kernel, books, process_pool),
    "hybrid-interpreters": on_interpreters,
}


def main():
    parser = arguments(__doc__)
    parser.add_argument("--arm", choices=sorted(ARMS), default="hybrid")
    parser.add_argument("--items", type=whole(0), default=20)
    parser.add_argument("--cost", type=float, default=0.02)
    parser.add_argument("--concurrency", type=whole(1), default=10)
    parser.add_argument("--workers", type=whole(1, 256), default=2)
    parser.add_argument("--work", choices=("compute", "sleep"), default="compute")
    parser.add_argument("--timeout", type=seconds(0.001), default=60.0)
    args = start(parser)
    kernel, books = Kernel(), Books()
    alone = clock()
    process(args, kernel)
    alone = clock() - alone
    doors = ARMS[args.arm](args, kernel, books)
    books.close(
        books.wall,
        doors,
        items_per_s=books.count(OK) / books.wall,
        kernel_rounds_per_s=kernel.rounds_per_s,
        cost_alone_s=alone,
        gil=gil(),
        client_cpu_share=books.cpu_share,
    )


if __name__ == "__main__":
    main()
