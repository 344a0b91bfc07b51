"""A polite crawler, and faults to switch on: an example for `labs judge 19`.

    --url URL     the shop, http://HOST:PORT
    --limit L     requests in flight at any time, at most
    --fault NAME  no-robots, robots-late, ignore-retry-after, drop-busy, with-fragments,
                  lost-listings, retry-404, levels, one-at-a-time, no-limit
"""

import argparse
import heapq
import http.client
import sys
import threading
import time
import urllib.parse
import urllib.robotparser
from html.parser import HTMLParser


class Links(HTMLParser):
    """Where the links of a page lead. What is in comments and scripts is none to the parser."""

    def __init__(self, page):
        super().__init__()
        self.hrefs = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        if tag == "a":
            self.hrefs += [value for name, value in attributes if name == "href" and value]


class Crawler:
    def __init__(self, args):
        self.url, self.fault = args.url, args.fault
        self.gone, self.next_level = set(), [("/", ["/"])]
        self.frontier, self.seen = [], set()  # (when to fetch it, number, path), the next first
        self.under_way, self.lost, self.changed = 0, 0, threading.Condition()
        self.robots = urllib.robotparser.RobotFileParser()
        self.robots.parse([])

    def get(self, connection, path):
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer, answer.read().decode()

    def read_robots(self):
        if self.fault != "no-robots":
            connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.url).netloc)
            self.robots.parse(self.get(connection, "/robots.txt")[1].splitlines())

    def add(self, page, hrefs):
        """Links that are new, on this host and allowed. The lock is held."""
        for href in hrefs:
            if self.fault == "lost-listings" and href.startswith("/c/") and href[-1].isdigit():
                continue  # fault: what only later pages of a category list is lost
            url = urllib.parse.urljoin(self.url + page, href)
            path = url.removeprefix(self.url)
            if self.fault != "with-fragments":
                path = urllib.parse.urldefrag(path).url  # fault without: one page, two names
            is_own = url.startswith(self.url + "/")
            if is_own and path not in self.seen and self.robots.can_fetch("labs", url):
                self.seen.add(path)
                self.put(path, 0)

    def put(self, path, when):
        heapq.heappush(self.frontier, (when, len(self.seen), path))
        self.changed.notify_all()

    def work(self):
        """Takes pages until none is left and none is under way that could bring more."""
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.url).netloc)
        while True:
            with self.changed:
                while not self.frontier or self.frontier[0][0] > time.monotonic():
                    if not self.frontier and not self.under_way:
                        self.changed.notify_all()
                        return
                    due = self.frontier[0][0] - time.monotonic() if self.frontier else None
                    self.changed.wait(due)
                path = heapq.heappop(self.frontier)[2]
                self.under_way += 1
            lost = 1
            try:
                self.fetch(connection, path)
                lost = 0
            except (OSError, http.client.HTTPException):
                connection.close()
            finally:
                with self.changed:  # whatever has happened: the others wait for it
                    self.under_way -= 1
                    self.lost += lost
                    self.changed.notify_all()

    def fetch(self, connection, path):
        answer, page = self.get(connection, path.split("#")[0])
        hrefs = Links(page).hrefs if answer.status == 200 else []
        with self.changed:
            again = answer.status == 429 and self.fault != "drop-busy"
            if self.fault == "retry-404" and answer.status == 404 and path not in self.gone:
                self.gone.add(path)
                again = True  # fault: it is not there the second time either
            if again:
                wait = float(answer.getheader("retry-after", 0))
                if self.fault == "ignore-retry-after":
                    wait = 0.1  # fault: the shop has said when to come back
                self.put(path, time.monotonic() + wait)
            if self.fault == "levels":
                self.next_level.append((path, hrefs))  # fault: followed when all are there
            else:
                self.add(path, hrefs)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name, kind in ("url", str), ("n", int), ("limit", int), ("fault", str):
        parser.add_argument("--" + name, type=kind, required=name in ("url", "limit"))
    args = parser.parse_args()
    crawler = Crawler(args)
    width = {"one-at-a-time": 1, "no-limit": 3 * args.limit}.get(args.fault, args.limit)
    if args.fault == "robots-late":
        http.client.HTTPConnection(urllib.parse.urlsplit(args.url).netloc).request("GET", "/about")
    crawler.read_robots()
    while crawler.next_level:
        level, crawler.next_level = crawler.next_level, []
        with crawler.changed:
            for page, hrefs in level:
                crawler.add(page, hrefs)
        workers = [threading.Thread(target=crawler.work) for _ in range(width)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    if crawler.lost:
        sys.exit(f"{crawler.lost} pages were lost")


if __name__ == "__main__":
    main()
