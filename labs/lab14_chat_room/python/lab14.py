"""lab14 in Python: a chat server, one of whose users asks for computations.

    --arm inline         it computes on the event loop
    --arm threads        in another thread: asyncio.to_thread
    --arm processes      in another process
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
"""

import asyncio
import concurrent.futures
import contextlib
import re

from common import (
    Kernel,
    arguments,
    gil,
    process_pool,
    seconds,
    serve_chat,
    start,
    timed_compute,
    whole,
)

LINE = re.compile(r"(join|say|solve) (.*)", re.DOTALL)

# Nobody computes for longer.
LONGEST_S = 3600


# wrong: Computing on the event loop
async def solve_inline(pool, rounds):
    """Meanwhile nobody is heard, nothing is sent and no heart beats, in any room."""
    return timed_compute(rounds)


# right: Computing in another process
# so: One user's computation is everybody's silence, if the loop that carries all of them does it. A
#     process has a processor and a GIL of its own, and the answer comes back as one more message.
async def solve_in_process(pool, rounds):
    return await asyncio.get_running_loop().run_in_executor(pool, timed_compute, rounds)


async def solve_in_thread(pool, rounds):
    """The loop lives, but waits for the GIL again and again."""
    return await asyncio.to_thread(timed_compute, rounds)


SOLVE = {"inline": solve_inline, "threads": solve_in_thread, "processes": solve_in_process}


class User:
    def __init__(self, hall, peer):
        self.hall, self.peer = hall, peer
        self.room = self.number = self.solving = None

    def hear(self, line):
        """Does what a line asks for; False when that is nothing known."""
        match = LINE.fullmatch(line)
        if not match or (match[1] == "join") != (self.number is None):
            return False
        if match[1] == "say":
            self.hall.say(self, match[2])
            return True
        if not re.fullmatch("[0-9]{1,15}", match[2]):
            return False
        return self.join(int(match[2])) if match[1] == "join" else self.solve(int(match[2]) / 1e6)

    def join(self, room):
        if room >= 2**32:
            return False
        self.room, self.number = room, self.hall.joined(self, room)
        return self.peer.welcome(f"welcome {self.number}")

    def solve(self, cost):
        if cost > LONGEST_S:
            self.peer.tell(f"failed more than {LONGEST_S} s")
        elif self.solving:
            self.peer.tell("failed one at a time")
        else:
            # A task of its own: its user may go on talking meanwhile, if the loop does.
            self.solving = asyncio.create_task(self.answer(self.hall.kernel.rounds(cost)))
        return True

    async def answer(self, rounds):
        try:
            took = await SOLVE[self.hall.arm](self.hall.pool, rounds)
            self.hall.counts["solved"] += 1
            self.peer.tell(f"solved {took * 1e6:.0f}")
        except concurrent.futures.BrokenExecutor as error:
            # The process has died. An answer is due whatever happens.
            self.peer.tell(f"failed {error}")
        self.solving = None

    def leave(self, why):
        self.hall.left(self, why)


class Hall:
    """What all users share. Nothing here awaits: nobody comes in between, and no lock is needed."""

    def __init__(self, arm, kernel, pool):
        self.arm, self.kernel, self.pool = arm, kernel, pool
        self.rooms = {}
        names = "joined", "said", "delivered", "given_up", "slow", "broken", "solved"
        self.counts = {**dict.fromkeys(names, 0), "gil": gil()}

    def user(self, peer):
        return User(self, peer)

    def joined(self, user, room):
        self.rooms.setdefault(room, set()).add(user)
        self.counts["joined"] += 1
        return self.counts["joined"] - 1

    def say(self, speaker, text):
        self.counts["said"] += 1
        line = f"said {speaker.number} {text}"
        for member in self.rooms.get(speaker.room, ()):
            self.counts["delivered"] += member.peer.tell(line)

    def left(self, user, why):
        if why != "left":
            self.counts[why] += 1
        members = self.rooms.get(user.room, set())
        members.discard(user)
        if not members:
            self.rooms.pop(user.room, None)


def main():
    parser = arguments(__doc__, url=False)
    parser.add_argument("--arm", choices=sorted(SOLVE), default="inline")
    parser.add_argument("--beat", type=seconds(0.001), default=0.05)
    parser.add_argument("--unanswered", type=whole(1), default=10)
    parser.add_argument("--outbox", type=whole(1), default=1024)
    args = start(parser, follow=False)
    with process_pool(1) if args.arm == "processes" else contextlib.nullcontext() as pool:
        asyncio.run(serve_chat(args, Hall(args.arm, Kernel(), pool)))


if __name__ == "__main__":
    main()
