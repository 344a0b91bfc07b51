"""lab12 in Python: fetch, process, store, with failures, in batches of ten or through a window.

    --arm batches        ten at a time, and the next ten when the slowest of them is done
    --arm window         as many at a time, and a new one for each that is done
    --items N            numbered from 0; item i is fetched from URL/items/i
    --batch B            items under way at the same time
    --fetch-timeout T
    --attempts A         at a fetch that fails
    --backoff T          most that is waited before the second attempt; later ones: twice as long,
                         and 20 s at most
    --process P          seconds of computation an item takes on a processor of its own
    --workers W          processes that compute
    --process-timeout T
    --store S            seconds a write takes to get to the database and back
    --store-timeout T
    --hang-every K       the write of every K-th item gets no answer (0: every write does)
    --connections D      writes on their way at the same time
    --seed S             of the back-offs

The database is SQLite in a temporary folder; what it does not take within the timeout goes to a
fallback file of JSON lines. The upstream decides which fetches fail (mock_server --every item:7:500).
The other flags, and what is printed: see common.py. Items are offered: ok are those in the database or
the fallback file, failed those without a result, by the status of their fetch; an item whose fetch or
processing timed out counts as timed out. A latency is the time from an item's first fetch to the end of
its store. Gauges: items_per_s, in_database, in_fallback (both counted in the files at the end),
requests, fetch_mean_s, process_mean_s, store_mean_s, client_cpu_share.
"""

import asyncio
import json
import os
import random
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from common import (
    OK,
    REJECTED,
    TIMED_OUT,
    Books,
    Kernel,
    arguments,
    clock,
    compute,
    fetch,
    open_connections,
    process_pool,
    seconds,
    session,
    start,
    temporary_folder,
    whole,
)


def compute_in_time(rounds, each, limit):
    """A job of the pool; None when it is late. Nobody can stop a computation from outside: it looks at
    the clock itself, from its own beginning on."""
    end, result = clock() + limit, 0
    for done in range(0, rounds, each):
        if clock() > end:
            return None
        result = compute(min(each, rounds - done))
    return result


class Line:
    """The three stages, and what became of each item."""

    def __init__(self, args, client, pool, folder):
        self.args, self.client, self.pool = args, client, pool
        kernel = Kernel()
        self.rounds, self.slice = kernel.rounds(args.process), max(kernel.rounds(0.002), 1)
        self.connections = asyncio.Semaphore(args.connections)
        # A call of SQLite blocks its thread: here one that has nothing else to do.
        self.writer = ThreadPoolExecutor(1)
        self.fallback = os.path.join(folder, "fallback.jsonl")
        self.rng = random.Random(args.seed)
        self.books, self.requests = Books(), 0
        self.stages = {"fetch": [], "process": [], "store": []}

    async def take(self, item):
        began = clock()
        fate = await self.stage("fetch", self.fetch(item))
        if fate == OK:
            fate, result = await self.stage("process", self.process())
        if fate == OK:
            await self.stage("store", self.store(item, result))
        self.books.enter(fate, clock() - began)

    async def stage(self, name, work):
        began = clock()
        done = await work
        self.stages[name].append(clock() - began)
        return done

    async def fetch(self, item):
        wait = min(self.args.backoff, 20.0)
        for attempt in range(self.args.attempts):
            if attempt:
                await asyncio.sleep(self.rng.uniform(0.0, wait))
                wait = min(2 * wait, 20.0)
            self.requests += 1
            fate, _ = await fetch(self.client, f"{self.args.url}/items/{item}")
            transient = fate in (REJECTED, TIMED_OUT, "broken", "connect")
            if not transient and not fate.startswith("status 5"):
                break
        return fate

    async def process(self):
        # Items wait in the pool's queue until a worker is free, and no clock runs there.
        job = compute_in_time, self.rounds, self.slice, self.args.process_timeout
        result = await asyncio.get_running_loop().run_in_executor(self.pool, *job)
        return (TIMED_OUT, None) if result is None else (OK, result)

    async def store(self, item, result):
        # Whoever has it first, the write or the fallback after its timeout, stores the item.
        first = threading.Lock()
        async with self.connections:
            try:
                async with asyncio.timeout(self.args.store_timeout):
                    return await self.write(item, result, first)
            except TimeoutError:
                if first.acquire(blocking=False):
                    await asyncio.to_thread(self.fall_back, item, result)

    async def write(self, item, result, first):
        await asyncio.sleep(self.args.store / 2)
        if self.args.hang_every and item % self.args.hang_every == 0:
            await asyncio.Event().wait()
        await self.on_the_writer(self.insert, item, result, first)
        await asyncio.sleep(self.args.store / 2)

    async def on_the_writer(self, job, *arguments):
        return await asyncio.get_running_loop().run_in_executor(self.writer, job, *arguments)

    def open(self, folder):
        self.database = sqlite3.connect(os.path.join(folder, "items.db"))
        self.database.execute("PRAGMA journal_mode=WAL")
        self.database.execute("PRAGMA synchronous=NORMAL")
        self.database.execute("CREATE TABLE items (item INTEGER PRIMARY KEY, result TEXT)")

    def insert(self, item, result, first):
        if first.acquire(blocking=False):
            with self.database:
                self.database.execute("INSERT INTO items VALUES (?, ?)", (item, str(result)))

    def fall_back(self, item, result):
        with open(self.fallback, "a", encoding="utf-8") as file:
            file.write(json.dumps({"item": item, "result": result}) + "\n")

    def close(self):
        """How many items are in the database, and in the fallback file."""
        ((in_database,),) = self.database.execute("SELECT COUNT(*) FROM items")
        self.database.close()
        try:
            with open(self.fallback, encoding="utf-8") as file:
                return in_database, sum(1 for _ in file)
        except FileNotFoundError:
            return in_database, 0


# wrong: In batches
async def in_batches(line, items, batch):
    """The wrong way: the slowest of ten holds up nine."""
    for first in range(0, items, batch):
        async with asyncio.TaskGroup() as group:
            for item in range(first, min(first + batch, items)):
                group.create_task(line.take(item))


# right: Through a window
# so: Both have ten items under way. In a window the next item takes a place as soon as one is free,
#     so that a slow one costs its own place and no other.
async def in_a_window(line, items, batch):
    """The right way: a new one for each that is done."""
    todo = iter(range(items))

    async def lane():
        for item in todo:
            await line.take(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(batch):
            group.create_task(lane())


async def run(args, pool, folder):
    async with session(args.batch, args.fetch_timeout) as client:
        doors = await open_connections(client, args, args.batch)
        line = Line(args, client, pool, folder)
        await line.on_the_writer(line.open, folder)
        way = in_batches if args.arm == "batches" else in_a_window
        cpu, begin = time.process_time(), clock()
        await way(line, args.items, args.batch)
        wall = clock() - begin
        cpu = (time.process_time() - cpu) / wall
        # Behind whatever is still being written.
        database, fallback = await line.on_the_writer(line.close)
        if database + fallback != line.books.count(OK):
            raise SystemExit(
                f"{database} in the database and {fallback} in the fallback file, "
                f"but {line.books.count(OK)} stored"
            )
        means = {
            f"{name}_mean_s": sum(times) / max(len(times), 1)
            for name, times in line.stages.items()
        }
        line.books.close(
            wall,
            doors,
            items_per_s=line.books.count(OK) / wall,
            in_database=database,
            in_fallback=fallback,
            requests=line.requests,
            client_cpu_share=cpu,
            **means,
        )


def main():
    parser = arguments(__doc__)
    parser.add_argument("--arm", choices=("batches", "window"), default="window")
    parser.add_argument("--items", type=whole(0), default=100)
    parser.add_argument("--batch", type=whole(1), default=10)
    parser.add_argument("--fetch-timeout", type=seconds(0.001), default=2.0)
    parser.add_argument("--attempts", type=whole(1, 256), default=2)
    parser.add_argument("--backoff", type=float, default=0.005)
    parser.add_argument("--process", type=float, default=0.006)
    parser.add_argument("--workers", type=whole(1, 256), default=2)
    parser.add_argument("--process-timeout", type=seconds(0.001), default=2.0)
    parser.add_argument("--store", type=float, default=0.015)
    parser.add_argument("--store-timeout", type=seconds(0.001), default=0.15)
    parser.add_argument("--hang-every", type=whole(0), default=20)
    parser.add_argument("--connections", type=whole(1), default=4)
    parser.add_argument("--seed", type=int, default=1)
    args = start(parser)
    with temporary_folder() as folder, process_pool(args.workers) as pool:
        asyncio.run(run(args, pool, folder))


if __name__ == "__main__":
    main()
