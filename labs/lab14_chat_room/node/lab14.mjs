/*
lab14 in Node: a chat server, one of whose users asks for computations.

    --arm inline         it computes on the event loop
    --arm threads        in a worker thread
    --arm processes      in a process of its own
    --beat T             between two heartbeats to a user
    --unanswered N       heartbeats in a row without an answer, after which a user is given up
    --outbox N           messages that may wait to be written to a user

It listens on a free port of this machine and says where, in the first line of standard output:
{"listening": "127.0.0.1:PORT"}. When standard input ends it prints one line with what it has counted,
and ends. Lines of text go over WebSocket:

    join ROOM            the first line of every user; the answer is: welcome USER
    say TEXT             to everybody in the room, the speaker included: said USER TEXT
    solve MICROSECONDS   computes for so long; the answer is: solved MICROSECONDS, or: failed WHY

A heartbeat is a ping with 8 bytes: nanoseconds from the server's start until it was due.
*/

import {
  Kernel,
  Pool,
  clock,
  listen,
  oneOf,
  parentLeaves,
  pingFrame,
  print,
  seconds,
  start,
  textFrame,
  whole,
} from "./common.mjs";

/** Nobody computes for longer. */
const LONGEST_S = 10;

// wrong: Computing on the event loop
async function solveInline({ kernel }, cost) {
  // Meanwhile nobody is heard, nothing is sent and no heart beats, in any room.
  return kernel.work(cost);
}

// right: Computing in a worker
// so: One user's computation is everybody's silence, if the loop that carries all of them does it.
//     A worker has a processor of its own, and the answer comes back as one more message.
async function solveBeside({ kernel, pool }, cost) {
  return pool.compute(kernel.steps(cost));
}

class User {
  solving = false;
  unanswered = 0;

  constructor(hall, peer) {
    [this.hall, this.peer] = [hall, peer];
    peer.onText = (line) => this.hear(line);
    peer.onPong = () => (this.unanswered = 0);
    peer.onGone = (broken) => this.leave(broken);
  }

  hear(line) {
    const [, word, rest] = line.match(/^(\w+) ([^]*)$/) ?? [];
    const number = /^[0-9]{1,15}$/.test(rest) ? Number(rest) : NaN;
    const inside = this.room !== undefined;
    if (word === "join" && !inside && number < 2 ** 32) this.join(number);
    else if (word === "say" && inside) this.hall.say(this, rest);
    else if (word === "solve" && inside && number >= 0) this.solve(number / 1e6);
    // What is not in the protocol ends its own connection, and no other.
    else this.peer.hangUp(true);
  }

  join(room) {
    this.room = room;
    this.number = this.hall.joined(this);
    this.tell(textFrame(`welcome ${this.number}`));
    // The first heartbeat comes after a part of a beat, so that not all of them come together.
    const phase = (this.number * 0.6180339887498949) % 1;
    this.due = clock() - this.hall.origin + this.hall.args.beat * phase;
    this.wait();
  }

  wait() {
    const ms = (this.due + this.hall.origin - clock()) * 1000;
    this.timer = setTimeout(() => this.beat(), Math.max(ms, 0));
  }

  beat() {
    const { args, origin, counts } = this.hall;
    // Counted, and not looked up on the clock: who was away itself would find all others silent.
    if (this.unanswered++ >= args.unanswered) {
      counts.given_up += 1;
      return this.peer.hangUp();
    }
    const payload = Buffer.alloc(8);
    payload.writeBigUInt64BE(BigInt(Math.round(this.due * 1e9)));
    if (this.peer.waiting < args.outbox) this.peer.send(pingFrame(payload));
    // Those that fell due while the loop was away are left out: nobody needs six at once.
    const late = clock() - origin - this.due;
    this.due += args.beat * (Math.floor(Math.max(late, 0) / args.beat) + 1);
    this.wait();
  }

  async solve(cost) {
    const { args, counts } = this.hall;
    if (cost > LONGEST_S) return this.tell(textFrame(`failed more than ${LONGEST_S} s`));
    if (this.solving) return this.tell(textFrame("failed one at a time"));
    this.solving = true;
    const took = await (args.arm === "inline" ? solveInline : solveBeside)(this.hall, cost);
    this.solving = false;
    counts.solved += 1;
    this.tell(textFrame(`solved ${Math.round(took * 1e6)}`));
  }

  /** False when this user reads so slowly that it is shown the door: nobody waits for it. */
  tell(frame) {
    if (this.peer.waiting < this.hall.args.outbox) {
      this.peer.send(frame);
      return true;
    }
    this.hall.counts.slow += 1;
    this.peer.hangUp();
    return false;
  }

  leave(broken) {
    clearTimeout(this.timer);
    this.hall.left(this, broken);
  }
}

class Hall {
  counts = { joined: 0, said: 0, delivered: 0, given_up: 0, slow: 0, broken: 0, solved: 0 };
  rooms = new Map();

  constructor(args, kernel, pool) {
    Object.assign(this, { args, kernel, pool, origin: clock() });
  }

  joined(user) {
    if (!this.rooms.has(user.room)) this.rooms.set(user.room, new Set());
    this.rooms.get(user.room).add(user);
    return this.counts.joined++;
  }

  say(speaker, text) {
    this.counts.said += 1;
    const frame = textFrame(`said ${speaker.number} ${text}`);
    for (const member of this.rooms.get(speaker.room)) {
      if (member.tell(frame)) this.counts.delivered += 1;
    }
  }

  left(user, broken) {
    if (broken) this.counts.broken += 1;
    const room = this.rooms.get(user.room);
    room?.delete(user);
    if (room?.size === 0) this.rooms.delete(user.room);
  }
}

const args = await start(
  import.meta.url,
  {
    arm: oneOf("inline", "threads", "processes"),
    beat: seconds(0.001, 0.05),
    unanswered: whole(1, 10),
    outbox: whole(1, 1024),
  },
  // It follows its parent anyway, and has something to say when that goes.
  { follow: false },
);
const kernel = new Kernel();
const pool = args.arm === "inline" ? null : await Pool.start(args.arm, 1);
const hall = new Hall(args, kernel, pool);
const listening = await listen(
  (peer) => new User(hall, peer),
  () => (hall.counts.broken += 1),
);
await print({ listening });
await parentLeaves();
await print(hall.counts);
process.exit(0);
