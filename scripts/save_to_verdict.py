#!/usr/bin/env python3
"""How long a learner waits from saving a file to its verdict, and whether a solution is ever rejected.

    scripts/save_to_verdict.py PROGRAM [--checks N] [--busy] [NAME …]

In a students' copy in a temporary folder, each solution is saved anew (with another comment each time) and checked
with `labs make check`, N times over all exercises. With --busy one core computes all the while.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

parser = argparse.ArgumentParser()
parser.add_argument("program")
parser.add_argument("names", nargs="*")
parser.add_argument("--checks", type=int, default=60)
parser.add_argument("--busy", action="store_true")
flags = parser.parse_args()
program = os.path.abspath(flags.program)
exercises = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "exercises")

with tempfile.TemporaryDirectory() as folder:
    copy = os.path.join(folder, "students")
    subprocess.run([program, "make", "export", "--out", copy], check=True)
    listed = subprocess.run(
        [program, "make", "list", "--json"], cwd=copy, check=True, capture_output=True
    )
    cards = [c for c in json.loads(listed.stdout) if not flags.names or c["name"] in flags.names]

    def check(card, number):
        source = os.path.join(exercises, card["folder"], "solution.rs")
        with open(source) as f:
            text = f.read() + f"// saved for the {number}th time\n"
        with open(os.path.join(copy, card["folder"], "exercise.rs"), "w") as f:
            f.write(text)
        began = time.monotonic()
        done = subprocess.run(
            [program, "make", "check", card["name"], "--no-predict"],
            cwd=copy, capture_output=True, text=True,
        )
        return time.monotonic() - began, done

    first = {}
    for card in cards:
        first[card["name"]] = check(card, 0)[0]
    busy = subprocess.Popen(["sh", "-c", "while :; do :; done"]) if flags.busy else None
    try:
        times, outcomes = [], {0: 0, 1: 0, 3: 0}
        for number in range(1, flags.checks + 1):
            card = cards[number % len(cards)]
            seconds, done = check(card, number)
            times.append((seconds, card["name"]))
            outcomes[done.returncode] = outcomes.get(done.returncode, 0) + 1
            if done.returncode != 0:
                print(f"{card['name']}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    finally:
        if busy:
            busy.kill()
            busy.wait()

seconds = sorted(t for t, _ in times)
p95 = seconds[min(len(seconds) - 1, int(0.95 * len(seconds)))]
print(f"first check, with all that is built: {', '.join(f'{n} {s:.1f} s' for n, s in first.items())}")
print(
    f"{len(times)} checks of solutions: {outcomes[0]} passed, {outcomes[3]} rejected, "
    f"{outcomes[1]} undecided or failed; from saving to the verdict {statistics.median(seconds):.2f} s "
    f"(median), {p95:.2f} s (95 %), {seconds[-1]:.2f} s at most"
)
sys.exit(outcomes[0] != len(times))
