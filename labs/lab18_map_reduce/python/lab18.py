"""lab18 in Python: the words of a text file, counted.

    --arm one        one process
    --arm text       a pool of processes, each sent its piece of the text
    --arm path       a pool of processes, each sent the file's name and where its piece begins and ends
    --arm ray        Ray tasks, sent the same as in `path`
    --arm ray-text   Ray tasks, each sent its piece of the text
    --file PATH      the text
    --bytes N        count the lines that begin in its first N bytes
    --workers W      processes
    --rounds R       jobs; the mean of their times is printed, after one that warms up

    python3 labs/lab18_map_reduce/python/lab18.py --arm path --file /tmp/text --bytes 1000000

The clock runs as it does in Rust: processes and Ray have been started and have done one job, the file
is in the memory of the system; from the call until the merged counts are here. Prints one JSON object:

    wall_s           mean time of a job
    start_s          what it took to start the pool or Ray, with the first job
    words, distinct  what was counted
    sum              sum over all words of FNV-1a of "word TAB count", modulo 2**64, as text

Python 3.9 or later; Ray for the arms with its name: python3 -m pip install ray
"""

import argparse
import collections
import json
import os
import sys
import threading
import time

clock = time.perf_counter


def piece(path, limit, i, n):
    """The i-th of n pieces of the first `limit` bytes: the lines that begin in it."""
    with open(path, "rb") as file:
        whole = min(limit, os.fstat(file.fileno()).st_size)
        start, end = whole * i // n, whole * (i + 1) // n
        if start == end:
            return ""
        file.seek(max(start - 1, 0))
        if start > 0:
            file.readline()
        begin = file.tell()
        if begin >= end:
            return ""
        text = file.read(end - begin)
        if not text.endswith(b"\n"):
            text += file.readline()
        return text.decode()


def count(text):
    return collections.Counter(text.split())


def count_piece(path, limit, i, n):
    return count(piece(path, limit, i, n))


def merged(parts):
    total = collections.Counter()
    for part in parts:
        total.update(part)
    return total


def digest(counts):
    total = 0
    for word, times in counts.items():
        value = 0xCBF29CE484222325
        for byte in f"{word}\t{times}".encode():
            value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
        total += value
    return total & 0xFFFFFFFFFFFFFFFF


def follow_parent():
    """Initialiser of a worker process: it ends with its parent, however that ended."""
    import multiprocessing

    parent = multiprocessing.parent_process()

    def wait():
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


class Pool:
    """The standard library's pool of processes."""

    def __init__(self, workers):
        import multiprocessing

        self.workers = workers
        self.pool = multiprocessing.get_context("spawn").Pool(workers, follow_parent)

    def text(self, path, limit):
        texts = [piece(path, limit, i, self.workers) for i in range(self.workers)]
        return merged(self.pool.imap_unordered(count, texts))

    def path(self, path, limit):
        jobs = [(path, limit, i, self.workers) for i in range(self.workers)]
        return merged(self.pool.starmap(count_piece, jobs, 1))

    def close(self):
        self.pool.terminate()


class Ray:
    """The same on Ray, on this machine alone."""

    def __init__(self, workers):
        import ray

        # Nothing of it is to be heard or counted elsewhere, and nothing but the result on stdout.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        self.workers, self.ray = workers, ray
        ray.init(
            num_cpus=workers,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            object_store_memory=512 * 1024 * 1024,
        )
        self.count, self.count_piece = ray.remote(count), ray.remote(count_piece)

    def text(self, path, limit):
        texts = [piece(path, limit, i, self.workers) for i in range(self.workers)]
        return merged(self.ray.get([self.count.remote(text) for text in texts]))

    def path(self, path, limit):
        jobs = [self.count_piece.remote(path, limit, i, self.workers) for i in range(self.workers)]
        return merged(self.ray.get(jobs))

    def close(self):
        self.ray.shutdown()


class One:
    def __init__(self, workers):
        pass

    def path(self, path, limit):
        return count(piece(path, limit, 0, 1))

    def close(self):
        pass


ARMS = {
    "one": (One, "path"),
    "text": (Pool, "text"),
    "path": (Pool, "path"),
    "ray": (Ray, "path"),
    "ray-text": (Ray, "text"),
}


def until_parent_leaves():
    while os.read(0, 1024):
        pass
    os._exit(1)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--arm", choices=sorted(ARMS), default="path")
    parser.add_argument("--file", required=True)
    parser.add_argument("--bytes", type=int, default=sys.maxsize)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--parent", action="store_true", help="end when standard input does")
    args = parser.parse_args()
    if args.parent:
        threading.Thread(target=until_parent_leaves, daemon=True).start()
    kind, way = ARMS[args.arm]
    begin = clock()
    workers = kind(args.workers)
    job = getattr(workers, way)
    job(args.file, args.bytes)
    start_s = clock() - begin
    wall = 0.0
    for _ in range(args.rounds):
        begin = clock()
        counts = job(args.file, args.bytes)
        wall += clock() - begin
    workers.close()
    result = {
        "wall_s": wall / args.rounds,
        "start_s": start_s,
        "words": sum(counts.values()),
        "distinct": len(counts),
        "sum": str(digest(counts)),
    }
    json.dump(result, sys.stdout, allow_nan=False)
    print()


if __name__ == "__main__":
    main()
