"""Three stages that overlap, and faults to switch on: an example for `labs judge 8`.

    --url URL     where the service is, http://HOST:PORT
    --n N         items: each goes through GET /fetch/i, POST /transform/i and POST /store/i
    --limit L     requests in flight in each stage, and items in each queue between two stages
    --fault NAME  phases, batches, awaits-each, through-all, unbounded-queue, no-limit, too-early
"""

import argparse
import http.client
import queue
import sys
import threading
import urllib.parse

STAGES = ("GET", "/fetch"), ("POST", "/transform"), ("POST", "/store")
END = None
lost = []  # items whose request broke


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name, kind in ("url", str), ("n", int), ("limit", int), ("fault", str):
        parser.add_argument("--" + name, type=kind, required=name != "fault")
    args = parser.parse_args()
    address = urllib.parse.urlsplit(args.url).netloc
    items, limit, fault = list(range(args.n)), args.limit, args.fault

    if fault == "phases":
        for stage in STAGES:  # fault: everything through one stage, then the next stage
            side_by_side(address, [stage], items, limit)
    elif fault == "batches":
        for i in range(0, args.n, 10):  # fault: the same, ten at a time
            for stage in STAGES:
                side_by_side(address, [stage], items[i:i + 10], limit)
    elif fault == "through-all":
        side_by_side(address, STAGES, items, limit)  # fault: a worker's stages never overlap
    else:
        pipeline(address, items, limit, fault)
    if lost:
        sys.exit(f"{len(lost)} of {args.n} items were lost")


def pipeline(address, items, limit, fault):
    """All stages at once. A full queue makes the stage before it wait: that bounds everything."""
    places = 0 if fault == "unbounded-queue" else limit  # fault: 0 is no bound
    queues = [queue.Queue()] + [queue.Queue(places) for _ in STAGES[1:]] + [queue.Queue()]
    for item in items:
        queues[0].put(item)
    workers = []
    for number, stage in enumerate(STAGES):
        width = limit
        if stage[1] == "/transform" and fault == "awaits-each":
            width = 1  # fault: one loop awaits each item, whatever the service could do
        if stage[1] == "/transform" and fault == "no-limit":
            width = 3 * limit  # fault: more than the stage allows
        take, put = queues[number:number + 2]
        hasty = fault == "too-early" and stage[1] == "/transform"
        loops = [threading.Thread(target=worker, args=(address, [stage], take, put, hasty))
                 for _ in range(width)]
        workers.append(loops)
        for loop in loops:
            loop.start()
    for loops, take in zip(workers, queues):
        for _ in loops:
            take.put(END)  # one for each worker, behind all items
        for loop in loops:
            loop.join()


def side_by_side(address, stages, items, limit):
    """Each item through these stages, with as many workers as the limit."""
    take = queue.Queue()
    for item in items + [END] * limit:
        take.put(item)
    workers = [threading.Thread(target=worker, args=(address, stages, take, queue.Queue(), False))
               for _ in range(limit)]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join()


def worker(address, stages, take, put, hasty):
    connection = http.client.HTTPConnection(address)
    while (item := take.get()) is not END:
        try:
            for method, path in stages:
                if hasty:
                    put.put(item)  # fault: handed on before it has been transformed
                connection.request(method, f"{path}/{item}")
                connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            connection.close()
            lost.append(item)  # and the worker goes on: else its queue would fill up
            continue
        if not hasty:
            put.put(item)


if __name__ == "__main__":
    main()
