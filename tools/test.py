# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The runner behind make test: stages side by side, and one summary at the end.

python tools/test.py lint unit molecule
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import unit_matrix

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
#: pytest's last line; with -q it has no frame.
CLOSING = re.compile(r"(=+ )?\d+ (passed|failed|skipped|xfailed|error).* in [\d.]+s")
COUNTS = re.compile(r"(\d+) (passed|failed|skipped|xfailed|errors?)")
#: A line of pytest's short summary. A reader may get to see only the end of a long log.
BROKEN = re.compile(r"(FAILED|ERROR) \S+::\S+")

#: Python compiles what it imports once for all stages and workers, also where the environment forbids it.
COMPILED = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(CACHE / "compiled")}
#: What makes the programs that tests use quick: Python itself, and podman in the stages with labs.
QUICK = ROOT / "tests" / "quick"
#: Stages at once. Twice the two cores that CI has, because stages with labs mostly wait for their hosts.
AT_ONCE = 4
#: A stage may run several commands side by side.
COUNTING = threading.Lock()
#: Which begins first: what waits, and then what computes, the longest first; it fills every gap.
ORDER = ("lab", "molecule", "lan_client", "integration", "unit", "house", "sanity", "lint")
#: Stages that wait: a core is theirs as soon as they need it, and the others get what is left.
WAITING = ("lab", "molecule", "lan_client", "neighbours")
#: How much later than those the others get a core. The many workers of the integration tests fill both at any time;
#: the others have few, so behind them, a core would be idle at the end.
LATER_BY = {"integration": 10}
USUALLY = 5
#: Folders with the Python that is installed with the collection.
TRAVELLING = ("playbooks/", "plugins/", "roles/")
#: Scenarios that make test has no time for; the integration tests also cover iptables-legacy with packets.
LATER = "neighbour or iptables_legacy"
#: Tests that are run once more with the programs of Debian's newest release.
WITH_OTHER_TOOLS = ("vocabulary", "many", "links", "fixpoint")


@dataclass
class Outcome:
    """The result of a stage. ``counts`` are pytest's, if the stage ran pytest."""

    stage: str
    ok: bool = True
    seconds: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def main(stages: list[str]) -> int:
    order = sorted(stages, key=lambda name: ORDER.index(name) if name in ORDER else -1)
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        outcomes = list(pool.map(run_stage, order))
    summarise(sorted(outcomes, key=lambda outcome: stages.index(outcome.stage)))
    return 0 if all(outcome.ok for outcome in outcomes) else 1


def run_stage(stage: str) -> Outcome:
    outcome = Outcome(stage)
    say(outcome, "═" * 60)
    start = time.monotonic()
    try:
        STAGES[stage](outcome)
    except (OSError, subprocess.SubprocessError, ImportError) as error:
        outcome.ok = False
        outcome.notes.append(f"broke off: {error}")
    outcome.seconds = time.monotonic() - start
    say(outcome, f"{'ok' if outcome.ok else 'FAILED'} after {outcome.seconds:.0f} s")
    return outcome


def say(outcome: Outcome, line: str) -> None:
    """A line of a stage, with its name, because stages print at the same time."""
    sys.stdout.write(f"{outcome.stage:12}│ {line.rstrip()}\n")
    sys.stdout.flush()


def summarise(outcomes: list[Outcome]) -> None:
    total: dict[str, int] = {}
    print("\n══ summary " + "═" * 83)
    for outcome in outcomes:
        counts = ", ".join(f"{number} {word}" for word, number in outcome.counts.items())
        print(f"{'ok' if outcome.ok else 'FAILED':7}{outcome.stage:13}{outcome.seconds:6.0f} s  {counts}")
        for note in outcome.notes:
            print(f"{'':20}{note}")
        for word, number in outcome.counts.items():
            total[word] = total.get(word, 0) + number
    if total:
        seconds = sum(outcome.seconds for outcome in outcomes)
        print(f"=== {', '.join(f'{number} {word}' for word, number in total.items())} in {seconds:.2f}s ===")


def run(outcome: Outcome, *command: str, cwd: Path = ROOT, **env: str) -> int:
    """A command of a stage, its output passed on as it comes: how many tests pytest's closing line says have passed."""
    say(outcome, "$ " + " ".join(part.replace(str(ROOT) + "/", "") for part in command))
    paths = [str(QUICK), *filter(None, [env.pop("PYTHONPATH", "")])]
    env = {**os.environ, **COMPILED, "PYTHONPATH": os.pathsep.join(paths), **env}
    nice = ("nice", "-n", str(LATER_BY.get(outcome.stage, USUALLY)))
    argv = command if outcome.stage in WAITING else (*nice, *command)
    process = subprocess.Popen(argv, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout
    last = ""
    broken = []
    for line in process.stdout:
        say(outcome, line)
        if CLOSING.match(line):
            last = line
        elif BROKEN.match(line):
            broken.append(line.strip()[:200])
    if process.wait() != 0:
        outcome.ok = False
        outcome.notes.append("failed: " + " ".join(part.replace(str(ROOT) + "/", "") for part in command))
        outcome.notes += broken[:20]
    counts = {word: int(number) for number, word in COUNTS.findall(last)}
    with COUNTING:
        for word, number in counts.items():
            outcome.counts[word] = outcome.counts.get(word, 0) + number
    return counts.get("passed", 0)


def side_by_side(*works: Callable[[], None]) -> None:
    """Parts of a stage that do not need one another."""
    with ThreadPoolExecutor(max_workers=len(works)) as pool:
        for done in [pool.submit(work) for work in works]:
            done.result()


def pytest(outcome: Outcome, *arguments: str, **env: str) -> None:
    """Run tests. If none of them passes, because all were skipped, nothing was shown, and the stage fails."""
    env["PYTHONPATH"] = f"{CACHE}/collections:{ROOT}/tests"
    passed = run(outcome, sys.executable, "-m", "pytest", *arguments, cwd=ROOT, **env)
    if outcome.ok and not passed:
        outcome.ok = False
        outcome.notes.append("no test passed: " + " ".join(arguments))


def lint(outcome: Outcome) -> None:
    run(outcome, "ruff", "check", ".")
    run(outcome, "ruff", "format", "--check", ".")
    run(outcome, "yamllint", "--strict", ".")
    run(outcome, "mypy")
    run(outcome, "antsibull-changelog", "lint")
    run(outcome, sys.executable, "tools/prose.py")
    folder = copy_of_collection("lint")
    run(outcome, "ansible-lint", "--offline", "--profile", "production", cwd=folder)
    run(outcome, "reuse", "--no-multiprocessing", "lint", "--quiet")
    tarball(outcome, folder)


def tarball(outcome: Outcome, folder: Path) -> None:
    """Galaxy's checks before it accepts a collection, and licences and documentation as the tarball has them."""
    place = CACHE / "tarball"
    shutil.rmtree(place, ignore_errors=True)
    run(outcome, "ansible-galaxy", "collection", "build", "--output-path", str(place), str(folder))
    for built in place.glob("*.tar.gz"):
        # It writes its result to the current folder. Its ansible-lint is the one above, less strict, on fewer files.
        once = {"GALAXY_IMPORTER_RUN_ANSIBLE_LINT": "false"}
        run(outcome, sys.executable, "-m", "galaxy_importer.main", str(built), cwd=place, **once)
        unpacked = unpack(built, place)
        run(outcome, "reuse", "--no-multiprocessing", "lint", "--quiet", cwd=unpacked)
        run(outcome, "antsibull-docs", "lint-collection-docs", "--plugin-docs", str(unpacked))


def unpack(built: Path, place: Path) -> Path:
    """The files of a tarball as a collection of its own."""
    folder = place / "ansible_collections" / "ipmasq" / "linux"
    folder.mkdir(parents=True)
    subprocess.run(["tar", "-xzf", str(built), "-C", str(folder)], check=True)
    # In our own repository, git ignores the folder, and what git ignores reuse does not read.
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    # ansible-galaxy writes these two, and no licence into them.
    (folder / ".git/info/exclude").write_text("/MANIFEST.json\n/FILES.json\n", encoding="utf-8")
    return folder


def sanity(outcome: Outcome) -> None:
    """ansible-test wants a path that ends in ansible_collections/ipmasq/linux, and a git checkout."""
    folder = copy_of_collection("sanity")
    provide_get_pip()
    # Only the running Python: a pyenv shim for another one may be on PATH and not work.
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    command = ("ansible-test", "sanity", "--local", "--color", "no", "--python", python)
    run(outcome, *command, "--skip-test", "pylint", cwd=folder)
    # pylint takes as long as all others together. What does not travel in the collection is read by ruff, whose rules
    # have pylint's among them, and in CI, where ansible-test reads everything on each core.
    run(outcome, *command, "--test", "pylint", *TRAVELLING, cwd=folder)


def copy_of_collection(name: str) -> Path:
    """What git tracks or would track, as a collection of its own."""
    folder = CACHE / name / "ansible_collections" / "ipmasq" / "linux"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    for path in subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0"):
        if path and (ROOT / path).exists():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, folder / path, follow_symlinks=False)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    subprocess.run(["git", "add", "--all"], cwd=folder, check=True)
    return folder


def provide_get_pip() -> None:
    """ansible-test downloads its own get-pip.py; if that is unavailable, ensurepip does the same."""
    from ansible_test._internal import python_requirements  # noqa: PLC0415 - only this stage needs it

    source = Path(python_requirements.__file__).read_text(encoding="utf-8")
    version = re.findall(r"\bpip='([\d.]+)'", source)[0]
    cached = Path.home() / ".ansible" / "test" / "cache" / f"get_pip_{version.replace('.', '_')}.py"
    if not cached.exists() and not answers(f"https://ci-files.testing.ansible.com/ansible-test/get-pip-{version}.py"):
        cached.parent.mkdir(parents=True, exist_ok=True)
        cached.write_text("import ensurepip\n\nensurepip.bootstrap(upgrade=True)\n", encoding="utf-8")


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - a constant
            return True
    except OSError:
        return False


def unit(outcome: Outcome) -> None:
    side_by_side(
        lambda: pytest(outcome, "tests/unit", "-q", "-n", "2"),
        *(partial(other_python, outcome, *each) for each in unit_matrix.members()),
    )


def other_python(outcome: Outcome, member: unit_matrix.Member, interpreter: str, tests: tuple[str, ...]) -> None:
    if not interpreter:
        outcome.notes.append(f"not run: this machine has no Python {member.python} (for core {member.core})")
        return
    say(outcome, f"Python {member.python}, ansible-core {member.core}")
    command, env = unit_matrix.command(member, interpreter, tests, ROOT)
    # Examples from hypothesis, and parameters (tests/unit/conftest.py); these runs are about the Python version.
    run(outcome, *command, cwd=ROOT, **env, IPMASQ_EXAMPLES="25")


def house(outcome: Outcome) -> None:
    pytest(outcome, "tests/house", "-v")


def integration(outcome: Outcome) -> None:
    # Each apply writes its state and waits for the disk; in memory this costs nothing. What passed is removed at once,
    # because podman walks through all of /dev to inspect a container or to enter it.
    memory = Path("/dev/shm/ipmasq-integration")  # noqa: S108 - a folder of this run alone
    if os.access(memory.parent, os.W_OK):
        memory.mkdir(exist_ok=True)
    files = [f"tests/integration/test_{name}.py" for name in WITH_OTHER_TOOLS]
    # Most of the time they wait for an answer that should not come, or for a timer. Some take a hundred times as long
    # as others, so no worker gets many of them at once.
    few = ("--maxschedchunk", "2")
    try:
        side_by_side(
            lambda: pytest(outcome, "tests/integration", "-q", "-n", "12", *few, *in_memory(memory / "all")),
            lambda: pytest(
                outcome, *files, "-q", "-n", "4", *few, *in_memory(memory / "trixie"), IPMASQ_TOOLS="trixie"
            ),
        )
    finally:
        shutil.rmtree(memory, ignore_errors=True)


def in_memory(folder: Path) -> list[str]:
    """Arguments of pytest for tests that keep their files in this folder."""
    return [f"--basetemp={folder}", "-o", "tmp_path_retention_policy=failed"] if folder.parent.is_dir() else []


def in_labs(outcome: Outcome, *arguments: str) -> None:
    """Tests that talk to a lab's nodes thousands of times; see tests/quick."""
    connection = {"IPMASQ_LAB_CONNECTION": "quick", "ANSIBLE_CONNECTION_PLUGINS": str(QUICK / "connection")}
    pytest(outcome, *arguments, PATH=f"{QUICK}:{os.environ['PATH']}", **connection)


def lab(outcome: Outcome) -> None:
    # Two labs at once; each file has its own. They wait for timers, for hosts that boot and for what should not come.
    in_labs(outcome, "tests/lab", "-v", "-n", "2", "--dist", "loadfile")


def lan_client(outcome: Outcome) -> None:
    in_labs(outcome, "tests/lan_client", "-v")


def vm(outcome: Outcome) -> None:
    pytest(outcome, "tests/vm", "-v", IPMASQ_VM_RELEASES="bookworm trixie")


def molecule(outcome: Outcome) -> None:
    in_labs(outcome, "tests/molecule", "-v", "-s", "-k", f"not ({LATER})")


def neighbours(outcome: Outcome) -> None:
    in_labs(outcome, "tests/molecule", "-v", "-s", "-k", LATER)


def bare(outcome: Outcome) -> None:
    pytest(outcome, "tests/bare", "-v")


STAGES = {
    "lint": lint,
    "sanity": sanity,
    "unit": unit,
    "house": house,
    "integration": integration,
    "lab": lab,
    "lan_client": lan_client,
    "molecule": molecule,
    "neighbours": neighbours,
    "vm": vm,
    "bare": bare,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
