/*
lab01 in Node: waits and computations, one after another, concurrently, and in parallel.

    --arm waits/sequential    timers, one after another
    --arm waits/concurrent    the same, all begun before the first has ended: Promise.all
    --arm waits/threads       a thread for each wait: worker_threads
    --arm jobs/sequential     async functions that compute, one after another
    --arm jobs/concurrent     the same in Promise.all
    --arm jobs/threads        a pool of threads
    --arm jobs/slept          threads that sleep in place of computing, one for each job
    --waits T,T,...           how long each wait takes
    --jobs N
    --cost P                  seconds of computation a job takes on a processor of its own
    --threads W               threads of the pool

Times are in seconds. Other flags: see common.mjs. What is printed: see common.py. Waits or jobs are
offered, and a latency is the time from the common begin to the end of one. Gauges:
kernel_steps_per_s, cost_alone_s (one job, alone, just before), client_cpu_share (processor time of
this process over the time of the whole).
*/

import { Books, Kernel, Pool, listed, oneOf, seconds, sleep, start, whole } from "./common.mjs";

// wrong: One after another
async function oneAfterAnother(jobs, books) {
  // `await` waits until this one has ended. Nothing else has begun meanwhile.
  for (const job of jobs) {
    await job();
    books.done();
  }
}

// right: All begun, then awaited
// so: Waits overlap on one thread, and the longest counts in place of the sum. Computations do not
//     overlap in this way: JavaScript that computes never lets the event loop turn to another.
async function concurrently(jobs, books) {
  // Each call runs as far as its first `await`, and then the next one is made.
  const begun = jobs.map(async (job) => {
    await job();
    books.done();
  });
  await Promise.all(begun);
}

const LOOPS = { sequential: oneAfterAnother, concurrent: concurrently };

async function run(args, kernel, books) {
  const [kind, way] = args.arm.split("/");
  const costs = kind === "waits" ? args.waits : Array(args.jobs).fill(args.cost);

  // On the event loop: what a job does there.
  const wait = (cost) => () => sleep(cost);
  // No `await` in it: `async` alone makes nothing give way.
  const work = (cost) => async () => kernel.work(cost);
  if (way in LOOPS) {
    const jobs = costs.map(kind === "waits" ? wait : work);
    return books.measured(() => LOOPS[way](jobs, books));
  }

  // Threads compute in parallel, as many as there are processors. Each has a JavaScript world of
  // its own: they share no objects, and so they need no lock.
  const computes = kind === "jobs" && way === "threads";
  const pool = await Pool.start("threads", computes ? args.threads : costs.length);
  const handed = costs.map(
    (cost) => () => (computes ? pool.compute(kernel.steps(cost)) : pool.sleep(cost)),
  );
  return books.measured(() => concurrently(handed, books));
}

const args = await start(import.meta.url, {
  arm: oneOf(
    "waits/concurrent",
    "waits/sequential",
    "waits/threads",
    "jobs/sequential",
    "jobs/concurrent",
    "jobs/threads",
    "jobs/slept",
  ),
  waits: listed(seconds(0), [0.15, 0.05, 0.1], 256),
  jobs: whole(1, 4, 256),
  cost: seconds(0, 0.05),
  threads: whole(1, 2, 256),
});
const [kernel, books] = [new Kernel(), new Books()];
const alone = kernel.work(args.cost);
await run(args, kernel, books);
books.close({
  kernel_steps_per_s: kernel.stepsPerSecond,
  cost_alone_s: alone,
  client_cpu_share: books.cpuShare,
});
