/*
lab02 in Node: what a busy task costs the others of its event loop.

A task beats. On the same event loop another one waits for a moment and is then busy, once:

    --arm sleep          it awaits a timer
    --arm thread_sleep   it blocks the thread: Atomics.wait
    --arm compute        it computes
    --arm yield          it computes in slices, with a setImmediate after each
    --arm threads        it computes in another thread: worker_threads
    --arm processes      it computes in another process: child_process
    --arm tasks          it begins many promises that are pending
    --beat T             between two beats
    --lead T             before the other task is busy
    --busy T             for how long it is
    --slice T            of the arm `yield`
    --tasks N            of the arm `tasks`
    --watch T            how long the beats are watched, at least

Times are in seconds. Other flags: see common.mjs. What is printed: see common.py. Gaps between
beats are offered, and latencies are their lengths. A late beat moves those after it. Gauges:
longest_gap_s, busy_s (how long the other task was busy), client_cpu_share (processor time of this
process over the time of the whole); arm `tasks`: tasks, bytes_per_task (of the heap, for a promise
and its timer).
*/

import { setImmediate as nextTurn } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import {
  Books,
  Kernel,
  OK,
  Pool,
  clock,
  oneOf,
  seconds,
  sleep,
  sleepThread,
  start,
  whole,
} from "./common.mjs";

// wrong: A blocking call in an async function
async function onTheLoop(block, argument) {
  // There is no `await` in `block`: until it returns, the loop turns to nobody else.
  block(argument);
}

// right: The computation handed to others
// so: At the `await` the loop turns to the others. JavaScript has one thread for all of a program's
//     functions; a worker is a second one, and what it computes comes back as a message.
async function besideTheLoop(pool, steps) {
  // The function waits for the result, and the loop does not.
  await pool.compute(steps);
}

async function inSlices(kernel, args) {
  for (const _ of kernel.slices(args.busy, args.slice)) {
    // Timers and sockets get their turn. An `await` of a promise that is settled already would
    // not do: such work all comes before the loop looks at them again.
    await nextTurn();
  }
}

async function manyTasks(args, gauges) {
  const before = liveBytes();
  const tasks = Array.from({ length: args.tasks }, () => sleep(2 * args.watch + 60));
  gauges.bytes_per_task = Math.max(liveBytes() - before, 0) / tasks.length;
  gauges.tasks = tasks.length;
  return tasks;
}

/** What is on the heap and in use: what is garbage by now is collected first. */
function liveBytes() {
  setFlagsFromString("--expose-gc");
  runInNewContext("gc")();
  return process.memoryUsage().heapUsed;
}

/** Beats until the time to watch is over, and once more after the other task was busy. */
async function beat(args, books, other) {
  let last = clock();
  const end = last + args.watch;
  while (other.busyUntil === undefined || last < Math.max(other.busyUntil, end)) {
    await sleep(args.beat);
    const now = clock();
    books.enter(OK, now - last);
    last = now;
  }
}

async function run(args, kernel, pool, books) {
  const [gauges, other] = [{}, {}];
  const ways = {
    sleep: () => sleep(args.busy),
    thread_sleep: () => onTheLoop(sleepThread, args.busy),
    compute: () => onTheLoop((cost) => kernel.work(cost), args.busy),
    yield: () => inSlices(kernel, args),
    threads: () => besideTheLoop(pool, kernel.steps(args.busy)),
    processes: () => besideTheLoop(pool, kernel.steps(args.busy)),
    tasks: () => manyTasks(args, gauges),
  };

  async function busyOnce() {
    await sleep(args.lead);
    const begin = clock();
    other.kept = await ways[args.arm]();
    other.busyUntil = clock();
    gauges.busy_s = other.busyUntil - begin;
  }

  await books.measured(() => Promise.all([beat(args, books, other), busyOnce()]));
  books.close({
    longest_gap_s: books.latencies.reduce((a, b) => Math.max(a, b)),
    client_cpu_share: books.cpuShare,
    ...gauges,
  });
}

const args = await start(import.meta.url, {
  arm: oneOf("compute", "sleep", "thread_sleep", "yield", "threads", "processes", "tasks"),
  beat: seconds(0.001, 0.01),
  lead: seconds(0, 0.065),
  busy: seconds(0, 0.15),
  slice: seconds(0.0001, 0.002),
  tasks: whole(1, 10_000),
  watch: seconds(0, 0.28),
});
const pool = ["threads", "processes"].includes(args.arm) ? await Pool.start(args.arm, 1) : null;
await run(args, new Kernel(), pool, new Books());
