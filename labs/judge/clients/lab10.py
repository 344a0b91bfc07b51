"""Three sources, then an inference, and faults to switch on: an example for `labs judge 10`.

    --url URL     where the service is, http://HOST:PORT
    --n N         queries: GET /weather/q, /news/q and /knowledge/q, then POST /infer/q
    --limit L     inferences in flight at any time, at most
    --fault NAME  one-by-one, two-then-one, barrier, batches, no-limit, first-answer, lost-query
"""

import argparse
import http.client
import threading
import urllib.parse
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

SOURCES = "weather", "news", "knowledge"
WINDOW = 12  # queries under way: more than inferences, so that some fetch while others infer
own = threading.local()


class Client:
    def __init__(self, args):
        self.address, self.fault = urllib.parse.urlsplit(args.url).netloc, args.fault
        self.permits = threading.Semaphore(args.n if args.fault == "no-limit" else args.limit)
        self.fetches = ThreadPoolExecutor(3 * WINDOW)

    def ask(self, method, path):
        """One request, on a connection that its thread keeps."""
        if not hasattr(own, "connection"):
            own.connection = http.client.HTTPConnection(self.address)
        own.connection.request(method, path)
        own.connection.getresponse().read()

    def fetch(self, query):
        if self.fault == "one-by-one":
            for source in SOURCES:
                self.ask("GET", f"/{source}/{query}")  # fault: each waits for the one before
            return
        parts = []
        for source in SOURCES:
            if self.fault == "two-then-one" and source == "knowledge":
                wait(parts)  # fault: the third waits for the first two
            parts.append(self.fetches.submit(self.ask, "GET", f"/{source}/{query}"))
        if self.fault == "first-answer":
            wait(parts, return_when=FIRST_COMPLETED)  # fault: the others are not waited for
            return
        for part in parts:
            part.result()

    def infer(self, query):
        with self.permits:
            self.ask("POST", f"/infer/{query}")

    def answer(self, query):
        self.fetch(query)
        self.infer(query)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name, kind in ("url", str), ("n", int), ("limit", int), ("fault", str):
        parser.add_argument("--" + name, type=kind, required=name != "fault")
    args = parser.parse_args()
    client, queries = Client(args), list(range(args.n))
    if args.fault == "lost-query":
        queries.pop()  # fault: a loop that ends too early
    size = {"barrier": args.n, "batches": 10}.get(args.fault)
    with ThreadPoolExecutor(args.n if args.fault == "no-limit" else WINDOW) as pool:
        if size:
            for i in range(0, args.n, size):
                for step in client.fetch, client.infer:  # fault: all wait for the slowest fetch
                    list(pool.map(step, queries[i:i + size]))
        else:
            list(pool.map(client.answer, queries))


if __name__ == "__main__":
    main()
