"""A good client in Python, and ten faults that can be switched on: an example for `labs judge`.

    --url URL            where the service is, http://HOST:PORT
    --n N                items: URL/items/0 … URL/items/N-1 are asked for
    --limit L            requests in flight at any time, at most
    --timeout T          seconds after which an attempt is given up
    --orders M           orders: POST URL/orders/0 … M-1, each exactly once (0)
    --attempts A         attempts an item, at most (4)
    --backoff B          seconds before the first retry, doubled for each further one (0.05)
    --method GET|POST    how items are asked for (GET); the POST of an item may be repeated as well
    --path P             items are below URL/P (items)
    --fault NAME         one fault: see FAULTS
    --report             print the client's own counts as a line of JSON:
                         requests = ok + timed_out + refused (503, 429) + failed (all others)

Exit 0: all items were answered (404 is an answer). 1: items were given up. 2: nonsense flags.
"""

import argparse
import collections
import http.client
import json
import random
import re
import signal
import socket
import sys
import threading
import time

FAULTS = """semaphore-inside no-back-off ignore-retry-after permit-while-sleeping no-timeout
    retry-post unbounded-burst barrier-batches lost-item duplicate""".split()
DAY = 86400
Job = collections.namedtuple("Job", "item number method path attempts")


class Socket(socket.socket):
    """Has one deadline for a whole answer. A plain time-out would begin anew with every read."""

    def recv_into(self, *into):
        left = self.connection.deadline - time.monotonic()
        if left <= 0:
            raise socket.timeout("timed out")
        self.settimeout(left)
        return super().recv_into(*into)


class Connection(http.client.HTTPConnection):
    """Is kept from request to request. Once closed, it opens itself again when it is used."""

    def connect(self):
        super().connect()
        self.sock = Socket(fileno=self.sock.detach())
        self.sock.settimeout(self.timeout)  # else it takes itself for one that blocks
        self.sock.connection = self


class Client:
    def __init__(self, args):
        self.args, self.fault = args, args.fault
        # One semaphore for all. A permit is the right to have one request in flight.
        self.permits = threading.BoundedSemaphore(args.limit)
        if self.fault == "unbounded-burst":
            self.permits = threading.Semaphore(args.n + args.orders + 1)  # fault: enough for all
        self.idle = []  # connections not in use; there are no more than permits
        self.lock = threading.Lock()  # for the list and the counts
        self.counts, self.in_flight, self.longest_in_flight = collections.Counter(), 0, 0

    def run(self):
        """A window: the next job begins as soon as a permit is free, whoever gave it back."""
        threads = []
        for job in self.jobs():
            threads.append(self.begin(job))
            if self.fault == "barrier-batches" and len(threads) % self.args.limit == 0:
                for thread in threads:  # fault: all wait for the slowest of the batch
                    thread.join()
        for thread in threads:
            thread.join()

    def jobs(self):
        args = self.args
        for i in range(args.n):
            if self.fault == "lost-item" and i == args.n // 2:
                continue  # fault: this one is never asked for
            yield Job(True, i, args.method, f"{args.prefix}/{args.path}/{i}", args.attempts)
        # An order sent twice may be two orders: even one without an answer may have been taken.
        attempts = 1
        if self.fault == "retry-post":
            attempts = args.attempts  # fault: orders are repeated like items
        for i in range(args.orders):
            yield Job(False, i, "POST", f"{args.prefix}/orders/{i}", attempts)

    def begin(self, job):
        """Wait for a permit, then start a thread that takes it over."""
        permits = self.permits
        if self.fault == "semaphore-inside":
            permits = threading.BoundedSemaphore(self.args.limit)  # fault: each call has its own
        permits.acquire()
        thread = threading.Thread(target=self.do, args=(job, permits), daemon=True)
        thread.start()
        return thread

    def do(self, job, permits):
        """One job to its end. The permit of the first attempt is here already."""
        for k in range(1, job.attempts + 1):
            if k > 1:
                permits.acquire()
            status, retry_after = self.attempt(job)
            done = 200 <= status < 500 and status != 429
            pause = 0 if done or k == job.attempts else self.pause(k, retry_after)
            if self.fault == "duplicate" and done and job.item and job.number == self.args.n // 2:
                self.attempt(job)  # fault: this one has its answer
            if self.fault == "permit-while-sleeping":
                time.sleep(pause)  # fault: nothing is in flight, and yet others must wait
                pause = 0
            permits.release()  # before the pause: others go on meanwhile
            if done:
                return
            time.sleep(pause)
        if job.item:
            with self.lock:
                self.counts["given_up"] += 1

    def pause(self, k, retry_after):
        """Longer each time, so that a service can recover; random, so that clients spread out."""
        pause = self.args.backoff * 2 ** (k - 1) * (0.5 + random.random())
        if self.fault == "no-back-off":
            return 0  # fault: the retry follows at once
        if self.fault == "ignore-retry-after":
            return pause  # fault: the service has said when to come back
        return retry_after + pause  # not before the time it named, and not all at that time

    def attempt(self, job):
        """One request: its status (0: no whole answer) and the seconds of its Retry-After."""
        args = self.args
        with self.lock:
            connection = self.idle.pop() if self.idle else Connection(args.host, args.port)
            self.counts["requests"] += 1
            self.in_flight += 1
            self.longest_in_flight = max(self.longest_in_flight, self.in_flight)
        if not job.item:
            connection.close()  # an order opens it anew: a kept one may be dead by now
        connection.timeout = args.timeout
        if self.fault == "no-timeout":
            connection.timeout = DAY  # fault: an answer that never comes is waited for
        connection.deadline = time.monotonic() + connection.timeout
        status, retry_after, fate = 0, 0, "failed"
        try:
            connection.request(job.method, job.path, b"please" if job.method == "POST" else None)
            response = connection.getresponse()
            response.read()  # to the end, else the connection cannot be used again
            status = response.status
            if status in (429, 503):
                fate, seconds = "refused", response.getheader("Retry-After", "")
                retry_after = min(int(seconds[:9]), DAY) if seconds.isdecimal() else 0
            elif 200 <= status < 300:
                fate = "ok"
        except socket.timeout:
            fate = "timed_out"
        except (OSError, http.client.HTTPException):
            pass  # no connection, or one that broke
        if status == 0:
            connection.close()  # a late answer would be taken for the next one's
        with self.lock:
            self.counts[fate] += 1
            self.in_flight -= 1
            self.idle.append(connection)
        return status, retry_after


def arguments():
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form, allow_abbrev=False)
    parser.error = lambda message: parser.exit(2, f"client.py: {message}\n")
    numbers = (("n", int, None, 0, 100_000), ("limit", int, None, 1, 10_000),
               ("timeout", float, None, 0.001, 3600), ("orders", int, 0, 0, 100_000),
               ("attempts", int, 4, 1, 10), ("backoff", float, 0.05, 0, 60))
    for name, kind, default, _, _ in numbers:
        parser.add_argument("--" + name, type=kind, default=default, required=default is None)
    parser.add_argument("--url", required=True)
    parser.add_argument("--method", default="GET", choices=("GET", "POST"))
    parser.add_argument("--path", default="items")
    parser.add_argument("--fault", choices=FAULTS)
    parser.add_argument("--report", action="store_true")
    args = parser.parse_args()
    for name, _, _, least, most in numbers:
        if not least <= getattr(args, name) <= most:
            parser.error(f"--{name} is a number from {least} to {most}")
    service = re.fullmatch(r"http://([\w.-]+|\[[\da-f:]+\]):(\d{1,5})(/[\w./~-]*)?", args.url, re.A)
    if not service or not 0 < int(service[2]) < 65536:
        parser.error("--url is http://HOST:PORT")
    if not re.fullmatch(r"[\w.~-]+(/[\w.~-]+)*", args.path, re.A):
        parser.error("--path is a path without a slash at its ends")
    args.host, args.port, args.prefix = service[1], int(service[2]), (service[3] or "").rstrip("/")
    return args


def main():
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it at once, without a traceback
    args = arguments()
    client = Client(args)
    client.run()
    if args.report:
        names = "requests ok timed_out refused failed given_up".split()
        counts = {name: client.counts[name] for name in names}
        print(json.dumps({**counts, "longest_in_flight": client.longest_in_flight}))
    if client.counts["given_up"]:
        sys.exit(f"{client.counts['given_up']} of {args.n} items were given up")


if __name__ == "__main__":
    main()
