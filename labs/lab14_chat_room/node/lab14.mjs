/*
lab14 in Node: a chat server, one of whose users asks for computations.

    --arm inline         it computes on the event loop
    --arm threads        in a worker thread
    --arm processes      in a process of its own
    --beat T             between two heartbeats to a user
    --unanswered N       heartbeats in a row without an answer, after which a user is given up
    --outbox N           messages that may wait to be written to a user

It listens on a free port of this machine and says where, in the first line of standard output:
{"listening": "127.0.0.1:PORT"}. When standard input ends it prints one line with what it has
counted, and ends. Lines of text go over WebSocket:

    join ROOM            the first line of every user; the answer is: welcome USER
    say TEXT             to everybody in the room, the speaker included: said USER TEXT
    solve MICROSECONDS   computes for so long; the answer is: solved MICROSECONDS, or: failed WHY

A heartbeat is a ping with 8 bytes: nanoseconds from the server's start until it was due.
*/

import { Kernel, Pool, oneOf, seconds, serveChat, start, textFrame, whole } from "./common.mjs";

/** Nobody computes for longer. */
const LONGEST_S = 3600;

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

  constructor(hall, peer) {
    Object.assign(this, { hall, peer });
  }

  /** Does what a line asks for; false when that is nothing known. */
  hear(line) {
    const [, word, rest] = line.match(/^(join|say|solve) ([^]*)$/) ?? [];
    const number = /^[0-9]{1,15}$/.test(rest) ? Number(rest) : NaN;
    const inside = this.number !== undefined;
    if (word === "join" && !inside && number < 2 ** 32) this.join(number);
    else if (word === "say" && inside) this.hall.say(this, rest);
    else if (word === "solve" && inside && number >= 0) this.solve(number / 1e6);
    else return false;
    return true;
  }

  join(room) {
    [this.room, this.number] = [room, this.hall.joined(this, room)];
    this.peer.welcome(`welcome ${this.number}`);
  }

  tell(line) {
    return this.peer.tell(textFrame(line));
  }

  async solve(cost) {
    if (cost > LONGEST_S) return this.tell(`failed more than ${LONGEST_S} s`);
    if (this.solving) return this.tell("failed one at a time");
    this.solving = true;
    const way = this.hall.arm === "inline" ? solveInline : solveBeside;
    const took = await way(this.hall, cost);
    this.solving = false;
    this.hall.counts.solved += 1;
    return this.tell(`solved ${Math.round(took * 1e6)}`);
  }

  leave(why) {
    this.hall.left(this, why);
  }
}

/** What all users share. One thread runs all of this, and so it needs no lock. */
class Hall {
  counts = { joined: 0, said: 0, delivered: 0, given_up: 0, slow: 0, broken: 0, solved: 0 };
  rooms = new Map();

  constructor(arm, kernel, pool) {
    Object.assign(this, { arm, kernel, pool });
  }

  user(peer) {
    return new User(this, peer);
  }

  joined(user, room) {
    if (!this.rooms.has(room)) this.rooms.set(room, new Set());
    this.rooms.get(room).add(user);
    return this.counts.joined++;
  }

  say(speaker, text) {
    this.counts.said += 1;
    // Put together once for all of them.
    const frame = textFrame(`said ${speaker.number} ${text}`);
    for (const member of this.rooms.get(speaker.room)) {
      if (member.peer.tell(frame)) this.counts.delivered += 1;
    }
  }

  left(user, why) {
    if (why !== "left") this.counts[why] += 1;
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
await serveChat(args, new Hall(args.arm, kernel, pool));
