/*
lab06 in Node: a text in chunks to an embeddings endpoint, in batches or through a window.

    --arm batch          a batch, a wait for the last of it, the next batch: Promise.all, a barrier
    --arm window         as many at a time, and a new one for each that is done
    --chunks N           how many chunks
    --chunk B            bytes of a chunk
    --batch SIZE         chunks in a batch
    --concurrency M      requests in flight; also the connections of the client
    --path PATH          of the endpoint
    --input FILE         the text; else one is made (--seed)
    --timeout T          of one request

Times are in seconds. Other flags: see common.mjs. What is printed: see common.py. What is offered
are chunks; a latency is the time from the sending of a chunk to its answer. Gauges: chunks_per_s,
in_flight_mean (sum of the times of all requests over the time of the whole), client_cpu_share.
*/

import { closeSync, openSync, readSync } from "node:fs";

import {
  Books,
  Client,
  OK,
  Semaphore,
  clock,
  file,
  oneOf,
  path,
  random,
  seconds,
  start,
  sum,
  upstream,
  whole,
} from "./common.mjs";

/** The chunks of a file, one at a time: the text is never in memory as a whole. */
function* read(args) {
  const file = openSync(args.input);
  try {
    for (let i = 0; i < args.chunks; i++) {
      const chunk = Buffer.alloc(args.chunk);
      const length = readSync(file, chunk);
      if (length === 0) return;
      yield chunk.subarray(0, length);
    }
  } finally {
    closeSync(file);
  }
}

function* made(args) {
  const [dice, letters] = [random(args.seed), "etaoinshrdlu".repeat(8) + " ".repeat(20)];
  for (let i = 0; i < args.chunks; i++) {
    const chunk = Buffer.alloc(args.chunk);
    for (let j = 0; j < args.chunk; j++) {
      chunk[j] = letters.charCodeAt(Math.floor(dice() * letters.length));
    }
    yield chunk;
  }
}

// wrong: In batches
async function inBatches(args, chunks, embed) {
  // Promise.all waits for the slowest of a batch, and all other places stay empty meanwhile.
  const permits = new Semaphore(args.concurrency);
  let batch = [];
  for (const chunk of chunks) {
    batch.push(permits.within(() => embed(chunk)));
    if (batch.length === args.batch) {
      await Promise.all(batch);
      batch = [];
    }
  }
  await Promise.all(batch);
}

// right: Through a window
// so: A batch ends with its slowest request, and only then does the next one begin. In a window
//     each place takes the next chunk as soon as it is free.
async function inAWindow(args, chunks, embed) {
  // All lanes take from one iterator: a chunk is read when somebody has time for it, and neither
  // promises nor chunks pile up.
  async function lane() {
    for (const chunk of chunks) await embed(chunk);
  }

  await Promise.all(Array.from({ length: args.concurrency }, lane));
}

const args = await start(import.meta.url, {
  ...upstream,
  arm: oneOf("window", "batch"),
  chunks: whole(0, 1024),
  chunk: whole(1, 1024),
  batch: whole(1, 50),
  concurrency: whole(1, 25, 10_000),
  path: path("/embeddings"),
  input: file,
  seed: whole(0, 1, 2 ** 64),
  timeout: seconds(0.001, 60),
});
const books = new Books();
const client = new Client(args.url, args.concurrency, args.timeout);
const doors = await client.openConnections(args, args.concurrency);

async function embed(chunk) {
  const sent = clock();
  const fate = await client.fetch(args.path, { method: "POST", body: chunk, expected: null });
  books.enter(fate, clock() - sent);
}

// To make a text is no part of the pipeline. `values` is an iterator that several can take from.
const chunks = args.input ? read(args) : [...made(args)].values();
const way = args.arm === "batch" ? inBatches : inAWindow;
await books.measured(() => way(args, chunks, embed));
books.close(
  {
    chunks_per_s: books.count(OK) / books.wall,
    in_flight_mean: sum(books.attempts) / books.wall,
    client_cpu_share: books.cpuShare,
  },
  { doors },
);
