"""lab04 in Python: N requests at once behind a semaphore, behind aiohttp's pool, behind nothing.

    --requests N
    --limit M            permits of one asyncio.Semaphore for all; 0 for none
    --pool C             connections of the client: 100 is aiohttp's default, 0 is no limit
    --timeout T          how long a request waits once it is sent

The other flags, and what is printed: see common.py. Gauges: goodput_per_s, ok_from_sending_s (mean
time of the successes from the permit to the answer, the clock that does not see the wait), client_cpu_share.
"""

import asyncio
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


# wrong: A pool for a limit
async def behind_the_pool(args, send):
    """The client's pool is a hidden semaphore, with a difference: the clock of the timeout runs in
    its queue, and who waits too long is never sent."""
    async with asyncio.TaskGroup() as group:
        for _ in range(args.requests):
            group.create_task(send())


# right: A semaphore for a limit
# so: Both send no more than so many at a time. Behind the semaphore the clock starts with the
#     permit, so that waiting for one's turn costs time, and no request.
async def behind_a_semaphore(args, send):
    """One semaphore for all: made anew for each request it would limit nobody."""
    semaphore = asyncio.Semaphore(args.limit)

    async def one():
        async with semaphore:
            await send()

    async with asyncio.TaskGroup() as group:
        for _ in range(args.requests):
            group.create_task(one())


async def run(args):
    books, inside = Books(), []
    async with session(args.pool, args.timeout) as client:
        doors = await open_connections(client, args, args.limit or args.requests)
        cpu, begin = time.process_time(), clock()

        async def send():
            sent = clock()
            fate, _ = await fetch(client, args.url)
            if fate == OK:
                inside.append(clock() - sent)
            books.enter(fate, clock() - begin)

        await (behind_a_semaphore if args.limit else behind_the_pool)(args, send)
        wall = clock() - begin
        books.close(
            wall,
            doors,
            goodput_per_s=books.count(OK) / wall,
            **({"ok_from_sending_s": sum(inside) / len(inside)} if inside else {}),
            client_cpu_share=(time.process_time() - cpu) / wall,
        )


def main():
    parser = arguments(__doc__)
    parser.add_argument("--requests", type=whole(0), default=1000)
    parser.add_argument("--limit", type=whole(0), default=0)
    parser.add_argument("--pool", type=whole(0), default=100)
    parser.add_argument("--timeout", type=seconds(0.001), default=0.325)
    asyncio.run(run(start(parser)))


if __name__ == "__main__":
    main()
