"""lab20 in Python: clients that always have something to ask for, before a service with a quota.

    --arm semaphore|bucket
    --limit M            permits of the semaphore, one for all
    --rate R             requests a second of the bucket
    --burst B            and so many at once, after a pause
    --clients N          clients that ask again as soon as they are answered
    --duration T         how long they do so

The other flags, and what is printed: see common.py. Counted are requests that were answered; who still
waits when the time is over goes home. Gauges: client_cpu_share.
"""

import asyncio
import random

from common import (
    BODY,
    OK,
    Books,
    arguments,
    clock,
    open_connections,
    seconds,
    session,
    start,
    whole,
)


# wrong: asyncio.Semaphore as a rate limiter
async def at_a_time(semaphore, ask):
    """At most so many in flight. How many a second that makes depends on how long each takes."""
    async with semaphore:
        while not await ask():
            pass


# right: A bucket of tokens
# so: The semaphore waits until somebody else is done. The bucket waits until it is time.
async def a_second(bucket, ask):
    """So many a second, however long each takes."""
    while True:
        await bucket.take()
        if await ask():
            return


class Bucket:
    """Each request has an instant of its own, a gap after the one before. Instants that nobody used
    are saved, up to the burst."""

    def __init__(self, per_s, burst):
        self.gap = 1 / per_s
        self.saved = self.gap * (burst - 1)
        self.next = clock() - self.saved
        self.line = asyncio.Lock()

    async def take(self):
        async with self.line:
            self.next = max(self.next, clock() - self.saved)
            await asyncio.sleep(max(0, self.next - clock()))
            self.next += self.gap


async def run(args):
    books, chance = Books(), random.Random(1)
    async with session(0) as client:
        doors = await open_connections(client, args, args.connections)

        async def ask():
            """Sends one request. False when it was refused, once it is time to send it again."""
            sent = clock()
            async with client.get(args.url) as answer:
                body = await answer.read()
                if answer.status != 429:
                    good = answer.status == 200 and body == BODY
                    books.enter(OK if good else f"status {answer.status}", clock() - sent)
                    return True
                told = int(answer.headers["retry-after-ms"]) / 1000
            # Half to one and a half of it, so that those refused together do not come back together.
            await asyncio.sleep(told * chance.uniform(0.5, 1.5))
            return False

        if args.arm == "semaphore":
            shared, way = asyncio.Semaphore(args.limit), at_a_time
        else:
            shared, way = Bucket(args.rate, args.burst), a_second

        async def client_of_many():
            while True:
                await way(shared, ask)

        with books.measured():
            clients = [asyncio.create_task(client_of_many()) for _ in range(args.clients)]
            # One that fails ends it.
            await asyncio.wait(clients, timeout=args.duration, return_when=asyncio.FIRST_EXCEPTION)
        for task in clients:
            task.cancel()
        ended = await asyncio.gather(*clients, return_exceptions=True)
        for error in ended:
            if not isinstance(error, asyncio.CancelledError):
                raise error
        books.close(books.wall, doors, client_cpu_share=books.cpu_share)


def main():
    parser = arguments(__doc__)
    parser.add_argument("--arm", choices=("semaphore", "bucket"), default="bucket")
    parser.add_argument("--limit", type=whole(1), default=20)
    parser.add_argument("--rate", type=seconds(0.001, 1e6), default=50.0)
    parser.add_argument("--burst", type=whole(1), default=5)
    parser.add_argument("--clients", type=whole(1), default=60)
    parser.add_argument("--connections", type=whole(0), default=20)
    parser.add_argument("--duration", type=seconds(0.001), default=3.0)
    asyncio.run(run(start(parser)))


if __name__ == "__main__":
    main()
