"""A pipeline in which things fail, and faults to switch on: an example for `labs judge 12`.

    --url URL     where the service is, http://HOST:PORT
    --n N         items: GET /items/i, then PUT /store/i, or PUT /fallback/i where that hangs
    --limit L     items in progress at any time, at most
    --timeout T   seconds after which a request is given up
    --attempts A  fetches of an item, at most
    --backoff B   seconds before a fetch is tried again
    --fault NAME  batches, no-timeout, lost-result, store-again, store-anything, both-places,
                  no-retry, no-back-off, retry-forever, limit-for-requests
"""

import argparse
import http.client
import threading
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

own = threading.local()


class Pipeline:
    def __init__(self, args):
        self.args, self.fault = args, args.fault
        self.address = urllib.parse.urlsplit(args.url).netloc
        self.permits = threading.Semaphore(args.limit)

    def ask(self, method, path):
        """One request, on a connection that its thread keeps: its status, 0 without an answer."""
        timeout = 60 if self.fault == "no-timeout" else self.args.timeout  # fault: much too long
        if not hasattr(own, "connection"):
            own.connection = http.client.HTTPConnection(self.address, timeout=timeout)
        try:
            own.connection.request(method, path)
            answer = own.connection.getresponse()
            answer.read()
            return answer.status
        except (OSError, http.client.HTTPException):
            own.connection.close()  # a late answer would be taken for the next one's
            return 0

    def fetch(self, item):
        attempts = {"no-retry": 1, "retry-forever": 50}.get(self.fault, self.args.attempts)
        for attempt in range(attempts):
            if attempt and self.fault != "no-back-off":
                time.sleep(self.args.backoff)
            if self.fault == "limit-for-requests":
                with self.permits:  # fault: while an item waits, others begin
                    status = self.ask("GET", f"/items/{item}")
            else:
                status = self.ask("GET", f"/items/{item}")
            if status == 200:
                return True
        return False

    def take(self, item):
        """An item from its fetch to where it ends up."""
        if not self.fetch(item) and self.fault != "store-anything":
            return  # cannot be had
        stored = self.ask("PUT", f"/store/{item}") == 200
        if not stored and self.fault == "store-again":
            stored = self.ask("PUT", f"/store/{item}") == 200  # fault: it may have been done
        if not stored and self.fault == "lost-result":
            return  # fault: nobody has it now
        if not stored or self.fault == "both-places":
            self.ask("PUT", f"/fallback/{item}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name, kind in (("url", str), ("n", int), ("limit", int), ("timeout", float),
                       ("attempts", int), ("backoff", float), ("fault", str)):
        parser.add_argument("--" + name, type=kind, required=name != "fault")
    args = parser.parse_args()
    pipeline, items = Pipeline(args), range(args.n)
    width = 3 * args.limit if args.fault == "limit-for-requests" else args.limit
    size = args.limit if args.fault == "batches" else args.n
    with ThreadPoolExecutor(width) as pool:
        for i in range(0, args.n, size):
            list(pool.map(pipeline.take, items[i:i + size]))  # all of them at once: a window


if __name__ == "__main__":
    main()
