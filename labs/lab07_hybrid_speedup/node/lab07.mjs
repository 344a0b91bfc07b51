/*
lab07 in Node: N items, each fetched (f) and then processed (p, real computation).

    --arm sequential     one after another
    --arm async          C fetches at a time, computing on the event loop
    --arm hybrid         C fetches at a time on the event loop, computing on W worker threads
    --items N
    --cost P             seconds of computation an item takes on a processor of its own
    --concurrency C      fetches at a time of the arms async and hybrid
    --workers W
    --work compute|sleep what processing does; who sleeps blocks a thread and needs no processor
    --timeout T          of one fetch

The upstream decides f. Times are in seconds. Other flags: see common.mjs. What is printed: see
common.py. A latency is the time from the start of an item's fetch to the end of its processing.
Calibration of the computation and the start of the threads come before the clock. Gauges:
items_per_s, kernel_rounds_per_s, cost_alone_s (one item's processing, measured alone just before),
client_cpu_share (processor time of the process, all threads, over the time of the whole).
*/

import {
  Books,
  Client,
  Kernel,
  OK,
  Pool,
  Semaphore,
  clock,
  oneOf,
  seconds,
  sleepThread,
  start,
  upstream,
  whole,
} from "./common.mjs";

/** C fetches at a time; `handle` gets what has come. */
async function fetchAll(args, client, books, handle) {
  const permits = new Semaphore(args.concurrency);

  async function one() {
    // The permit is for the fetch alone: what is processed holds up no fetch.
    const { sent, fate } = await permits.within(async () => {
      const sent = clock();
      return { sent, fate: await client.fetch() };
    });
    if (fate === OK) await handle();
    books.enter(fate, clock() - sent);
  }

  await Promise.all(Array.from({ length: args.items }, one));
}

// wrong: Fetching and computing on one event loop
async function asyncOnly(args, client, books, kernel) {
  // While an item is processed the loop is away: it reads no answer and sends no request.
  await fetchAll(args, client, books, async () => processHere(args, kernel));
}

// right: Fetching on the event loop, computing on worker threads
// so: The waits for the upstream overlap on one thread either way. With workers the computations
//     overlap as well, with the fetches and with each other.
async function hybrid(args, client, books, kernel, pool) {
  const steps = kernel.steps(args.cost);
  const there = args.work === "sleep" ? () => pool.sleep(args.cost) : () => pool.compute(steps);
  await fetchAll(args, client, books, there);
}

async function sequential(args, client, books, kernel) {
  for (let i = 0; i < args.items; i++) {
    const sent = clock();
    const fate = await client.fetch();
    if (fate === OK) processHere(args, kernel);
    books.enter(fate, clock() - sent);
  }
}

/** What is done with an item, on the thread that calls this. */
function processHere(args, kernel) {
  if (args.work === "sleep") sleepThread(args.cost);
  else kernel.work(args.cost);
}

const ARMS = { hybrid, async: asyncOnly, sequential };

const args = await start(import.meta.url, {
  ...upstream,
  arm: oneOf(...Object.keys(ARMS)),
  items: whole(0, 20),
  cost: seconds(0, 0.02),
  concurrency: whole(1, 10),
  workers: whole(1, 2, 256),
  work: oneOf("compute", "sleep"),
  timeout: seconds(0.001, 60),
});
const [kernel, books] = [new Kernel(), new Books()];
const begin = clock();
processHere(args, kernel);
const alone = clock() - begin;

const pool = args.arm === "hybrid" ? await Pool.start("threads", args.workers) : null;
const connections = args.arm === "sequential" ? 1 : args.concurrency;
const client = new Client(args.url, connections, args.timeout);
const doors = await client.openConnections(args, connections);
await books.measured(() => ARMS[args.arm](args, client, books, kernel, pool));
books.close(
  {
    items_per_s: books.count(OK) / books.wall,
    kernel_rounds_per_s: kernel.stepsPerSecond,
    cost_alone_s: alone,
    client_cpu_share: books.cpuShare,
  },
  { doors },
);
