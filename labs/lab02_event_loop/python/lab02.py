"""lab02 in Python: what a busy task costs the others of its event loop.

A task beats. On the same event loop another one waits for a moment and is then busy, once:

    --arm sleep          it awaits asyncio.sleep
    --arm thread_sleep   it calls time.sleep
    --arm compute        it computes
    --arm yield          it computes in slices, with an asyncio.sleep(0) after each
    --arm threads        it computes in another thread: asyncio.to_thread
    --arm processes      it computes in another process
    --arm interpreters   it computes in a thread with an interpreter of its own (Python 3.14)
    --arm tasks          it begins many tasks that sleep
    --beat T             between two beats
    --lead T             before the other task is busy
    --busy T             for how long it is
    --slice T            of the arm `yield`
    --tasks N            of the arm `tasks`
    --watch T            how long the beats are watched, at least

What is printed: see common.py. Gaps between beats are offered, and latencies are their lengths. A
late beat moves those after it. Gauges: longest_gap_s, busy_s (how long the other task was busy),
client_cpu_share (processor time of this process over the time of the whole); arm `tasks`: tasks,
bytes_per_task (memory of the process, where /proc tells).
"""

import asyncio
import contextlib
import time

from common import (
    OK,
    Books,
    Kernel,
    arguments,
    clock,
    compute,
    interpreter_pool,
    process_pool,
    resident_bytes,
    seconds,
    start,
    whole,
)


# wrong: A blocking call in a coroutine
async def on_the_loop(block, *arguments):
    """`block` has no `await` in it: until it returns, the loop turns to nobody else."""
    block(*arguments)


# right: The computation handed to others
# so: At the `await` the loop turns to the others. A thread that computes in Python makes them wait
#     for the GIL, some 5 ms at a time; a process or an interpreter has a GIL of its own.
async def beside_the_loop(pool, rounds):
    """The coroutine waits for the result, and the loop does not."""
    await asyncio.get_running_loop().run_in_executor(pool, compute, rounds)


async def in_slices(kernel, args):
    """Between two slices the others get their turn. Somebody has to think of it: a loop interrupts
    nobody."""
    for _ in kernel.slices(args.busy, args.slice):
        await asyncio.sleep(0)


async def many_tasks(args, gauges):
    before = resident_bytes()
    tasks = [asyncio.create_task(asyncio.sleep(3 * args.watch + 60)) for _ in range(args.tasks)]
    # Everybody's turn: each task runs as far as its sleep.
    await asyncio.sleep(0)
    if before is not None:
        gauges["bytes_per_task"] = max(resident_bytes() - before, 0) / len(tasks)
    gauges["tasks"] = len(tasks)
    return tasks


class Heart:
    """Beats until the time to watch is over, and once more after the other task was busy."""

    def __init__(self, args, books):
        self.args, self.books, self.busy_until = args, books, None

    async def beat(self):
        last = clock()
        end = last + self.args.watch
        while self.busy_until is None or last < max(self.busy_until, end):
            await asyncio.sleep(self.args.beat)
            now = clock()
            self.books.enter(OK, now - last)
            last = now


async def run(args, kernel, pool, books):
    heart, gauges, rounds = Heart(args, books), {}, kernel.rounds(args.busy)
    ways = {
        "sleep": lambda: asyncio.sleep(args.busy),
        "thread_sleep": lambda: on_the_loop(time.sleep, args.busy),
        "compute": lambda: on_the_loop(compute, rounds),
        "yield": lambda: in_slices(kernel, args),
        "threads": lambda: asyncio.to_thread(compute, rounds),
        "processes": lambda: beside_the_loop(pool, rounds),
        "interpreters": lambda: beside_the_loop(pool, rounds),
        "tasks": lambda: many_tasks(args, gauges),
    }

    async def other():
        await asyncio.sleep(args.lead)
        begin = clock()
        kept = await ways[args.arm]()
        heart.busy_until = clock()
        gauges["busy_s"] = heart.busy_until - begin
        return kept

    with books.measured():
        async with asyncio.TaskGroup() as group:
            group.create_task(heart.beat())
            group.create_task(other())
    books.close(
        books.wall,
        longest_gap_s=max(books.latencies),
        client_cpu_share=books.cpu_share,
        **gauges,
    )


POOLS = {"processes": process_pool, "interpreters": interpreter_pool}
ARMS = ("sleep", "thread_sleep", "compute", "yield", "threads", *POOLS, "tasks")


def main():
    parser = arguments(__doc__, url=False)
    parser.add_argument("--arm", choices=ARMS, default="compute")
    parser.add_argument("--beat", type=seconds(0.001), default=0.01)
    parser.add_argument("--lead", type=seconds(0), default=0.065)
    parser.add_argument("--busy", type=seconds(0), default=0.15)
    parser.add_argument("--slice", type=seconds(0.0001), default=0.002)
    parser.add_argument("--tasks", type=whole(1), default=10_000)
    parser.add_argument("--watch", type=seconds(0), default=0.28)
    args = start(parser)
    kernel, books = Kernel(), Books()
    with POOLS[args.arm](1) if args.arm in POOLS else contextlib.nullcontext() as pool:
        asyncio.run(run(args, kernel, pool, books))


if __name__ == "__main__":
    main()
