#!/usr/bin/env python3
"""Everything that a program makes of records: verdicts, charts, reports, books.

    scripts/redraw.py target/release/labs OUT [LAB]

Of the committed records, and of the same cut down, since those have every condition and never meet the
paths for what is missing: half of the conditions, and one trial of each condition. Run it with the
programs of two commits, and `diff -r` tells what a change means for readers. LAB is one of them, as
lab03.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results"


def halved(record):
    record["points"] = record["points"][: len(record["points"]) // 2]


def one_trial(record):
    for point in record["points"]:
        del point["trials"][1:]


def whole(record):
    pass


def cut(source, target, lab, change):
    target.mkdir(parents=True)
    for path in sorted(source.glob(f"{lab}.json")):
        record = json.loads(path.read_text())
        change(record)
        (target / path.name).write_text(json.dumps(record))


def redraw(labs, records):
    def run(*words):
        done = subprocess.run([labs, *words], capture_output=True, text=True)
        return f"{done.returncode}\n{done.stdout}\n{done.stderr}".replace(str(records), "RECORDS")

    (records / "verdicts.txt").write_text(run("verdicts", "--json", str(records)))
    (records / "report.txt").write_text(run("report", str(records)))
    (records / "charts.txt").write_text(run("charts", str(records)))
    (records / "book.txt").write_text(run("book", str(records), "--out", str(records / "book")))
    for path in records.glob("lab*.json"):
        path.unlink()


def main():
    labs, out = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    lab = sys.argv[3] if len(sys.argv) > 3 else "lab*"
    if out.exists():
        sys.exit(f"{out} is there already")
    for folder in ("reference", "reference-quick"):
        cut(RESULTS / folder, out / folder, lab, whole)
        cut(RESULTS / folder, out / f"{folder}-halved", lab, halved)
        cut(RESULTS / folder, out / f"{folder}-one-trial", lab, one_trial)
    for records in sorted(out.iterdir()):
        redraw(labs, records)
        print(records)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main()
