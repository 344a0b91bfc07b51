"""A load from asyncio and aiohttp, for `labs bench-generator`.

Closed loop, or open loop with --rate: latency then counts from the intended start. Prints one JSON
object: ok, failed, wall_s, p50_s, p99_s, max_s (None where nothing succeeded), cpu_s (processor
seconds in the measured part; the interpreter's start and imports are not in it).
"""

import argparse
import asyncio
import json
import time

import aiohttp

WARM_UP = 0.2
clock = time.perf_counter


async def main(args):
    latencies = []
    counts = {"ok": 0, "failed": 0}

    async def fetch(session, start):
        try:
            async with session.get(args.url) as answer:
                body = await answer.read()
                ok = answer.status == 200 and len(body) == args.length
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError):
            ok = False
        counts["ok" if ok else "failed"] += 1
        latencies.append(clock() - start)

    async def client(session, until):
        while True:
            start = clock()
            if start >= until:
                return
            await fetch(session, start)

    async def arrivals(session, begin):
        tasks = set()
        for i in range(int(args.rate * args.seconds)):
            intended = begin + i / args.rate
            wait = intended - clock()
            if wait > 0:
                await asyncio.sleep(wait)
            task = asyncio.create_task(fetch(session, intended))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        if tasks:
            await asyncio.wait(tasks)

    connector = aiohttp.TCPConnector(limit=args.connections)
    async with aiohttp.ClientSession(connector=connector) as session:
        until = clock() + WARM_UP
        await asyncio.gather(*(client(session, until) for _ in range(args.connections)))
        latencies.clear()
        counts.update(ok=0, failed=0)
        begin, cpu = clock(), time.process_time()
        if args.rate:
            await arrivals(session, begin)
        else:
            until = begin + args.seconds
            await asyncio.gather(*(client(session, until) for _ in range(args.connections)))
        wall, cpu = clock() - begin, time.process_time() - cpu

    latencies.sort()
    at = lambda q: latencies[min(len(latencies) - 1, int(q * len(latencies)))] if latencies else None
    print(json.dumps({**counts, "wall_s": wall, "cpu_s": cpu, "p50_s": at(0.5), "p99_s": at(0.99), "max_s": at(1.0)}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--length", type=int, required=True)
    parser.add_argument("--rate", type=float, default=0.0)
    asyncio.run(main(parser.parse_args()))
