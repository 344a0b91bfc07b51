/*
lab12 in Node: fetch, process, store, with failures, in batches of ten or through a window.

    --arm batches        ten at a time, and the next ten when the slowest of them is done
    --arm window         as many at a time, and a new one for each that is done
    --items N            numbered from 0; item i is fetched from URL/items/i
    --batch B            items under way at the same time
    --fetch-timeout T
    --attempts A         at a fetch that fails
    --backoff T          most that is waited before the second attempt; later ones: twice as long,
                         and 20 s at most
    --process P          seconds of computation an item takes on a processor of its own
    --workers W          threads that compute
    --process-timeout T
    --store S            seconds a write takes to get to the database and back
    --store-timeout T
    --hang-every K       the write of every K-th item gets no answer (0: every write does)
    --connections D      writes on their way at the same time
    --seed S             of the back-offs

The database is a file of JSON lines in a temporary folder; what it does not take within the timeout
goes to a fallback file. The upstream decides which fetches fail (mock_server --every item:7:500).
Times are in seconds. Other flags: see common.mjs. What is printed: see common.py. Items are
offered: ok are those in the database or the fallback file, failed those without a result, by the
status of their fetch; an item whose fetch or processing timed out counts as timed out. A latency is
the time from an item's first fetch to the end of its store. Gauges: items_per_s, in_database,
in_fallback (both counted in the files at the end), requests, fetch_mean_s, process_mean_s,
store_mean_s, client_cpu_share.
*/

import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import {
  Books,
  Client,
  Kernel,
  OK,
  Pool,
  REJECTED,
  Semaphore,
  TIMED_OUT,
  clock,
  oneOf,
  random,
  seconds,
  sleep,
  start,
  sum,
  temporaryFolder,
  upstream,
  whole,
  within,
} from "./common.mjs";

/** The three stages, and what became of each item. */
class Line {
  books = new Books();
  requests = 0;
  stages = { fetch: [], process: [], store: [] };

  constructor(args, client, pool, steps) {
    Object.assign(this, { args, client, pool, steps });
    this.connections = new Semaphore(args.connections);
    this.dice = random(args.seed);
    const folder = temporaryFolder();
    [this.database, this.fallback] = [join(folder, "items.jsonl"), join(folder, "fallback.jsonl")];
    writeFileSync(this.database, "");
    writeFileSync(this.fallback, "");
  }

  async take(item) {
    const began = clock();
    let fate = await this.stage("fetch", () => this.fetch(item));
    if (fate === OK) fate = await this.stage("process", () => this.process());
    if (fate === OK) await this.stage("store", () => this.store(item));
    this.books.enter(fate, clock() - began);
  }

  async stage(name, work) {
    const began = clock();
    const done = await work();
    this.stages[name].push(clock() - began);
    return done;
  }

  async fetch(item) {
    const { args } = this;
    let fate;
    for (let attempt = 0; attempt < args.attempts; attempt++) {
      const most = Math.min(args.backoff * 2 ** (attempt - 1), 20);
      if (attempt > 0) await sleep(this.dice() * most);
      this.requests += 1;
      fate = await this.client.fetch(`/items/${item}`);
      const transient = [REJECTED, TIMED_OUT, "broken", "connect"].includes(fate);
      if (!transient && !fate.startsWith("status 5")) break;
    }
    return fate;
  }

  async process() {
    const { processTimeout } = this.args;
    // Items wait in the pool's queue until a worker is free, and no clock runs there.
    const took = await this.pool.compute(this.steps, processTimeout);
    return took > processTimeout ? TIMED_OUT : OK;
  }

  store(item) {
    // Whoever is first, the write or the fallback after its timeout, stores the item.
    let stored = false;
    const put = (file) => {
      // A line is soon written: to hand it to another thread would take longer.
      if (!stored) appendFileSync(file, `${JSON.stringify({ item })}\n`);
      stored = true;
    };
    return this.connections.within(async () => {
      const write = () => this.write(item, put);
      if ((await within(this.args.storeTimeout, write)) === TIMED_OUT) put(this.fallback);
    });
  }

  async write(item, put) {
    const { store, hangEvery } = this.args;
    await sleep(store / 2);
    if (hangEvery && item % hangEvery === 0) await new Promise(() => {});
    put(this.database);
    await sleep(store / 2);
  }
}

// wrong: In batches
async function inBatches(line, items, batch) {
  // The slowest of ten holds up nine.
  for (let first = 0; first < items; first += batch) {
    const length = Math.min(batch, items - first);
    await Promise.all(Array.from({ length }, (_, i) => line.take(first + i)));
  }
}

// right: Through a window
// so: Both have ten items under way. In a window the next item takes a place as soon as one is
//     free, so that a slow one costs its own place and no other.
async function inAWindow(line, items, batch) {
  let next = 0;

  async function lane() {
    while (next < items) await line.take(next++);
  }

  await Promise.all(Array.from({ length: batch }, lane));
}

/** How many items are in the database, and in the fallback file. */
function stored(line) {
  const lines = (file) => readFileSync(file, "utf8").split("\n").length - 1;
  return { in_database: lines(line.database), in_fallback: lines(line.fallback) };
}

const args = await start(import.meta.url, {
  ...upstream,
  arm: oneOf("window", "batches"),
  items: whole(0, 100),
  batch: whole(1, 10),
  "fetch-timeout": seconds(0.001, 2),
  attempts: whole(1, 2, 256),
  backoff: seconds(0, 0.005),
  process: seconds(0, 0.006),
  workers: whole(1, 2, 256),
  "process-timeout": seconds(0.001, 2),
  store: seconds(0, 0.015),
  "store-timeout": seconds(0.001, 0.15),
  "hang-every": whole(0, 20),
  connections: whole(1, 4),
  seed: whole(0, 1, 2 ** 64),
});
const pool = await Pool.start("threads", args.workers);
const client = new Client(args.url, args.batch, args.fetchTimeout);
const line = new Line(args, client, pool, new Kernel().steps(args.process));
const doors = await client.openConnections(args, args.batch);
const { books } = line;
const way = args.arm === "batches" ? inBatches : inAWindow;
await books.measured(() => way(line, args.items, args.batch));
const mean = (times) => sum(times) / Math.max(times.length, 1);
const files = stored(line);
if (files.in_database + files.in_fallback !== books.count(OK)) {
  throw new Error(`${JSON.stringify(files)}, but ${books.count(OK)} stored`);
}
books.close(
  {
    items_per_s: books.count(OK) / books.wall,
    ...files,
    requests: line.requests,
    client_cpu_share: books.cpuShare,
    fetch_mean_s: mean(line.stages.fetch),
    process_mean_s: mean(line.stages.process),
    store_mean_s: mean(line.stages.store),
  },
  { doors },
);
