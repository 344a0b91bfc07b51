/*
What the Node versions of the labs share: flags, closed books, computation, workers, connections.

Node 20 or later, and no packages. A program and this file lie in one folder:

    cp labs/kit/node/common.mjs labs/lab03_concurrency_trap/node/lab03.mjs /tmp/try/
    node /tmp/try/lab03.mjs --url http://127.0.0.1:8080 --arm burst --clients 500

Flags of every program (times in seconds); lab01, lab02 and lab14 need no upstream and have no
--url:

    --url URL         the upstream
    --doors A,B,...   milliseconds that the upstream holds a request to /open-connections/0, /1,
                      ...; connections are opened there before the clock starts. Without it, by the
                      load.
    --parent          end when standard input does: whoever started the program has gone

A flag that is not known, or a value that makes no sense, is one line on standard error and exit 2.
What is printed: see labs/kit/python/common.py.
*/

import { isUtf8 } from "node:buffer";
import { fork } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { fstatSync, mkdtempSync, readFileSync, rmSync, writeSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { setImmediate as nextTurn, setTimeout as timer } from "node:timers/promises";
import { ReadStream, isatty } from "node:tty";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Worker, isMainThread, parentPort, workerData } from "node:worker_threads";

const HERE = fileURLToPath(import.meta.url);

/** Seconds since some moment. */
export const clock = () => performance.now() / 1000;

/** Node's timers count whole milliseconds, and 0 is 1 for them. */
export async function sleep(seconds) {
  await (seconds > 0 ? timer(Math.ceil(seconds * 1000)) : nextTurn());
}

/** Blocks the whole thread, its event loop with it. */
export function sleepThread(seconds) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, seconds * 1000);
}

// ---- Flags ----

/** A number between two others. */
export const seconds = (least, usual, most = 3600) => ({
  usual,
  read(text) {
    const number = /^[0-9.]+(e-?[0-9]+)?$/i.test(text) ? Number(text) : NaN;
    if (number >= least && number <= most) return number;
    throw new Error(`'${text}' is no number from ${least} to ${most}`);
  },
});

/** A whole number between two others. */
export const whole = (least, usual, most = 1_000_000) => ({
  usual,
  read(text) {
    const number = /^[0-9]{1,20}$/.test(text) ? Number(text) : NaN;
    if (number >= least && number <= most) return number;
    throw new Error(`'${text}' is no whole number from ${least} to ${most}`);
  },
});

/** Values with commas between them, at least one. */
export const listed = (one, usual, most = 1000) => ({
  usual,
  read(text) {
    const parts = text.split(",");
    if (parts.length <= most) return parts.map(one.read);
    throw new Error(`${parts.length} values are more than ${most}`);
  },
});

/** One of these words, and the first unless told otherwise. */
export const oneOf = (...words) => ({
  usual: words[0],
  read(text) {
    if (words.includes(text)) return text;
    throw new Error(`there is no '${text}', but ${words.join(", ")}`);
  },
});

const url = {
  read(text) {
    const parts = URL.canParse(text) ? new URL(text) : {};
    const good = parts.protocol === "http:" && parts.port !== "0" && !parts.username;
    if (good) return text.replace(/\/+$/, "");
    throw new Error(`'${text}' is no http://HOST:PORT`);
  },
};

const doors = {
  usual: [],
  read: (text) => (text ? listed(seconds(0, 0, 3_600_000)).read(text) : []),
};

/** The flags of programs with an upstream. */
export const upstream = { url, doors };

function refuse(program, why) {
  writeSync(2, `${program}: ${why.replace(/\s+/g, " ")}\n`);
  process.exit(2);
}

/**
 * The values of the flags; and watches, if asked to, whether the parent is still there. A program
 * that has something to say at the end does not `follow`, and looks itself.
 */
export async function start(program, flags, { follow = true } = {}) {
  const name = basename(fileURLToPath(program));
  const options = { help: { type: "boolean" }, parent: { type: "boolean" } };
  for (const flag in flags) options[flag] = { type: "string" };
  const args = {};
  try {
    const { values } = parseArgs({ options });
    if (values.help) {
      // What the program is stands in its first comment.
      const [, text] = readFileSync(fileURLToPath(program), "utf8").match(/^\/\*\n([^]*?)\*\//);
      writeSync(1, text);
      process.exit(0);
    }
    for (const [flag, { usual, read }] of Object.entries(flags)) {
      const camel = flag.replace(/-(.)/g, (_, letter) => letter.toUpperCase());
      try {
        args[camel] = flag in values ? read(values[flag]) : usual;
        if (args[camel] === undefined) throw new Error("it has to be given");
      } catch (error) {
        throw new Error(`--${flag}: ${error.message}`);
      }
    }
    if (values.parent && follow) await followParent();
  } catch (error) {
    refuse(name, error.message);
  }
  return args;
}

// ---- The end ----

/** A folder that goes when the program does. */
export function temporaryFolder() {
  const folder = mkdtempSync(join(tmpdir(), "lab-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  process.once("SIGTERM", () => process.exit(1));
  process.once("SIGINT", () => process.exit(1));
  return folder;
}

/** A thread of its own watches standard input: the first one may be computing when it ends. */
async function followParent() {
  const watcher = new Worker(HERE, { workerData: { role: "watcher" } });
  await new Promise((resolve) => watcher.once("message", resolve));
  watcher.on("message", () => process.exit(1));
  watcher.unref();
}

function watch() {
  const gone = () => {
    parentPort.postMessage("gone");
    // Who computes hears no message.
    setTimeout(() => process.kill(process.pid, "SIGKILL"), 100);
  };
  parentPort.postMessage("watching");
  let kind;
  try {
    kind = fstatSync(0);
  } catch {
    return gone();
  }
  let input;
  if (isatty(0)) input = new ReadStream(0);
  else if (kind.isFIFO() || kind.isSocket()) input = new net.Socket({ fd: 0, writable: false });
  // A file does not end when somebody goes: nobody is there.
  else return gone();
  input.on("end", gone).on("error", gone).resume();
}

// ---- Books ----

export const OK = "ok";
export const REJECTED = "rejected";
export const TIMED_OUT = "timed out";

/** Every request has exactly one fate. */
export class Books {
  fates = new Map();
  latencies = [];
  attempts = [];
  begun = clock();
  wall = 0;
  cpuShare = 0;

  enter(fate, took) {
    this.fates.set(fate, this.count(fate) + 1);
    this.attempts.push(took);
    if (fate === OK) this.latencies.push(took);
  }

  count(fate) {
    return this.fates.get(fate) ?? 0;
  }

  /** What is done inside is the measured part; all of it begins together. */
  async measured(work) {
    const cpu = process.cpuUsage();
    this.begun = clock();
    await work();
    this.wall = Math.max(clock() - this.begun, 1e-9);
    const { user, system } = process.cpuUsage(cpu);
    this.cpuShare = (user + system) / 1e6 / this.wall;
  }

  /** One of those that began together has ended well. */
  done() {
    this.enter(OK, clock() - this.begun);
  }

  /** Prints the books, and ends the program with all that it has started. */
  close(gauges, { wall = this.wall, doors = 0 } = {}) {
    const failures = Object.fromEntries(
      [...this.fates].filter(([fate]) => ![OK, REJECTED, TIMED_OUT].includes(fate)),
    );
    for (const [name, value] of Object.entries(gauges)) {
      if (!Number.isFinite(value)) throw new Error(`${name} is ${value}`);
    }
    const micros = (times) => times.map((t) => Math.round(t * 1e6) / 1e6);
    const result = {
      wall_s: wall,
      offered: sum(this.fates.values()),
      ok: this.count(OK),
      rejected: this.count(REJECTED),
      timed_out: this.count(TIMED_OUT),
      failed: sum(Object.values(failures)),
      failures,
      latencies_s: micros(this.latencies),
      attempt_latencies_s: micros(this.attempts),
      doors,
      gauges,
    };
    print(result).then(() => process.exit(0));
  }
}

export function sum(numbers) {
  let all = 0;
  for (const number of numbers) all += number;
  return all;
}

/** Numbers from 0 to 1 by chance, the same ones for the same seed: mulberry32. */
export function random(seed) {
  let state = Math.imul(seed % 2 ** 32, 0x9e3779b1);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

// ---- Computation ----

/**
 * Computation that really computes, in amounts of time: a chain of integer steps, each needing the
 * one before. A timer would leave the thread to everybody else meanwhile.
 */
export class Kernel {
  constructor() {
    warmUp();
    // Whatever disturbs a run makes it slower: the fastest one counts.
    this.stepsPerSecond = STEPS / Math.min(...Array.from({ length: 15 }, () => compute(STEPS)));
  }

  steps(seconds) {
    return Math.floor(this.stepsPerSecond * seconds);
  }

  work(seconds) {
    return compute(this.steps(seconds));
  }

  /** The same work in slices, for a caller who has something to do between them. */
  *slices(seconds, slice) {
    const [steps, each] = [this.steps(seconds), Math.max(this.steps(slice), 1)];
    for (let done = 0; done < steps; done += each) yield compute(Math.min(each, steps - done));
  }
}

const STEPS = 400_000;

/** What has been computed. Who could read it keeps any compiler from leaving the work out. */
export let kept = 0;

/**
 * Does so many steps, and returns the seconds they took. Nobody can stop a computation from outside:
 * it looks at the clock itself, and gives up after `limit`.
 */
export function compute(steps, limit = Infinity) {
  const begin = clock();
  let x = 1;
  // In pieces whose length is a small integer: others would be counted as floating-point numbers.
  for (let done = 0; done < steps && clock() - begin <= limit; done += STEPS) {
    x = mix(x, done, Math.min(STEPS, steps - done));
  }
  kept ^= x;
  return clock() - begin;
}

function mix(x, from, steps) {
  const first = from | 0;
  for (let i = 0; i < steps; i++) {
    x = (Math.imul(x ^ (x >>> 27), 0x3c79ac49) + ((first + i) | 0)) | 0;
  }
  return x;
}

/** Until V8 has compiled it for good. */
function warmUp() {
  for (let i = 0; i < 30; i++) compute(STEPS / 4);
}

// ---- Workers ----

/** A pool of threads or processes that are all running already, with their code compiled. */
export class Pool {
  /** `kind` is "threads" (worker_threads) or "processes" (child_process). */
  static async start(kind, workers) {
    const pool = new Pool();
    await Promise.all(Array.from({ length: workers }, () => pool.#add(kind)));
    return pool;
  }

  #idle = [];
  #queue = new Queue();

  /** Has so many steps computed, see `compute`; the seconds they took there. */
  compute(steps, limit) {
    return this.#run({ steps, limit });
  }

  /** Blocks a worker for so long. */
  sleep(seconds) {
    return this.#run({ seconds });
  }

  #run(job) {
    return new Promise((resolve) => {
      this.#queue.push({ job, resolve });
      this.#hand();
    });
  }

  #hand() {
    while (this.#idle.length && this.#queue.length) this.#idle.pop()(this.#queue.shift());
  }

  #add(kind) {
    const worker =
      kind === "threads"
        ? new Worker(HERE, { workerData: { role: "worker" } })
        : fork(HERE, ["worker"], { stdio: ["pipe", "ignore", "inherit", "ipc"] });
    const tell = (message) =>
      kind === "threads" ? worker.postMessage(message) : worker.send(message);
    return new Promise((ready) => {
      let current = null;
      const take = (entry) => {
        current = entry;
        tell(entry.job);
      };
      worker.on("message", (took) => {
        current?.resolve(took);
        current = null;
        this.#idle.push(take);
        ready();
        this.#hand();
      });
      worker.on("error", (error) => {
        throw error;
      });
      worker.on("exit", () => {
        // A program whose worker has died has nothing to report.
        throw new Error("a worker has ended");
      });
    });
  }
}

function serve(port, tell) {
  warmUp();
  port.on("message", ({ steps, limit, seconds }) => {
    const begin = clock();
    if (steps !== undefined) compute(steps, limit);
    else sleepThread(seconds);
    tell(clock() - begin);
  });
  tell(0);
}

// ---- Connections ----

/** What mock_server answers unless told otherwise: 256 bytes, so that half an answer is noticed. */
const BODY = Buffer.from(
  `${Array.from({ length: 255 }, (_, i) => String.fromCharCode(97 + (i % 26))).join("")}\n`,
);

/** Longer answers are read no further. */
const LONGEST_ANSWER = 1 << 20;

/**
 * A client with at most so many connections, which it keeps; 0 is no limit, and Node's default.
 *
 * The clock of `timeout` runs while a request waits in the agent's queue for a connection, as it
 * does for every program that sets `AbortSignal.timeout`. The agent is our own: a global one may be
 * told by the environment to go through a proxy.
 */
export class Client {
  constructor(base, connections, timeout) {
    const { hostname, port, pathname } = new URL(base);
    this.host = hostname.replace(/^\[|\]$/g, "");
    this.port = port || 80;
    this.prefix = pathname.replace(/\/$/, "");
    this.connections = connections;
    this.timeout = timeout;
    this.agent = new http.Agent({
      keepAlive: true,
      maxSockets: connections || Infinity,
      // By default it closes all but 256 of those that nobody uses.
      maxFreeSockets: Infinity,
    });
  }

  /** The fate of one request; it never rejects. `expected` is the body of a success, or null. */
  fetch(path = "", { method = "GET", body, expected = BODY, timeout = this.timeout } = {}) {
    return new Promise((resolve) => {
      const request = http.request({
        agent: this.agent,
        host: this.host,
        port: this.port,
        path: this.prefix + path || "/",
        method,
        headers: body ? { "content-length": body.length } : {},
      });
      const late = setTimeout(() => end(TIMED_OUT), timeout * 1000);
      const end = (fate) => {
        clearTimeout(late);
        resolve(fate);
        if (fate === TIMED_OUT || fate === "body") request.destroy();
      };
      request.on("error", (error) => end(unreachable(error) ? "connect" : "broken"));
      request.on("response", (answer) => {
        const { statusCode: status } = answer;
        const chunks = [];
        let length = 0;
        answer.on("data", (chunk) => {
          chunks.push(chunk);
          length += chunk.length;
          if (length > LONGEST_ANSWER) end("body");
        });
        answer.on("error", () => end("broken"));
        answer.on("end", () => {
          if (status === 429 || status === 503) end(REJECTED);
          else if (status >= 400) end(`status ${status}`);
          else if (expected && !expected.equals(Buffer.concat(chunks))) end("body");
          else end(OK);
        });
      });
      request.end(body);
    });
  }

  /** Opens n connections, by as many requests at the same time that are all held for a moment.
   * Returns how many requests that took. */
  async openConnections({ doors }, n) {
    if (!doors.length) return 0;
    const opened = this.connections ? Math.min(n, this.connections) : n;
    // To open a connection takes about half a millisecond here.
    const long = doors.findIndex((ms) => ms >= opened / 2);
    const door = `/open-connections/${long < 0 ? doors.length - 1 : long}`;
    const knock = () => this.fetch(door, { expected: null, timeout: 30 });
    // Where nobody opens, the requests that count will find out.
    await Promise.all(Array.from({ length: opened }, knock));
    return opened;
  }
}

/** No connection came about. A name with several addresses makes one error of several. */
function unreachable(error) {
  return error instanceof AggregateError || ["connect", "getaddrinfo"].includes(error.syscall);
}

/** First come, first served. An array's own `shift` moves all that stay, each time. */
class Queue {
  #items = [];
  #head = 0;

  get length() {
    return this.#items.length - this.#head;
  }

  push(item) {
    this.#items.push(item);
  }

  shift() {
    const item = this.#items[this.#head];
    this.#items[this.#head++] = undefined;
    if (this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }
}

/** So many permits. Who takes one waits until there is one, first come, first served. */
export class Semaphore {
  #waiting = new Queue();

  constructor(permits) {
    this.permits = permits;
  }

  /** Does some work with a permit, and gives it back whatever happens. */
  async within(work) {
    await this.acquire();
    try {
      return await work();
    } finally {
      this.release();
    }
  }

  async acquire() {
    if (this.permits > 0) this.permits -= 1;
    else await new Promise((resolve) => this.#waiting.push(resolve));
  }

  release() {
    // Handed over, so that nobody comes in between.
    if (this.#waiting.length) this.#waiting.shift()();
    else this.permits += 1;
  }
}

/** What the work comes to, or TIMED_OUT. A promise cannot be stopped from outside: it goes on. */
export async function within(seconds, work) {
  let late;
  const timeout = new Promise((resolve) => {
    late = setTimeout(() => resolve(TIMED_OUT), seconds * 1000);
  });
  try {
    return await Promise.race([work(), timeout]);
  } finally {
    clearTimeout(late);
  }
}

// ---- WebSocket ----

/** Longest message, in bytes. */
const LONGEST_MESSAGE = 64 << 10;

const [TEXT, CLOSE, PING, PONG] = [0x1, 0x8, 0x9, 0xa];

/** A message as it goes over the line: one frame, not masked, as servers send them. */
function frame(opcode, payload) {
  const { length } = payload;
  const head = Buffer.alloc(length < 126 ? 2 : length < 65536 ? 4 : 10);
  head[0] = 0x80 | opcode;
  head[1] = length < 126 ? length : length < 65536 ? 126 : 127;
  if (head.length === 4) head.writeUInt16BE(length, 2);
  if (head.length === 10) head.writeBigUInt64BE(BigInt(length), 2);
  return Buffer.concat([head, payload]);
}

/** A line for `tell`; one will do for many. */
export const textFrame = (line) => frame(TEXT, Buffer.from(line));

/**
 * A user's WebSocket connection, as much of RFC 6455 as a chat needs: no extensions, and no message
 * in several frames. `hear` is called with each line; when it returns false, the connection ends.
 * `leave` is called once, with why it ended: "left", "broken", "given_up" or "slow".
 *
 * Heartbeats are pings, of 8 bytes: nanoseconds from `origin` until they were due. They begin with
 * `welcome`, the first thing that is told.
 */
class Peer {
  hear = () => false;
  leave = () => {};
  #unread = Buffer.alloc(0);
  #gone = false;
  #waiting = 0;
  #unanswered = 0;

  constructor(socket, args, origin) {
    Object.assign(this, { socket: socket.setNoDelay(true), args, origin });
    socket.on("data", (chunk) => this.#read(chunk));
    // No good-bye came before the end.
    for (const event of ["end", "error", "close"]) socket.on(event, () => this.#hangUp("broken"));
  }

  /** False when this user reads so slowly that it is shown the door: nobody waits for it. */
  tell(frame) {
    if (this.#gone) return false;
    if (this.#waiting < this.args.outbox) return this.#send(frame);
    this.#hangUp("slow");
    return false;
  }

  welcome(line) {
    // The first heartbeat comes after a part of a beat, so that not everybody's come together.
    this.due = clock() - this.origin + this.args.beat * Math.random();
    this.#await();
    return this.tell(textFrame(line));
  }

  #await() {
    const ms = (this.due + this.origin - clock()) * 1000;
    this.timer = setTimeout(() => this.#beat(), Math.max(ms, 0));
  }

  #beat() {
    // Counted, and not looked up on the clock: who was away finds all others silent.
    if (this.#unanswered >= this.args.unanswered) return this.#hangUp("given_up");
    this.#unanswered += 1;
    const payload = Buffer.alloc(8);
    payload.writeBigUInt64BE(BigInt(Math.round(this.due * 1e9)));
    if (this.#waiting < this.args.outbox) this.#send(frame(PING, payload));
    // Those that fell due while the loop was away are left out: nobody needs six at once.
    const late = Math.max(clock() - this.origin - this.due, 0);
    this.due += this.args.beat * (Math.floor(late / this.args.beat) + 1);
    this.#await();
  }

  #send(frame) {
    this.#waiting += 1;
    this.socket.write(frame, this.#written);
    return true;
  }

  #written = () => {
    this.#waiting -= 1;
  };

  /** Ends the connection at once. */
  #hangUp(why) {
    if (this.#gone) return;
    this.socket.destroy();
    this.#over(why);
  }

  #over(why) {
    this.#gone = true;
    clearTimeout(this.timer);
    this.leave(why);
  }

  #read(chunk) {
    if (this.#gone) return;
    this.#unread = this.#unread.length ? Buffer.concat([this.#unread, chunk]) : chunk;
    while (!this.#gone) {
      const length = this.#frameLength();
      if (length === undefined || this.#unread.length < length) return;
      const whole = this.#unread.subarray(0, length);
      this.#unread = this.#unread.subarray(length);
      this.#take(whole);
    }
  }

  /** Bytes of the frame that comes next; undefined as long as that is not known. */
  #frameLength() {
    const unread = this.#unread;
    if (unread.length < 2) return undefined;
    const short = unread[1] & 0x7f;
    const head = short < 126 ? 2 : short === 126 ? 4 : 10;
    if (unread.length < head) return undefined;
    const payload =
      head === 2 ? short : head === 4 ? unread.readUInt16BE(2) : Number(unread.readBigUInt64BE(2));
    // Whole (not the first of several), without extensions, masked, and not too long.
    const control = (unread[0] & 0x08) !== 0;
    const good = (unread[0] & 0xf0) === 0x80 && unread[1] & 0x80;
    if (!good || payload > (control ? 125 : LONGEST_MESSAGE)) {
      this.#hangUp("broken");
      return undefined;
    }
    return head + 4 + payload;
  }

  #take(whole) {
    const head = whole[1] === 0xfe ? 4 : whole[1] === 0xff ? 10 : 2;
    const [mask, payload] = [whole.subarray(head, head + 4), whole.subarray(head + 4)];
    for (let i = 0; i < payload.length; i++) payload[i] ^= mask[i & 3];
    const opcode = whole[0] & 0x0f;
    if (opcode === PING) this.#send(frame(PONG, payload));
    else if (opcode === PONG) this.#unanswered = 0;
    else if (opcode === CLOSE) {
      this.socket.end(frame(CLOSE, payload.subarray(0, 2)));
      this.socket.setTimeout(1000, () => this.socket.destroy());
      this.#over("left");
    } else {
      const text = opcode === TEXT && isUtf8(payload);
      // What is not in the protocol ends its own connection, and no other.
      if (!text || !this.hear(payload.toString())) this.#hangUp("broken");
    }
  }
}

/**
 * A chat server on a free port of this machine, until standard input ends. `hall.user(peer)` makes
 * somebody who can `hear` a line and `leave`. Prints where it is, and at the end `hall.counts`.
 */
export async function serveChat(args, hall) {
  const broken = () => (hall.counts.broken += 1);
  const server = http.createServer((_, response) => {
    broken();
    response.writeHead(426, { connection: "close" }).end();
  });
  server.on("clientError", (_, socket) => {
    broken();
    socket.destroy();
  });
  server.on("upgrade", ({ headers, method }, socket, head) => {
    const key = headers["sec-websocket-key"] ?? "";
    const asked = headers.upgrade?.toLowerCase() === "websocket" && method === "GET";
    if (!asked || headers["sec-websocket-version"] !== "13" || !/^[\w+/]{22}==$/.test(key)) {
      broken();
      socket.on("error", () => {}).end("HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n");
      return;
    }
    const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`);
    socket.write(
      "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n" +
        `sec-websocket-accept: ${accept.digest("base64")}\r\n\r\n`,
    );
    const peer = new Peer(socket, args, origin);
    const user = hall.user(peer);
    peer.hear = (line) => user.hear(line);
    peer.leave = (why) => user.leave(why);
    if (head.length) socket.unshift(head);
  });
  // The usual backlog loses some of many users who come at once; each would wait a second then.
  server.listen({ host: "127.0.0.1", port: 0, backlog: 4096 });
  await once(server, "listening");
  const origin = clock();
  await print({ listening: `127.0.0.1:${server.address().port}` });
  process.stdin.resume();
  await once(process.stdin, "end").catch(() => {});
  await print(hall.counts);
  process.exit(0);
}

/** Prints a line at once. */
function print(line) {
  return new Promise((done) => {
    // Nobody is there to read it.
    process.stdout.once("error", () => process.exit(1));
    process.stdout.write(`${JSON.stringify(line)}\n`, done);
  });
}

// This file is also the program of the threads and processes above.
if (!isMainThread && workerData?.role === "watcher") watch();
if (!isMainThread && workerData?.role === "worker") {
  serve(parentPort, (message) => parentPort.postMessage(message));
}
if (isMainThread && process.argv[1] === HERE && process.argv[2] === "worker") {
  await followParent();
  serve(process, (message) => process.send(message));
}
