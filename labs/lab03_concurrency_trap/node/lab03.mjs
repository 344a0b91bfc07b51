/*
lab03 in Node: a burst, or a sustained load, with promises and one http.Agent.

    --arm burst          N requests at once, and that is all
    --arm sustained      N clients that each send, wait for the answer and send again
    --clients N
    --pool M             connections of the client (maxSockets): 0, Node's default, is no limit
    --timeout T          how long a client waits

and for the sustained load

    --ramp, --ramped     the first RAMPED clients start one after another over RAMP
    --warm-up, --window  what starts in the warm-up is not counted
    --pause, --seed      mean pause after a refusal: half to one and a half times this

Times are in seconds. Other flags: see common.mjs. What is printed: see common.py. Gauges:
goodput_per_s, attempts_per_s, client_cpu_share (processor time of this process over the time of the
load).
*/

import {
  Books,
  Client,
  OK,
  REJECTED,
  clock,
  oneOf,
  random,
  seconds,
  sleep,
  start,
  upstream,
  whole,
} from "./common.mjs";

// wrong(2): A client whose pool is a semaphore nobody sees
function pooled(args) {
  return new Client(args.url, args.pool, args.timeout);
}

// right(2): A client with a connection for each request
// so(2): In the pooled client the clock of the timeout runs while a request waits for a connection,
//     and the service never sees it.
function unpooled(args) {
  // 0 is no limit, as in Node by itself.
  return new Client(args.url, 0, args.timeout);
}

async function burst(args, client, books) {
  // A promise costs nothing, and so nothing stops us: the upstream gets all of them together, and
  // every one that waits there for longer than its timeout has been served for nobody.
  const all = Array.from({ length: args.clients }, async () => {
    const fate = await client.fetch();
    books.enter(fate, clock() - books.begun);
  });
  await Promise.all(all);
}

/** Every attempt counts with the part of its time in flight that lies inside the window. */
async function sustained(args, client, books, inside) {
  const origin = clock();
  const begin = origin + args.warmUp;
  const end = begin + args.window;

  async function one(i) {
    const dice = random(args.seed + i);
    const share = Math.min(1, i / Math.max(args.ramped, 1));
    await sleep(origin + args.ramp * share - clock());
    for (;;) {
      const sent = clock();
      if (sent >= end) return;
      const fate = await client.fetch();
      const now = clock();
      const overlap = Math.max(0, Math.min(now, end) - Math.max(sent, begin));
      const part = overlap / Math.max(now - sent, 1e-9);
      inside.attempts += part;
      if (fate === OK) inside.ok += part;
      if (sent >= begin) books.enter(fate, now - sent);
      if (fate === REJECTED && args.pause > 0) {
        const pause = args.pause * (0.5 + dice());
        if (now + pause >= end) return;
        await sleep(pause);
      }
    }
  }

  await Promise.all(Array.from({ length: args.clients }, (_, i) => one(i)));
}

const args = await start(import.meta.url, {
  ...upstream,
  arm: oneOf("burst", "sustained"),
  clients: whole(0, 100),
  pool: whole(0, 0),
  timeout: seconds(0.001, 0.325),
  ramp: seconds(0, 0),
  ramped: whole(0, 1),
  "warm-up": seconds(0, 0.5),
  window: seconds(0.001, 1),
  pause: seconds(0, 0),
  seed: whole(0, 1, 2 ** 64),
});
const [books, inside] = [new Books(), { attempts: 0, ok: 0 }];
const client = args.pool ? pooled(args) : unpooled(args);
const doors = await client.openConnections(args, args.clients);
const load = args.arm === "burst" ? burst : sustained;
await books.measured(() => load(args, client, books, inside));
const wall = args.arm === "burst" ? books.wall : args.window;
if (args.arm === "burst") [inside.ok, inside.attempts] = [books.count(OK), args.clients];
books.close(
  {
    goodput_per_s: inside.ok / wall,
    attempts_per_s: inside.attempts / wall,
    client_cpu_share: books.cpuShare,
  },
  { wall, doors },
);
