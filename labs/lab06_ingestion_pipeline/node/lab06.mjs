/*
lab06 in Node: a text in chunks to an embeddings endpoint, in batches or through a window.

    --arm batch          a batch, a wait for the last of it, the next batch: Promise.all, a barrier
    --arm window         as many at a time, and a new one for each that is done
    --chunks N           how many chunks
    --chunk B            bytes of a chunk
    --batch SIZE         chunks in a batch
    --concurrency M      requests in flight; also the connections of the client
    --seed S             of the text
    --timeout T          of one request

Times are in seconds. Other flags: see common.mjs. What is printed: see common.py. What is offered
are chunks; a latency is the time from the sending of a chunk to its answer. Gauges: chunks_per_s,
in_flight_mean (sum of the times of all requests over the time of the whole), client_cpu_share.
*/

import {
  Books,
  Client,
  OK,
  Semaphore,
  clock,
  oneOf,
  random,
  seconds,
  start,
  sum,
  upstream,
  whole,
} from "./common.mjs";

/** The chunks, one at a time, out of one short text: never are all of them in memory. */
function text({ chunks, chunk, seed }) {
  const [dice, letters] = [random(seed), "etaoin shrdlu "];
  const letter = () => letters.charCodeAt(Math.floor(dice() * letters.length));
  const short = Buffer.from(Array.from({ length: chunk + 1000 }, letter));
  return (function* () {
    for (let i = 0; i < chunks; i++) {
      const at = Math.floor(dice() * 1000);
      yield Buffer.from(short.subarray(at, at + chunk));
    }
  })();
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
  // All lanes take from one iterator: a chunk is made when somebody has time for it, and neither
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
  chunk: whole(1, 1024, 2 ** 30),
  batch: whole(1, 50),
  concurrency: whole(1, 25, 10_000),
  seed: whole(0, 1, 2 ** 64),
  timeout: seconds(0.001, 60),
});
const books = new Books();
const client = new Client(args.url, args.concurrency, args.timeout);
const doors = await client.openConnections(args, args.concurrency);

async function embed(chunk) {
  const sent = clock();
  const fate = await client.fetch("/embeddings", { method: "POST", body: chunk, expected: null });
  books.enter(fate, clock() - sent);
}

const way = args.arm === "batch" ? inBatches : inAWindow;
const chunks = text(args);
await books.measured(() => way(args, chunks, embed));
books.close(
  {
    chunks_per_s: books.count(OK) / books.wall,
    in_flight_mean: sum(books.attempts) / books.wall,
    client_cpu_share: books.cpuShare,
  },
  { doors },
);
