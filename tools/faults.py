# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""make test-faults: every fault, every step of a change in turn, and the measured table in docs/reliability.md."""

from __future__ import annotations

import collections
import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
PAGE = ROOT / "docs/reliability.md"
TABLE = CACHE / "faults.jsonl"
BEGIN, END = "<!-- begin: written by make test-faults -->", "<!-- end: written by make test-faults -->"
#: Folder, and the tests there that record the result of a fault.
TESTS = {
    "integration": ["test_faults.py", "test_faults_of_services.py", "test_transactions.py"],
    "lab": ["test_confirm.py"],
}
COLUMNS = ("before", "after", "closed", "between")
HEAD = ("fault", "tried", "as before", "as declared", "closed", "lost or between")


def main() -> int:
    TABLE.unlink(missing_ok=True)
    env = {
        **os.environ,
        "PYTHONPATH": f"{CACHE}/collections:{ROOT}/tests",
        "IPMASQ_FAULTS": "full",
        "IPMASQ_FAULTS_TABLE": str(TABLE),
    }
    worst = 0
    for folder, names in TESTS.items():
        # A trial mostly waits, for time limits and for its rollback, so six share two processors.
        workers = ["-n", "6", "--maxschedchunk", "1"] if folder == "integration" else []
        paths = [str(ROOT / "tests" / folder / name) for name in names]
        done = subprocess.run([sys.executable, "-m", "pytest", "-q", *workers, *paths], cwd=ROOT, env=env, check=False)
        worst = max(worst, done.returncode)
    table = render(TABLE.read_text(encoding="utf-8").splitlines())
    print(table)
    if worst:
        print("a test has failed, so docs/reliability.md stays as it is", file=sys.stderr)
        return 1
    text = PAGE.read_text(encoding="utf-8")
    between = re.compile(re.escape(BEGIN) + ".*" + re.escape(END), re.S)
    PAGE.write_text(between.sub(lambda _found: f"{BEGIN}\n\n{table}\n{END}", text), encoding="utf-8")
    return 0


def render(lines: list[str]) -> str:
    """A row for each fault, in alphabetical order, and the totals."""
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for line in lines:
        fault, outcome = json.loads(line)
        counts[fault][outcome] += 1
        counts["~all"][outcome] += 1
    rows = ["| " + " | ".join(HEAD) + " |", "|---" + "|---:" * (len(HEAD) - 1) + "|"]
    for fault in sorted(counts):
        found = [counts[fault][column] for column in COLUMNS]
        name = "**all**" if fault == "~all" else fault
        rows.append(f"| {name} | {sum(found)} | " + " | ".join(str(number) for number in found) + " |")
    return "".join(row + "\n" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
