/*
lab04 in Node: N requests at once behind a semaphore, behind the agent's pool, behind nothing.

    --requests N
    --limit M            permits of one semaphore for all; 0 for none
    --pool C             connections of the client (maxSockets): 0, Node's default, is no limit
    --timeout T          how long a request waits once it is sent

Times are in seconds. Other flags: see common.mjs. What is printed: see common.py. Gauges:
goodput_per_s, ok_from_sending_s (mean time of the successes from the permit to the answer, the
clock that does not see the wait), client_cpu_share (processor time of this process over the time of
the whole).
*/

import {
  Books,
  Client,
  OK,
  Semaphore,
  clock,
  seconds,
  start,
  sum,
  upstream,
  whole,
} from "./common.mjs";

// wrong: A pool for a limit
async function behindThePool(client, n, done) {
  // The agent's pool is a hidden semaphore: who finds no connection waits for one. But the clock of
  // the timeout runs in its queue, and who waits too long is never sent.
  const all = Array.from({ length: n }, async () => {
    const sent = clock();
    done(await client.fetch(), sent);
  });
  await Promise.all(all);
}

// right: A semaphore for a limit
// so: Both send no more than so many at a time. Behind the semaphore the clock starts with the
//     permit, so that waiting for one's turn costs time, and no request.
async function behindASemaphore(client, n, done, limit) {
  // One for all: a semaphore made anew for each request would limit nobody.
  const permits = new Semaphore(limit);
  const all = Array.from({ length: n }, () =>
    permits.within(async () => {
      const sent = clock();
      done(await client.fetch(), sent);
    }),
  );
  await Promise.all(all);
}

const args = await start(import.meta.url, {
  ...upstream,
  requests: whole(0, 1000),
  limit: whole(0, 0),
  pool: whole(0, 0),
  timeout: seconds(0.001, 0.325),
});
const [books, fromSending] = [new Books(), []];
const client = new Client(args.url, args.pool, args.timeout);
const doors = await client.openConnections(args, args.limit || args.requests);

function done(fate, sent) {
  const now = clock();
  if (fate === OK) fromSending.push(now - sent);
  books.enter(fate, now - books.begun);
}

const way = args.limit ? behindASemaphore : behindThePool;
await books.measured(() => way(client, args.requests, done, args.limit));
const gauges = {
  goodput_per_s: books.count(OK) / books.wall,
  client_cpu_share: books.cpuShare,
};
if (fromSending.length) gauges.ok_from_sending_s = sum(fromSending) / fromSending.length;
books.close(gauges, { doors });
