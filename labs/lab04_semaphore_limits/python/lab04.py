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

from common import OK, Books, arguments, clock, fetch, open_connections, session, start


async def run(args):
    books, inside = Books(), []
    # A pool is a hidden semaphore, with a difference: the clock of the timeout runs in its queue.
    async with session(args.pool, args.timeout) as client:
        doors = await open_connections(client, args, args.limit or args.requests)
        semaphore = asyncio.Semaphore(args.limit or args.requests)
        cpu, begin = time.process_time(), clock()

        async def one():
            async with semaphore:
                sent = clock()
                fate, _ = await fetch(client, args.url)
                if fate == OK:
                    inside.append(clock() - sent)
            books.enter(fate, clock() - begin)

        await asyncio.gather(*(one() for _ in range(args.requests)))
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
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--limit", type=int, default=0)
    parser.add_argument("--pool", type=int, default=100)
    parser.add_argument("--timeout", type=float, default=0.325)
    asyncio.run(run(start(parser)))


if __name__ == "__main__":
    main()
