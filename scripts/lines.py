#!/usr/bin/env python3
"""How heavy a lab is: lines of its files, and its longest function.

    scripts/lines.py [FOLDER]

FOLDER is another clone, to compare with. Tests within files are counted apart. A function's lines are those
from its name to the brace that closes it.
"""

import re
import statistics
import sys
from pathlib import Path

ROOT = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent)
LESSON, PLAN, FINDINGS, PREMISE = "lib.rs", "plan.rs", "findings.rs", "premise.rs"


def without_tests(text):
    return text.split("\n#[cfg(test)]\nmod tests", 1)[0]


def lines(text):
    return len(text.splitlines())


def functions(text):
    """Name and length of each function, by the indentation that rustfmt gives."""
    rows = text.splitlines()
    for at, row in enumerate(rows):
        head = re.match(r"(\s*)(?:pub(?:\([a-z]+\))? )?(?:const |async |unsafe )*fn (\w+)", row)
        if not head:
            continue
        ends = (i for i in range(at, len(rows)) if rows[i] == head[1] + "}" or rows[i].endswith(";"))
        end = next((i for i in ends if rows[i] == head[1] + "}" or i == at), at)
        yield head[2], end - at + 1


def main():
    table = []
    for folder in sorted((ROOT / "labs").glob("lab[0-9][0-9]_*")):
        sources = {p.name: without_tests(p.read_text()) for p in (folder / "src").glob("*.rs")}
        known = [lines(sources.get(name, "")) for name in (LESSON, PLAN, FINDINGS, PREMISE)]
        everything = sum(map(lines, sources.values()))
        longest = max((n, f"{file}:{name}") for file, text in sources.items() for name, n in functions(text))
        table.append((folder.name[:5], *known, everything - sum(known), everything, *longest))
    print(f"{'lab':6}{'lesson':>8}{'plan':>8}{'findings':>10}{'premise':>9}{'others':>8}{'all':>8}  longest function")
    for lab, *numbers, longest, name in table:
        lesson, plan, findings, premise, others, everything = numbers
        print(f"{lab:6}{lesson:8}{plan:8}{findings:10}{premise:9}{others:8}{everything:8}  {longest} {name}")
    columns = list(zip(*table))
    sums = [sum(column) for column in columns[1:7]]
    medians = [statistics.median(column) for column in columns[1:7]]
    for name, numbers in (("sum", sums), ("median", medians)):
        lesson, plan, findings, premise, others, everything = (round(n) for n in numbers)
        print(f"{name:6}{lesson:8}{plan:8}{findings:10}{premise:9}{others:8}{everything:8}")


if __name__ == "__main__":
    main()
