"""lab01 in Python: waits and computations, one after another, concurrently, and in parallel.

    --arm waits/sequential    coroutines that sleep, one after another
    --arm waits/concurrent    the same, all begun before the first has ended: a task group
    --arm waits/threads       a thread for each wait
    --arm jobs/sequential     coroutines that compute, one after another
    --arm jobs/concurrent     the same in a task group
    --arm jobs/threads        a pool of threads
    --arm jobs/processes      a pool of processes
    --arm jobs/interpreters   a pool of threads, each with an interpreter of its own (Python 3.14)
    --arm jobs/slept          time.sleep in place of computing, with a thread for each job
    --waits T,T,...           how long each wait takes
    --jobs N
    --cost P                  seconds of computation a job takes on a processor of its own
    --threads W               workers of the pools

What is printed: see common.py. Waits or jobs are offered, and a latency is the time from the common
begin to the end of one. Gauges: kernel_steps_per_s, cost_alone_s (one job, alone, just before), gil
(1 when one thread at a time runs Python), client_cpu_share (processor time of this process over the
time of the whole).
"""

import asyncio
import concurrent.futures
import time

from common import (
    Books,
    Kernel,
    arguments,
    compute,
    gil,
    interpreter_pool,
    listed,
    process_pool,
    seconds,
    start,
    thread_pool,
    whole,
)


# wrong: One after another
async def one_after_another(coroutines, books):
    """`await` waits until this one has ended. Nothing else has begun meanwhile."""
    for coroutine in coroutines:
        await coroutine
        books.done()


# right: All begun, then awaited
# so: Waits overlap on one thread, and the longest counts in place of the sum. Computations do not
#     overlap in this way: a coroutine that computes never lets the event loop turn to another.
async def concurrently(coroutines, books):
    """Each coroutine becomes a task of its own. The end of the group waits for all of them."""

    async def one(coroutine):
        await coroutine
        books.done()

    async with asyncio.TaskGroup() as group:
        for coroutine in coroutines:
            group.create_task(one(coroutine))


def in_a_pool(pool, job, arguments, books):
    """Threads overlap waits. But the GIL lets one thread at a time compute: to compute in parallel
    takes processes, or interpreters, which have a GIL each."""
    with pool:
        with books.measured():
            futures = [pool.submit(job, argument) for argument in arguments]
            for future in concurrent.futures.as_completed(futures):
                future.result()
                books.done()


async def computing(kernel, cost):
    """Looks like a coroutine that gives way, but there is no `await` in it."""
    kernel.work(cost)


async def on_a_loop(way, coroutines, books):
    with books.measured():
        await way(coroutines, books)


LOOPS = {"sequential": one_after_another, "concurrent": concurrently}
POOLS = {"threads": thread_pool, "processes": process_pool, "interpreters": interpreter_pool}


def run(args, kernel, books):
    kind, way = args.arm.split("/")
    if way in LOOPS and kind == "waits":
        asyncio.run(on_a_loop(LOOPS[way], [asyncio.sleep(t) for t in args.waits], books))
    elif way in LOOPS:
        jobs = [computing(kernel, args.cost) for _ in range(args.jobs)]
        asyncio.run(on_a_loop(LOOPS[way], jobs, books))
    elif kind == "waits":
        in_a_pool(thread_pool(len(args.waits)), time.sleep, args.waits, books)
    elif way == "slept":
        in_a_pool(thread_pool(args.jobs), time.sleep, [args.cost] * args.jobs, books)
    else:
        rounds = [kernel.rounds(args.cost)] * args.jobs
        in_a_pool(POOLS[way](args.threads), compute, rounds, books)


def main():
    parser = arguments(__doc__, url=False)
    arms = [f"waits/{way}" for way in (*LOOPS, "threads")]
    arms += [f"jobs/{way}" for way in (*LOOPS, *POOLS, "slept")]
    parser.add_argument("--arm", choices=arms, default="waits/concurrent")
    parser.add_argument("--waits", type=listed(seconds(0)), default=[0.15, 0.05, 0.1])
    parser.add_argument("--jobs", type=whole(1, 1000), default=4)
    parser.add_argument("--cost", type=seconds(0), default=0.05)
    parser.add_argument("--threads", type=whole(1, 256), default=2)
    args = start(parser)
    kernel, books = Kernel(), Books()
    alone = kernel.alone(args.cost)
    run(args, kernel, books)
    books.close(
        books.wall,
        kernel_steps_per_s=kernel.rounds_per_s,
        cost_alone_s=alone,
        gil=gil(),
        client_cpu_share=books.cpu_share,
    )


if __name__ == "__main__":
    main()
