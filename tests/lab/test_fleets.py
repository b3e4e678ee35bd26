# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tests of what docs/fleets.md tells people to run: the rollout with a canary, and gateways that pull."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.ipmasq.linux.benchmarks import fleet

ROOT = Path(__file__).resolve().parents[2]
FILES = ROOT / "examples/fleet"
GOOD = {"name": "web", "port": 443, "to": "192.168.1.20"}
#: To a server outside every LAN.
BAD = {"name": "web", "port": 443, "to": "192.0.2.20"}

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes containers and namespaces"),
    pytest.mark.skipif(shutil.which("podman") is None, reason="not installed: podman"),
    pytest.mark.skipif(shutil.which("git") is None, reason="not installed: git"),
]


def repository(folder: Path, hosts: t.Iterable[str], **variables: t.Any) -> Path:
    """The files as a user's repository, with other hosts."""
    shutil.copytree(FILES, folder)
    describe(folder, hosts, **variables)
    return folder


def describe(folder: Path, hosts: t.Iterable[str], **variables: t.Any) -> None:
    described = {"gateways": {"hosts": dict.fromkeys(hosts), "vars": variables}}
    (folder / "hosts.yml").write_text(yaml.safe_dump(described), encoding="utf-8")


# -- the canary ------------------------------------------------------------------------------------------------------


def rollout(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    argv = ["ansible-playbook", "-i", "hosts.yml", "canary.yml", *more]
    env = {**os.environ, "ANSIBLE_NOCOLOR": "1"}
    return subprocess.run(argv, cwd=folder, env=env, text=True, capture_output=True, check=False)


def rules(name: str) -> str:
    argv = ["podman", "exec", name, "nft", "-s", "list", "ruleset"]
    return subprocess.run(argv, text=True, capture_output=True, check=True).stdout


def test_canary(tmp_path: Path) -> None:
    reach = {"ansible_connection": "containers.podman.podman", "ansible_python_interpreter": "/usr/bin/python3"}
    with fleet.containers(tmp_path, "test-fleet") as made:
        made.grow(4)
        names = sorted(made.pids)
        folder = repository(tmp_path / "gateways", names, **reach, gateway_port_forwards=[GOOD])
        done = rollout(folder, "--check", "--limit", names[0])
        assert done.returncode == 0 and "changed=1" in done.stdout and not rules(names[0]), done.stdout + done.stderr
        done = rollout(folder)
        assert done.returncode == 0, done.stdout + done.stderr
        # One, a tenth (at least one), and the rest.
        assert done.stdout.count("PLAY [Roll out") == 3, done.stdout
        before = [rules(name) for name in names]
        assert all("192.168.1.20" in one for one in before)

        # A change that fails on the canary goes no further.
        describe(folder, names, **reach, gateway_port_forwards=[BAD])
        done = rollout(folder)
        assert done.returncode == 2, done.stdout + done.stderr
        assert f"[{names[0]}]" in done.stdout
        assert not [name for name in names[1:] if name in done.stdout], done.stdout
        assert [rules(name) for name in names] == before


# -- gateways that pull ----------------------------------------------------------------------------------------------

#: A separate host: its network, /run, and changes under /etc disappear with it.
HOST = """
mount -t tmpfs tmpfs /run
mkdir -p /run/etc /run/work
mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/etc,workdir=/run/work /etc
ip -batch - <<LINKS
{links}
LINKS
echo ready
exec sleep infinity
"""


class Pulling:
    """A gateway with a repository that it can see, and a checkout of its own."""

    def __init__(self, pid: int, folder: Path) -> None:
        self.pid, self.folder = pid, folder
        self.origin = repository(
            folder / "origin", ["localhost"], gateway_port_forwards=[GOOD], gateway_confirm_timeout=15
        )
        self.git("init", "--quiet", "--initial-branch", "main")
        self.commit()

    def git(self, *words: str) -> None:
        author = ["-c", "user.name=test", "-c", "user.email=test@example.net"]
        subprocess.run(["git", *author, *words], cwd=self.origin, check=True, capture_output=True)

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "what is declared")

    def run(self, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        argv = ["nsenter", "--target", str(self.pid), "--net", "--mount", f"--wd={cwd or self.folder}", *words]
        env = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_PYTHON_INTERPRETER": sys.executable}
        return subprocess.run(argv, env=env, text=True, capture_output=True, check=False)

    def pull(self) -> subprocess.CompletedProcess[str]:
        argv = ["ansible-pull", "--url", f"file://{self.origin}", "--checkout", "main"]
        return self.run(*argv, "--directory", str(self.folder / "checkout"), "--inventory", "hosts.yml", "pull.yml")

    def rules(self) -> str:
        return self.run("nft", "-s", "list", "ruleset").stdout


@pytest.fixture
def pulling(tmp_path: Path) -> t.Iterator[Pulling]:
    script = HOST.format(links=fleet.LINKS.strip())
    argv = ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-ec", script]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as host:
        try:
            assert host.stdout
            said = host.stdout.readline()
            assert said == "ready\n", said + host.stdout.read()
            yield Pulling(host.pid, tmp_path)
        finally:
            with contextlib.suppress(ProcessLookupError):
                host.kill()


def test_pull(pulling: Pulling) -> None:
    done = pulling.pull()
    assert done.returncode == 0, done.stdout + done.stderr
    before = pulling.rules()
    assert "192.168.1.20" in before
    assert not pulling.run("ls", "/run/ipmasq/default").stdout

    # Nothing new: nothing is changed, and nothing waits.
    done = pulling.pull()
    # ansible-pull and the ansible-playbook that it starts print to the same place, in any order.
    assert done.returncode == 0 and re.search(r"^localhost .* changed=0 ", done.stdout, re.MULTILINE), done.stdout

    # A change that makes the repository unreachable is rolled back.
    describe(pulling.origin, ["localhost"], gateway_port_forwards=[dict(GOOD, port=8443)], gateway_confirm_timeout=15)
    pulling.commit()
    checkout = pulling.folder / "checkout"
    subprocess.run(["git", "pull", "--quiet"], cwd=checkout, check=True)
    pulling.origin.rename(pulling.folder / "away")
    done = pulling.run("ansible-playbook", "-i", "hosts.yml", "pull.yml", cwd=checkout)
    assert done.returncode == 2, done.stdout
    assert "Reach the repository" in done.stdout and "changed=1" in done.stdout, done.stdout
    deadline = time.monotonic() + 40
    while pulling.rules() != before:
        assert time.monotonic() < deadline, pulling.rules()
        time.sleep(0.5)
