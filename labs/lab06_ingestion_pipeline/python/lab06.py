"""lab06 in Python: a text in chunks to an embeddings endpoint, in batches or through a window.

    --arm batch          a batch, a wait for the last of it, the next batch: a task group each
    --arm window         as many at a time, and a new one for each that is done
    --chunks N           how many chunks
    --chunk B            bytes of a chunk
    --batch SIZE         chunks in a batch
    --concurrency M      requests in flight; also the connections of the client
    --seed S             of the text
    --timeout T          of one request

The other flags, and what is printed: see common.py. What is offered are chunks; a latency is the time
from the sending of a chunk to its answer. Gauges: chunks_per_s, in_flight_mean (sum of the times of
all requests over the time of the whole), client_cpu_share.
"""

import asyncio
import itertools
import random
import time

from common import (
    OK,
    Books,
    arguments,
    clock,
    fetch,
    open_connections,
    seconds,
    session,
    start,
    whole,
)


def text(args):
    """The chunks, one at a time, out of one short text: never are all of them in memory."""
    rng = random.Random(args.seed)
    short = bytes(rng.choices(b"etaoin shrdlu ", k=args.chunk + 1000))
    places = (rng.randrange(1000) for _ in range(args.chunks))
    return (short[at : at + args.chunk] for at in places)


class Job:
    def __init__(self, client, args):
        self.client, self.args = client, args
        self.books = Books()

    async def embed(self, chunk):
        sent = clock()
        url = f"{self.args.url}/embeddings"
        fate, _ = await fetch(self.client, url, expected=None, method="POST", data=chunk)
        self.books.enter(fate, clock() - sent)


# wrong: In batches
async def in_batches(job, chunks):
    """The wrong way: the slowest of a batch holds up all others."""
    permits = asyncio.Semaphore(job.args.concurrency)

    async def one(chunk):
        async with permits:
            await job.embed(chunk)

    while batch := list(itertools.islice(chunks, job.args.batch)):
        async with asyncio.TaskGroup() as group:
            for chunk in batch:
                group.create_task(one(chunk))


# right: Through a window
# so: A batch ends with its slowest request, and only then does the next one begin. In a window each
#     place takes the next chunk as soon as it is free.
async def in_a_window(job, chunks):
    """The right way: a permit is taken before the next task begins, so that neither tasks nor their
    chunks pile up."""
    permits = asyncio.Semaphore(job.args.concurrency)
    async with asyncio.TaskGroup() as group:
        for chunk in chunks:
            await permits.acquire()
            task = group.create_task(job.embed(chunk))
            task.add_done_callback(lambda _: permits.release())


async def run(args):
    async with session(args.concurrency, args.timeout) as client:
        doors = await open_connections(client, args, args.concurrency)
        job, chunks = Job(client, args), text(args)
        cpu, begin = time.process_time(), clock()
        await (in_batches if args.arm == "batch" else in_a_window)(job, chunks)
        wall = clock() - begin
        job.books.close(
            wall,
            doors,
            chunks_per_s=job.books.count(OK) / wall,
            in_flight_mean=sum(job.books.attempts) / wall,
            client_cpu_share=(time.process_time() - cpu) / wall,
        )


def main():
    parser = arguments(__doc__)
    parser.add_argument("--arm", choices=("batch", "window"), default="window")
    parser.add_argument("--chunks", type=whole(0), default=1024)
    parser.add_argument("--chunk", type=whole(1, 2**30), default=1024)
    parser.add_argument("--batch", type=whole(1), default=50)
    parser.add_argument("--concurrency", type=whole(1), default=25)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--timeout", type=seconds(0.001), default=60.0)
    asyncio.run(run(start(parser)))


if __name__ == "__main__":
    main()
