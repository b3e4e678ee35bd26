# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What survives a reboot: files and their modes."""

from __future__ import annotations

import stat
import subprocess

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.iptables.backend import Iptables
from ansible_collections.ipmasq.linux.plugins.module_utils._backend.nftables.backend import Nftables
from ansible_collections.ipmasq.linux.plugins.module_utils._change import persist
from ansible_collections.ipmasq.linux.plugins.module_utils._change.state import State
from ansible_collections.ipmasq.linux.plugins.module_utils._init import service
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.items import Masquerade
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.order import PARTS
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.part import Scene, parts_of
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.rules import RULES, Loaded
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.switches import SWITCHES, Held
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.compile import compile_item
from ansible_collections.ipmasq.linux.tests.unit import fakes

RULESET = compile_item("default", Masquerade("lan", ("192.168.1.0/24",), "ppp0"))
SET = (("net/ipv6/conf/ppp0/accept_ra", "2"), ("net/ipv4/ip_forward", "1"))
BACKENDS = {"nft": Nftables(), "iptables-nft": Iptables("nft", ("ip", "ip6"))}


def state(programs="nft", rows=None, switches=SET):
    rows = BACKENDS[programs].render(RULESET) if rows is None else rows
    return State("default", "items", parts_of((RULES, Loaded(programs, rows)), (SWITCHES, Held(switches))))


def files_of(given, host):
    return persist.files_of(given, PARTS, Scene("default", BACKENDS[RULES.of(given).programs]), host)


COMMON = {"/etc/ipmasq/default" + ending: 0o600 for ending in (".json", ".load", ".sums")}
COMMON["/etc/ipmasq/boot"] = 0o700
SWITCH_FILES = {"/etc/ipmasq/default.sysctl": 0o600, "/etc/sysctl.d/90-ipmasq-default.conf": 0o644}
UNIT = {"/etc/systemd/system/ipmasq.service": 0o644}
#: state, files and modes
TEST_FILES = [
    (state(), dict(COMMON, **SWITCH_FILES, **UNIT, **{"/etc/ipmasq/default.nft": 0o600})),
    (
        state("iptables-nft"),
        dict(
            COMMON,
            **SWITCH_FILES,
            **UNIT,
            **{"/etc/ipmasq/default.iptables": 0o600, "/etc/ipmasq/default.ip6tables": 0o600},
        ),
    ),
    (
        state(switches=(("net/ipv4/ip_forward", "1"),)),
        dict(COMMON, **UNIT, **{"/etc/ipmasq/default.nft": 0o600, "/etc/ipmasq/default.sysctl": 0o600}),
    ),
    (state(rows=(), switches=()), dict(COMMON, **UNIT)),
]


@pytest.mark.parametrize(("given", "modes"), TEST_FILES)
def test_files_and_modes(given, modes):
    files = files_of(given, fakes.FakeHost())
    assert {path: mode for path, (_text, mode) in files.items()} == modes
    assert all(text.endswith("\n") for text, _mode in files.values())


def test_no_unit_without_systemd():
    host = fakes.FakeHost()
    del host.files["/run/systemd/system/x"]
    assert service.UNIT not in files_of(state(), host)


def test_what_the_files_say():
    files = files_of(state(), fakes.FakeHost())
    assert files["/etc/ipmasq/default.sysctl"][0] == "net/ipv6/conf/ppp0/accept_ra 2\nnet/ipv4/ip_forward 1\n"
    assert files["/etc/sysctl.d/90-ipmasq-default.conf"][0].splitlines()[1:] == ["-net/ipv6/conf/ppp0/accept_ra = 2"]
    assert "default.nft" in files["/etc/ipmasq/default.load"][0]


def test_outdated():
    host = fakes.FakeHost()
    files = files_of(state(), host)
    assert persist.outdated(files, host) == list(files)
    for path, (text, mode) in files.items():
        host.write(path, text, mode)
    assert persist.outdated(files, host) == []
    host.modes["/etc/ipmasq/default.json"] = 0o644
    host.files["/etc/ipmasq/boot"] += "# mine\n"
    assert persist.outdated(files, host) == ["/etc/ipmasq/default.json", "/etc/ipmasq/boot"]


def test_stale_files():
    host = fakes.FakeHost()
    for name in ("default.json", "default.load", "default.iptables", "default.sysctl", "lab.json", "lab.nft", "boot"):
        host.files["/etc/ipmasq/" + name] = ""
    host.files[service.UNIT] = ""
    wanted = {"/etc/ipmasq/default.json": 0, "/etc/ipmasq/default.load": 0, "/etc/ipmasq/boot": 0, service.UNIT: 0}
    assert persist.stale_files(Scene("default"), PARTS, wanted, host) == [
        "/etc/ipmasq/default.iptables",
        "/etc/ipmasq/default.sysctl",
    ]
    gone = persist.stale_files(Scene("default"), PARTS, {}, host)
    assert persist.LOADER not in gone
    assert service.UNIT not in gone
    host.files = {path: text for path, text in host.files.items() if "/lab." not in path}
    assert {persist.LOADER, service.UNIT} <= set(persist.stale_files(Scene("default"), PARTS, {}, host))


def test_a_file_of_an_earlier_release_goes_with_the_next_run():
    host = fakes.FakeHost()
    old = service.OLD[0]
    host.files.update({"/etc/ipmasq/default.json": "", "/etc/ipmasq/lab.json": "", old: ""})
    wanted = {"/etc/ipmasq/default.json": 0}
    assert old in persist.stale_files(Scene("default"), PARTS, wanted, host)
    # The other instance still needs it: its own run has not written the new one yet.
    assert old not in persist.stale_files(Scene("default"), PARTS, {}, host)
    del host.files["/etc/ipmasq/lab.json"]
    assert old in persist.stale_files(Scene("default"), PARTS, {}, host)
    assert "systemctl daemon-reload" in service.lines(service.init_of(host), [], [old], False)[1]


#: In place of the host's own ip: a boot that fails shuts links by policy routing rules. Like busybox's, it has
#: none of multicast.
IP = """
ip() {{
    case "$*" in
    *"mrule"*) echo "Option \\"mrule\\" is unknown" >&2; return 255 ;;
    *"rule show"*) echo "0: from all lookup local" ;;
    *) echo "$*" >> {0} ;;
    esac
}}
"""


@pytest.fixture
def boot(tmp_path):
    """The loader with /etc/ipmasq, /run/ipmasq and /proc/sys of its own; returns the exit code and what was written, in
    order. ``boot.routing`` has the policy routing rules."""
    etc, proc = tmp_path / "etc", tmp_path / "proc"
    etc.mkdir()
    for key in ("net/ipv4", "net/ipv6/conf/all", "net/ipv6/conf/ppp0"):
        (proc / key).mkdir(parents=True)
    for key in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding", "net/ipv6/conf/ppp0/accept_ra"):
        (proc / key).write_text("1\n")
    head = "cd /etc/ipmasq || exit 1\n"
    assert head in persist.LOADER_TEXT
    text = persist.LOADER_TEXT.replace(head, head + IP.format(tmp_path / "routing"))
    for path, own in (("/etc/ipmasq", etc), ("/proc/sys", proc), ("/run/ipmasq", tmp_path / "run")):
        text = text.replace(path, str(own))

    def run(files, damage=None):
        for name, content in files.items():
            (etc / name).write_text(content)
        for instance in {name.split(".")[0] for name in files}:
            names = sorted(name for name in files if name.split(".")[0] == instance)
            sums = subprocess.run(
                ["sha256sum", *("./" + name for name in names)], cwd=etc, stdout=subprocess.PIPE, check=True
            )
            (etc / (instance + ".sums")).write_bytes(sums.stdout + b"# complete\n")
        for name, content in (damage or {}).items():
            if content is None:
                (etc / name).unlink()
            else:
                (etc / name).write_text(content)
        loader = etc / "boot"
        loader.write_text(text)
        loader.chmod(stat.S_IRWXU)
        done = subprocess.run(["/bin/sh", str(loader)], capture_output=True, timeout=20, check=False)
        values = {str(path.relative_to(proc)): path.read_text().strip() for path in proc.rglob("*") if path.is_file()}
        return done.returncode, values, done.stderr.decode()

    run.routing = tmp_path / "routing"
    run.notes = lambda: sorted(path.name for path in (tmp_path / "run").glob("*.unlisted"))
    return run


def test_boot_loads_and_then_switches(boot):
    code, values, _err = boot(
        {"a.json": "", "a.load": "true\n", "a.sysctl": "net/ipv6/conf/ppp0/accept_ra 2\nabsent/x 1\n"}
    )
    assert (code, values["net/ipv6/conf/ppp0/accept_ra"]) == (0, "2")


TEST_CLOSED = [
    ({"a.json": "", "a.load": "false\ntrue\n", "a.sysctl": "net/ipv4/ip_forward 1\n"}, "a: its rules were not loaded"),
    ({"a.json": "", "a.load": "true\n", "b.json": "", "b.load": "exit 3\n"}, "b: its rules were not loaded"),
]


@pytest.mark.parametrize(("files", "message"), TEST_CLOSED)
def test_boot_fails_closed(boot, files, message):
    code, values, err = boot(files)
    assert code == 1
    assert message in err
    assert values["net/ipv4/ip_forward"] == values["net/ipv6/conf/all/forwarding"] == "0"


GOOD_BOOT = {"a.json": "", "a.load": "true\n", "a.sysctl": "net/ipv4/ip_forward 1\n"}


@pytest.mark.parametrize("name", [*GOOD_BOOT, "a.sums"])
@pytest.mark.parametrize("text", ["", "net/ipv4/ip_forward 1", "\0garbage"])
def test_a_damaged_file_fails_closed_and_is_named(boot, name, text):
    if GOOD_BOOT.get(name) == text:
        pytest.skip("that is what it says")
    code, values, err = boot(GOOD_BOOT, {name: text})
    assert (code, values["net/ipv4/ip_forward"]) == (1, "0")
    assert name in err and "forwarding is off" in err


LISTED = {**GOOD_BOOT, "a.shut": "lan0\n"}
UNLISTED = {
    "gone": {"a.shut": None},
    "cut short": {"a.shut": "la"},
    "other": {"a.shut": "lan1\n"},
    "sums gone": {"a.sums": None},
    "sums cut short": {"a.sums": "# compl"},
    "list and sums": {"a.shut": None, "a.sums": "x  ./a.shut\n# complete\n"},
    "only in sums": {"a.shut": None, "a.json": "x"},
}


@pytest.mark.parametrize("damage", UNLISTED.values(), ids=UNLISTED)
def test_every_link_is_shut_if_it_is_not_known_which_are_the_gateways(boot, damage):
    code, _values, err = boot(LISTED, damage)
    assert code == 1 and "forwarding is off" in err
    shut = boot.routing.read_text()
    for family in ("-4", "-6"):
        assert family + " rule add pref 6 not iif lo blackhole" in shut
    assert boot.notes() == ["a.unlisted"]


def test_links_are_shut_by_their_names_while_these_are_known(boot):
    # Another instance, of single items, has no links of its own.
    boot({**LISTED, "b.json": "", "b.load": "true\n"}, {"a.json": "x"})
    shut = boot.routing.read_text()
    assert "iif lan0 blackhole" in shut and "not iif" not in shut and not boot.notes()


def test_a_note_tells_whose_pattern_shuts_every_link(boot):
    boot({**GOOD_BOOT, "a.shut": "lan*\n", "b.json": "", "b.load": "true\n"}, {"b.json": "x"})
    assert "not iif lo blackhole" in boot.routing.read_text() and boot.notes() == ["a.unlisted"]


def test_a_boot_that_loads_forgets_which_list_was_damaged(boot):
    boot(LISTED, {"a.shut": None})
    assert boot.notes() and boot(LISTED)[0] == 0 and not boot.notes()


def test_a_change_that_lost_its_power_is_finished_at_boot(boot):
    done = boot(GOOD_BOOT, {"a.commit": "echo 2 > moved\nrm -f ./a.commit\n"})
    assert done[0] == 0
    assert boot({}, {"b.commit": "exit 1\n"})[0] == 1


def test_boot_without_any_instance(boot):
    assert boot({})[0] == 0
