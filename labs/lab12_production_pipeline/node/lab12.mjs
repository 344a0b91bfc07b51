/*
lab12 in Node: fetch, process, store, with failures, in batches of ten or through a window.

    --arm batches        ten at a time, and the next ten when the slowest of them is done
    --arm window         as many at a time, and a new one for each that is done
    --items N            numbered from 0; item i is fetched from URL/<--path>/i
    --batch B            items under way at the same time
    --path PATH
    --fetch-timeout T
    --attempts A         at a fetch that fails
    --backoff T          most that is waited before the second attempt; later ones: twice as long
    --process P          seconds of computation an item takes on a processor of its own
    --workers W          that compute
    --pool KIND          threads (default) or processes
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
  path,
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
    this.workers = new Semaphore(args.workers);
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
      if (attempt > 0) await sleep(this.dice() * args.backoff * 2 ** (attempt - 1));
      this.requests += 1;
      fate = await this.client.fetch(`${args.path}/${item}`);
      const transient = [REJECTED, TIMED_OUT, "broken", "connect"].includes(fate);
      if (!transient && !fate.startsWith("status 5")) break;
    }
    return fate;
  }

  // The clock starts when a worker begins: waiting for one is not the item's fault.
  process() {
    return this.workers.within(async () => {
      const took = await within(this.args.processTimeout, () => this.pool.compute(this.steps));
      return took === TIMED_OUT ? TIMED_OUT : OK;
    });
  }

  store(item) {
    return this.connections.within(async () => {
      const write = (signal) => this.write(item, signal);
      if ((await within(this.args.storeTimeout, write)) !== TIMED_OUT) return;
      appendFileSync(this.fallback, `${JSON.stringify({ item })}\n`);
    });
  }

  async write(item, signal) {
    const { store, hangEvery } = this.args;
    await sleep(store / 2);
    if (hangEvery && item % hangEvery === 0) await new Promise(() => {});
    // Who is told that it was too late has put the item elsewhere.
    if (signal.aborted) return;
    // A line is soon written: to hand it to another thread would take longer.
    appendFileSync(this.database, `${JSON.stringify({ item })}\n`);
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

/** Items in the database, and those that are in the fallback file alone. */
function stored(line) {
  const read = (file) => new Set(readFileSync(file, "utf8").split("\n").filter(Boolean));
  const database = read(line.database);
  const fallback = [...read(line.fallback)].filter((item) => !database.has(item));
  return { in_database: database.size, in_fallback: fallback.length };
}

const args = await start(import.meta.url, {
  ...upstream,
  arm: oneOf("window", "batches"),
  items: whole(0, 100),
  batch: whole(1, 10, 10_000),
  path: path("/items"),
  "fetch-timeout": seconds(0.001, 2),
  attempts: whole(1, 2, 20),
  backoff: seconds(0, 0.005),
  process: seconds(0, 0.006),
  workers: whole(1, 2, 256),
  pool: oneOf("threads", "processes"),
  "process-timeout": seconds(0.001, 2),
  store: seconds(0, 0.015),
  "store-timeout": seconds(0.001, 0.15),
  "hang-every": whole(0, 20),
  connections: whole(1, 4),
  seed: whole(0, 1, 2 ** 64),
});
const pool = await Pool.start(args.pool, args.workers);
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
