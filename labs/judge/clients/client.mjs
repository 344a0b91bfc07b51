// A good client in Node, and ten faults that can be switched on: an example for `labs judge`.
//
//   --url URL            where the service is, http://HOST:PORT
//   --n N                items: URL/items/0 … URL/items/N-1 are asked for
//   --limit L            requests in flight at any time, at most
//   --timeout T          seconds after which an attempt is given up
//   --orders M           orders: POST URL/orders/0 … M-1, each exactly once (0)
//   --attempts A         attempts an item, at most (4)
//   --backoff B          seconds before the first retry, doubled for each further one (0.05)
//   --method GET|POST    how items are asked for (GET); the POST of an item may be repeated as well
//   --path P             items are below URL/P (items)
//   --fault NAME         one fault: see FAULTS
//   --report             print the client's own counts as a line of JSON:
//                        requests = ok + timed_out + refused (503, 429) + failed (all others)
//
// Exit 0: all items were answered (404 is an answer). 1: items were given up. 2: nonsense flags.

import http from 'node:http';
import { setTimeout as timer } from 'node:timers/promises';
import { parseArgs } from 'node:util';

const FAULTS = ['semaphore-inside', 'no-back-off', 'ignore-retry-after', 'permit-while-sleeping',
  'no-timeout', 'retry-post', 'unbounded-burst', 'barrier-batches', 'lost-item', 'duplicate'];
const DAY = 86_400;
const sleep = (seconds) => timer(Math.ceil(1000 * seconds) + 1); // a timer may be 1 ms early

class Semaphore {
  #free;
  #waiting = [];

  constructor(permits) {
    this.#free = permits;
  }

  async acquire() {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise((go) => this.#waiting.push(go));
  }

  release() {
    const next = this.#waiting.shift();
    if (next) next(); // the permit is handed over: nobody can come in between
    else this.#free += 1;
  }
}

const args = readArguments();
const { fault } = args;
const counts = { requests: 0, ok: 0, timed_out: 0, refused: 0, failed: 0, given_up: 0 };
let [inFlight, longestInFlight] = [0, 0];
// One semaphore for all. A permit is the right to have one request in flight.
let permits = new Semaphore(args.limit);
if (fault === 'unbounded-burst') permits = new Semaphore(Infinity); // fault: enough for all
// Keeps connections. It sets no limit of its own, for its queue would be inside the time-out.
const agent = new http.Agent({ keepAlive: true, maxSockets: Infinity, maxFreeSockets: args.limit });

/** A window: the next job begins as soon as a permit is free, whoever gave it back. */
async function run() {
  const allOf = (jobs) => Promise.all(jobs.map((job) => job.end));
  const begun = [];
  for (const job of jobs()) {
    begun.push(await begin(job));
    if (fault === 'barrier-batches' && begun.length % args.limit === 0) {
      await allOf(begun); // fault: everybody waits for the slowest of the batch
    }
  }
  await allOf(begun);
}

function* jobs() {
  for (let i = 0; i < args.n; i += 1) {
    if (fault === 'lost-item' && i === Math.floor(args.n / 2)) continue; // fault: never asked for
    const path = `${args.prefix}/${args.path}/${i}`;
    yield { item: true, number: i, method: args.method, path, attempts: args.attempts };
  }
  // An order sent twice may be two orders: even one without an answer may have been taken.
  let attempts = 1;
  if (fault === 'retry-post') attempts = args.attempts; // fault: orders are repeated like items
  for (let i = 0; i < args.orders; i += 1) {
    yield { item: false, number: i, method: 'POST', path: `${args.prefix}/orders/${i}`, attempts };
  }
}

/** Wait for a permit, then begin a job, which takes the permit over. */
async function begin(job) {
  let gate = permits;
  if (fault === 'semaphore-inside') gate = new Semaphore(args.limit); // fault: each has its own
  await gate.acquire();
  return { end: toTheEnd(job, gate) }; // in an object: `await begin()` must not wait for the end
}

/** One job to its end. The permit of the first attempt is here already. */
async function toTheEnd(job, gate) {
  for (let k = 1; k <= job.attempts; k += 1) {
    if (k > 1) await gate.acquire();
    const { status, retryAfter } = await attempt(job);
    const done = status >= 200 && status < 500 && status !== 429;
    let pause = done || k === job.attempts ? 0 : pauseBefore(k, retryAfter);
    if (fault === 'duplicate' && done && job.item && job.number === Math.floor(args.n / 2)) {
      await attempt(job); // fault: this one has its answer
    }
    if (fault === 'permit-while-sleeping') {
      await sleep(pause); // fault: nothing is in flight, and yet others must wait
      pause = 0;
    }
    gate.release(); // before the pause: others go on meanwhile
    if (done) return;
    if (pause > 0) await sleep(pause);
  }
  if (job.item) counts.given_up += 1;
}

/** Longer each time, so that a service can recover; random, so that clients spread out. */
function pauseBefore(k, retryAfter) {
  const pause = args.backoff * 2 ** (k - 1) * (0.5 + Math.random());
  if (fault === 'no-back-off') return 0; // fault: the retry follows at once
  if (fault === 'ignore-retry-after') return pause; // fault: the service has said when to come back
  return retryAfter + pause; // not before the time it named, and not all at that time
}

/** One request: its status (0: no whole answer) and the seconds of its Retry-After. */
async function attempt(job) {
  counts.requests += 1;
  longestInFlight = Math.max(longestInFlight, ++inFlight);
  const { status, retryAfter, fate } = await send(job);
  counts[fate] += 1;
  inFlight -= 1;
  return { status, retryAfter };
}

function send({ item, method, path }) {
  return new Promise((resolve) => {
    const { host, port } = args;
    const body = method === 'POST' ? 'please' : undefined;
    const headers = body ? { 'content-length': body.length } : {};
    // An order opens a connection of its own: a kept one may be dead by now.
    const request = http.request({ host, port, method, path, headers, agent: item && agent });
    let seconds = args.timeout;
    if (fault === 'no-timeout') seconds = DAY; // fault: an answer that never comes is waited for
    // One clock for the whole attempt. The option `timeout` begins anew with every byte.
    const clock = setTimeout(() => end('timed_out'), 1000 * seconds);
    const end = (fate, status = 0, retryAfter = 0) => {
      clearTimeout(clock);
      resolve({ fate, status, retryAfter }); // what comes after the first end has no effect
      if (status === 0) request.destroy();
    };
    request.on('error', () => end('failed'));
    request.on('response', (response) => {
      const { statusCode: status, headers } = response;
      const refused = status === 429 || status === 503;
      const fate = refused ? 'refused' : status >= 200 && status < 300 ? 'ok' : 'failed';
      const named = /^\d+$/.test(headers['retry-after']) ? Number(headers['retry-after']) : 0;
      response.on('error', () => end('failed')); // broken in the middle
      response.on('end', () => end(fate, status, refused ? Math.min(named, DAY) : 0));
      response.resume(); // read to the end, else the connection cannot be used again
    });
    request.end(body);
  });
}

function complain(message) {
  console.error(`client.mjs: ${message}`);
  process.exit(2);
}

function readArguments() {
  const text = (value) => ({ type: 'string', default: value });
  const options = { url: text(''), n: text(''), limit: text(''), timeout: text(''),
    orders: text('0'), attempts: text('4'), backoff: text('0.05'), method: text('GET'),
    path: text('items'), fault: text(), report: { type: 'boolean' } };
  let given;
  try {
    given = parseArgs({ options }).values;
  } catch (error) {
    complain(error.message.split('\n')[0]);
  }
  const [whole, any] = [/^\d+$/, /^\d*\.?\d+(e-?\d+)?$/];
  const number = (name, form, least, most) => {
    const value = form.test(given[name]) ? Number(given[name]) : NaN;
    if (value >= least && value <= most) return value;
    return complain(`--${name} is a number from ${least} to ${most}`);
  };
  if (!/^(GET|POST)$/.test(given.method)) complain('--method is GET or POST');
  if (!FAULTS.includes(given.fault ?? FAULTS[0])) complain(`--fault is one of ${FAULTS.join(' ')}`);
  const url = /^http:\/\/([\w.-]+|\[[\da-f:]+\]):(\d{1,5})(\/[\w./~-]*)?$/.exec(given.url);
  if (!url || url[2] < 1 || url[2] > 65_535) complain('--url is http://HOST:PORT');
  if (!/^[\w.~-]+(\/[\w.~-]+)*$/.test(given.path)) {
    complain('--path is a path without a slash at its ends');
  }
  return { ...given, n: number('n', whole, 0, 100_000), limit: number('limit', whole, 1, 10_000),
    timeout: number('timeout', any, 0.001, 3600), orders: number('orders', whole, 0, 100_000),
    attempts: number('attempts', whole, 1, 10), backoff: number('backoff', any, 0, 60),
    host: url[1].replace(/[[\]]/g, ''), port: url[2], prefix: (url[3] ?? '').replace(/\/+$/, '') };
}

await run();
agent.destroy();
if (args.report) console.log(JSON.stringify({ ...counts, longest_in_flight: longestInFlight }));
if (counts.given_up > 0) {
  console.error(`${counts.given_up} of ${args.n} items were given up`);
  process.exitCode = 1;
}
