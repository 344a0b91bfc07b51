"""lab03 in Python: a burst, or a sustained load, with asyncio and aiohttp.

    --arm burst          N requests at once, and that is all
    --arm sustained      N clients that each send, wait for the answer and send again
    --clients N
    --pool M             connections of the client: 100 is aiohttp's default, 0 is no limit
    --timeout T          how long a client waits

and for the sustained load

    --ramp, --ramped     the first RAMPED clients start one after another over RAMP
    --warm-up, --window  what starts in the warm-up is not counted
    --pause, --seed      mean pause after a refusal: half to one and a half times this

The other flags, and what is printed: see common.py. Gauges: goodput_per_s, attempts_per_s,
client_cpu_share (processor time of this process over the time of the load).
"""

import asyncio
import random
import time

from common import (
    OK,
    REJECTED,
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


# wrong(2): A client whose pool is a semaphore nobody sees
def pooled(args):
    """aiohttp has such a pool, of 100 connections, unless it is told otherwise."""
    return session(args.pool, args.timeout)


# right(2): A client with a connection for each request
# so(2): In the pooled client the clock of the timeout runs while a request waits for a connection,
#     and the service never sees it.
def unpooled(args):
    """0 is no limit."""
    return session(0, args.timeout)


async def burst(args):
    """N requests at once: a task costs next to nothing, and so nothing stops us. The upstream gets
    them all together, and serves for nobody those whose timeout has run out."""
    books = Books()
    async with (pooled if args.pool else unpooled)(args) as client:
        doors = await open_connections(client, args, args.clients)
        cpu, begin = time.process_time(), clock()

        async def one():
            fate, _ = await fetch(client, args.url)
            books.enter(fate, clock() - begin)

        async with asyncio.TaskGroup() as group:
            for _ in range(args.clients):
                group.create_task(one())
        wall = clock() - begin
        books.close(
            wall,
            doors,
            goodput_per_s=books.count(OK) / wall,
            attempts_per_s=args.clients / wall,
            client_cpu_share=(time.process_time() - cpu) / wall,
        )


async def sustained(args):
    """Every attempt counts with the part of its time in flight that lies inside the window."""
    books = Books()
    parts = {"attempts": 0.0, "ok": 0.0}
    async with (pooled if args.pool else unpooled)(args) as client:
        doors = await open_connections(client, args, args.clients)
        cpu, origin = time.process_time(), clock()
        begin = origin + args.warm_up
        end = begin + args.window

        async def one(i):
            rng = random.Random(args.seed * 1_000_003 + i)
            share = min(1.0, i / max(args.ramped, 1))
            await asyncio.sleep(origin + args.ramp * share - clock())
            while True:
                sent = clock()
                if sent >= end:
                    return
                fate, _ = await fetch(client, args.url)
                now = clock()
                inside = max(0.0, min(now, end) - max(sent, begin)) / max(now - sent, 1e-9)
                parts["attempts"] += inside
                parts["ok"] += inside if fate == OK else 0.0
                if sent >= begin:
                    books.enter(fate, now - sent)
                if fate == REJECTED and args.pause > 0:
                    pause = args.pause * (0.5 + rng.random())
                    if now + pause >= end:
                        return
                    await asyncio.sleep(pause)

        async with asyncio.TaskGroup() as group:
            for i in range(args.clients):
                group.create_task(one(i))
        whole = clock() - origin
        books.close(
            args.window,
            doors,
            goodput_per_s=parts["ok"] / args.window,
            attempts_per_s=parts["attempts"] / args.window,
            client_cpu_share=(time.process_time() - cpu) / whole,
        )


def main():
    parser = arguments(__doc__)
    parser.add_argument("--arm", choices=("burst", "sustained"), default="burst")
    parser.add_argument("--clients", type=whole(0), default=100)
    parser.add_argument("--pool", type=whole(0), default=100)
    parser.add_argument("--timeout", type=seconds(0.001), default=0.325)
    parser.add_argument("--ramp", type=float, default=0.0)
    parser.add_argument("--ramped", type=whole(0), default=1)
    parser.add_argument("--warm-up", type=float, default=0.5)
    parser.add_argument("--window", type=seconds(0.001), default=1.0)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=1)
    args = start(parser)
    asyncio.run(burst(args) if args.arm == "burst" else sustained(args))


if __name__ == "__main__":
    main()
