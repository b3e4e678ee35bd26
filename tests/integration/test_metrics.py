# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The metrics say what the packets did, on every backend; and promtool accepts them.

systemd is not the first process here, so a program of the test starts and stops what the timer would.
"""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import urllib.request

import pytest
import sandbox
from helpers import GUESTS, OFFICE, Gate, ServiceHost, unpacked
from sandbox import sh
from topology import GATE4, WAN4
from unhurried import patience, wait_until

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.iptables.listing import FINAL
from ansible_collections.ipmasq.linux.plugins.module_utils._init.scripts import SCRIPT
from ansible_collections.ipmasq.linux.plugins.module_utils._init.units import UNIT
from ansible_collections.ipmasq.linux.plugins.module_utils._intent import metrics
from ansible_collections.ipmasq.linux.plugins.module_utils._rollback import rollback
from ansible_collections.ipmasq.linux.plugins.module_utils._services.samples import OURS

ROOT = pathlib.Path(__file__).resolve().parents[2]
#: What the units make systemd do: the service runs at once when its timer starts.
SYSTEMCTL = r"""#!/bin/sh
root=ROOT
wants=$root/etc/systemd/system/sysinit.target.wants
name=$(echo "$*" | sed -n 's/.*ipmasq-metrics@\([a-z0-9_]*\)\.timer.*/\1/p')
case "$*" in
enable*) mkdir -p $wants && : > $wants/ipmasq.service; exit ;;
disable*) rm -f $wants/ipmasq.service; exit ;;
esac
[ -n "$name" ] || exit 0
case "$*" in
is-active*) [ -e $root/run/timer-$name ]; exit ;;
stop*) rm -f $root/run/timer-$name; exit ;;
esac
[ -e $root/etc/systemd/system/ipmasq-metrics@.timer ] || exit 5
: > $root/run/timer-$name
exec sh $root/etc/ipmasq/metrics write $name
"""
LANS = [OFFICE, GUESTS]
WANS = [{"interface": "wan0"}]
WEB = {"name": "web", "port": ["8080"], "to": ["192.168.1.10"], "to_port": 80}
WAITS = rollback.Confirmation(3600, "token", "14:05:30")
SAMPLE = re.compile(r"^(\w+)\{(.*)\} (\S+)$", re.M)
ON_NFT = pytest.mark.parametrize("backend", ["nft"])


class MeteredHost(ServiceHost):
    """A host whose collector is started by that program."""

    def __init__(self, root, **options) -> None:
        super().__init__(root, {"systemctl": SYSTEMCTL}, **options)


@pytest.fixture
def gate(backend, tmp_path, monkeypatch):
    made = Gate(backend, tmp_path, MeteredHost)
    # The folder of a test may be in memory.
    monkeypatch.setattr(metrics, "NOT_BELOW", tuple(each for each in metrics.NOT_BELOW if each != "/dev/"))
    monkeypatch.setattr(sandbox, "PATH", "{0}/bin:{1}".format(tmp_path, sandbox.PATH))
    monkeypatch.setenv("XTABLES_LOCKFILE", str(tmp_path / "xtables.lock"))
    return made


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "textfiles"


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory):
    """Debian's programs, unpacked: none is started on this machine."""
    return unpacked(tmp_path_factory, "prometheus", "prometheus-node-exporter")


@pytest.fixture
def promtool(prometheus):
    return prometheus / "promtool"


def metered(gate, folder, **options):
    given = dict({"wans": WANS, "lans": LANS, "metrics": "textfile", "metrics_folder": str(folder)}, **options)
    return gate.apply(**given)


def both_metered(gate, folder):
    """The default instance and another one."""
    metered(gate, folder)
    metered(gate, folder, instance="other", wans=[{"interface": "up1"}], lans=[OTHERS])


#: The LAN of another instance.
OTHERS = dict(GUESTS, interfaces=["up2"], networks=["192.168.3.0/24"])


def written(gate, folder, instance="default"):
    """The samples of a new file, by name and labels."""
    sh("sh {0} write {1}".format(gate.host.place("/etc/ipmasq/metrics"), instance))
    text = (folder / "ipmasq-{0}.prom".format(instance)).read_text()
    found = {}
    for name, labels, value in SAMPLE.findall(text):
        pairs = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels))
        assert pairs.pop("gateway") == instance
        key = (name[len("ipmasq_") :], *sorted(pairs.items()))
        assert key not in found, "twice: {0}".format(key)
        found[key] = float(value)
    return found


def of(samples, name, **labels):
    (value,) = [each for key, each in samples.items() if key[0] == name and labels.items() <= dict(key[1:]).items()]
    return value


def checked(promtool, text):
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_counters_are_what_the_packets_did(gate, net, folder, promtool):
    done = metered(gate, folder, port_forwards=[WEB]).to_dict()
    assert "metrics: textfile in {0}\n".format(folder) in done["diff"]["after"]
    (file,) = folder.iterdir()
    assert (file.name, file.stat().st_mode & 0o777) == ("ipmasq-default.prom", 0o644)
    assert checked(promtool, file.read_text()) == (0, "")
    assert 'ipmasq_change_pending{gateway="default"} 0\n' in file.read_text(), "the change is not over yet"
    assert 'ipmasq_as_applied{gateway="default",what="rules"} 1\n' in file.read_text()
    assert checked(promtool, file.read_text().replace("_total", ""))[0] != 0
    before = written(gate, folder)
    assert net.tcp("office", "wan", WAN4) == GATE4
    assert net.tcp("wan", "office", GATE4, port=8080, timeout=1).startswith("refused")
    net.tcp("wan", "guest", "192.168.2.10", timeout=0.2)
    net.tcp("guest", "office", "192.168.1.10", timeout=0.2)
    after = written(gate, folder)

    def rose(name, **labels):
        return of(after, name, **labels) - of(before, name, **labels)

    assert rose("item_packets_total", kind="nat", item="default", action="masquerade") == 1
    # SYN, ACK, data, ACK and FIN of a client; what comes back is an answer.
    assert rose("item_packets_total", kind="lan", item="office", action="accept") >= 4
    assert rose("item_bytes_total", kind="lan", item="office", action="accept") >= 4 * 40
    assert rose("item_packets_total", kind="answers", action="accept") >= 4
    assert rose("item_packets_total", kind="port_forward", item="web", action="dnat") == 1
    assert rose("item_packets_total", kind="port_forward", item="web", action="accept") == 1
    assert rose("stopped_packets_total", reason="closed") >= 1
    assert rose("stopped_packets_total", reason="isolation") >= 1
    assert rose("stopped_packets_total", reason="guard") == 0
    assert of(after, "build_info", version="1.0.0", backend=gate.programs) == 1
    assert of(after, "conntrack_entries") > 0
    assert of(after, "conntrack_entries_limit") == int(sh("cat /proc/sys/net/netfilter/nf_conntrack_max"))
    assert abs(of(after, "applied_timestamp_seconds") - file.stat().st_mtime) < 120
    counted = {each["name"]: each["packets"] for each in gate.info()["counters"]}
    assert of(after, "item_packets_total", kind="nat") == counted["nat/default"]


def test_each_of_many_port_forwards_is_counted(gate, net, folder, promtool):
    many = [dict(WEB, name="w{0}".format(port), port=[str(port)], to_port=port) for port in range(8000, 8100)]
    metered(gate, folder, port_forwards=many)
    before = written(gate, folder)
    assert net.tcp("wan", "office", GATE4, port=8042) == WAN4
    after = written(gate, folder)
    rose = {
        key: after[key] - before[key] for key in after if key[0] == "item_packets_total" and after[key] > before[key]
    }
    forwards = {dict(key[1:])["action"]: rose[key] for key in rose if ("item", "w8042") in key}
    assert forwards == {"dnat": 1, "accept": 1}
    assert not [key for key in rose if ("kind", "port_forward") in key and ("item", "w8042") not in key]
    assert len([key for key in after if key[0] == "item_packets_total" and ("kind", "port_forward") in key]) == 200
    assert of(after, "items_left_out") == 0
    # A counter changes nothing, and somebody does.
    assert of(after, "as_applied", what="rules") == 1
    if gate.programs == "nft":
        sh("nft add counter inet ipmasq port_forward/w1/dnat")
        assert of(written(gate, folder), "as_applied", what="rules") == 0


def test_whatever_somebody_changes_is_told(gate, net, folder):
    metered(gate, folder)
    parts = ("rules", "switches", "files")

    def as_applied():
        samples = written(gate, folder)
        return {what: of(samples, "as_applied", what=what) for what in parts}

    assert as_applied() == dict.fromkeys(parts, 1)
    if gate.programs == "nft":
        sh("nft insert rule inet ipmasq forward accept")
    else:
        sh("{0} -I IPMASQ-FORWARD -j ACCEPT".format(gate.tool()))
    assert as_applied() == {"rules": 0, "switches": 1, "files": 1}
    assert not gate.info()["as_applied"]
    metered(gate, folder)
    assert as_applied() == dict.fromkeys(parts, 1)
    # A counter, and a link that comes and goes, change nothing.
    assert net.tcp("office", "wan", WAN4) == GATE4
    sh("ip link add more0 type veth peer name more1; ip link del more0")
    assert as_applied() == dict.fromkeys(parts, 1)
    sh("echo 0 > /proc/sys/net/ipv4/ip_forward")
    gate.host.put("/etc/ipmasq/default.sysctl", "")
    assert as_applied() == {"rules": 1, "switches": 1, "files": 0}
    metered(gate, folder)
    sh("echo 0 > /proc/sys/net/ipv4/ip_forward")
    assert as_applied() == {"rules": 1, "switches": 0, "files": 1}
    metered(gate, folder)
    # A single link, as NetworkManager and networkd may set it.
    for switch in ("ipv4/conf/lan0", "ipv6/conf/wan0"):
        sh("echo 0 > /proc/sys/net/{0}/forwarding".format(switch))
        assert as_applied() == {"rules": 1, "switches": 0, "files": 1}, switch
        assert not gate.info()["as_applied"]
        metered(gate, folder)
        assert as_applied() == dict.fromkeys(parts, 1)
    # What the next boot needs, and links that the loader has shut.
    unit = next(path for path in (UNIT, SCRIPT) if gate.host.exists(path))
    for change in (
        "rm {0}/ipmasq/boot", ": > {0}" + unit[len("/etc") :], "chmod 644 {0}/ipmasq/default.json",
        "rm -f {0}/systemd/system/sysinit.target.wants/ipmasq.service {0}/rcS.d/S*ipmasq {0}/runlevels/*/ipmasq",
    ):  # fmt: skip
        sh(change.format(gate.host.place("/etc")))
        assert as_applied() == {"rules": 1, "switches": 1, "files": 0}, change
        metered(gate, folder)
        assert as_applied() == dict.fromkeys(parts, 1), change
    sh("ip rule add pref 6 iif lan9 blackhole")
    assert as_applied() == dict.fromkeys(parts, 1)
    sh("ip -6 rule add pref 6 iif lan0 blackhole")
    assert as_applied() == {"rules": 0, "switches": 1, "files": 1}
    sh("ip -6 rule del pref 6")
    # All links, because the list of another instance is damaged.
    sh("ip rule del pref 6; ip rule add not iif lo pref 6 blackhole")
    assert as_applied() == {"rules": 0, "switches": 1, "files": 1}
    sh("ip rule del pref 6")


@pytest.mark.parametrize("backend", ["iptables-nft", "iptables-legacy"])
def test_a_rule_of_others_that_decides_first_is_told(gate, net, folder):
    """Whatever the backend takes for one."""
    metered(gate, folder)
    sh("{0} -I FORWARD -s 192.0.2.1 -j LOG; {0} -N PAST".format(gate.tool()))
    assert of(written(gate, folder), "as_applied", what="rules") == 1
    for target in ("-j ACCEPT", "-j RETURN", "-g PAST"):
        sh("{0} -I FORWARD {1}".format(gate.tool(), target))
        assert of(written(gate, folder), "as_applied", what="rules") == 0
        assert not gate.info()["as_applied"]
        sh("{0} -D FORWARD {1}".format(gate.tool(), target))


def test_the_collector_knows_what_decides():
    listing = "*filter\n[0:0] -A FORWARD {0}\n[0:0] -A FORWARD -j IPMASQ-FORWARD\n"
    for target in sorted(FINAL):
        text = listing.format("-j " + target)
        done = subprocess.run(["awk", "-v", "instance=default", OURS], input=text, stdout=-1, text=True, check=True)
        assert "-j {0}; -A FORWARD -j IPMASQ".format(target) in done.stdout


@ON_NFT
def test_the_order_in_which_a_set_is_listed_changes_nothing(gate, net, folder):
    """Rules that somebody has saved and loaded again, the elements of their sets in another order."""
    metered(gate, folder, lans=[dict(OFFICE, networks=["192.168.1.0/24", "10.1.0.0/16", "fd00:1::/64"]), GUESTS])
    listed = sh("nft list table inet ipmasq")
    turned = re.sub(r"\{ ([^{}]*) \}", lambda found: "{ " + ", ".join(found.group(1).split(", ")[::-1]) + " }", listed)
    assert turned != listed
    loader = gate.host.root / "turned"
    loader.write_text("delete table inet ipmasq\n" + turned)
    sh("nft -f {0}".format(loader))
    assert of(written(gate, folder), "as_applied", what="rules") == 1
    loader.write_text("delete table inet ipmasq\n" + turned.replace("192.168.1.0/24", "192.168.3.0/24"))
    sh("nft -f {0}".format(loader))
    assert of(written(gate, folder), "as_applied", what="rules") == 0


@ON_NFT
def test_a_change_that_waits_and_is_rolled_back(gate, net, folder):
    metered(gate, folder)
    before = gate.host.snapshot()
    metered(gate, folder, port_forwards=[WEB], metrics_folder=str(folder / "more"), confirmation=WAITS)
    waiting = written(gate, folder)
    assert of(waiting, "change_pending") == 1
    assert not [key for key in waiting if key[0] == "as_applied" and ("what", "rules") in key]
    assert not (folder / "more").exists()
    # As while the change is being kept.
    gate.host.put("/etc/ipmasq/default.ipmasq-new/default.json", "{}")
    for path, mode in (("", 0o700), ("/default.json", 0o600)):
        os.chmod(gate.host.place("/etc/ipmasq/default.ipmasq-new" + path), mode)
    assert of(written(gate, folder), "as_applied", what="files") == 1
    sh("sh {0}".format(gate.host.place("/run/ipmasq/default/restore")))
    after = written(gate, folder)
    assert of(after, "change_pending") == 0
    assert of(after, "as_applied", what="rules") == 1
    assert {**gate.host.snapshot(), "files": 0} == {**before, "files": 0}


@ON_NFT
def test_absent_leaves_nothing(gate, net, folder):
    both_metered(gate, folder)
    assert sorted(each.name for each in folder.iterdir()) == ["ipmasq-default.prom", "ipmasq-other.prom"]
    assert of(written(gate, folder, "other"), "as_applied", what="rules") == 1
    gate.absent()
    assert [each.name for each in folder.iterdir()] == ["ipmasq-other.prom"]
    assert of(written(gate, folder, "other"), "as_applied", what="files") == 1
    gate.absent("other")
    assert not folder.exists()
    left = [str(path.relative_to(gate.host.root)) for path in gate.host.root.rglob("*")]
    assert [path for path in left if "metrics" in path or "timer" in path or path.endswith(".loaded")] == []


@ON_NFT
def test_metrics_go_and_the_gateway_stays(gate, net, folder):
    folder.mkdir()
    (folder / "others.prom").write_text("up 1\n")
    metered(gate, folder)
    # Nobody here holds the fence.
    assert not [line for line in metered(gate, folder).to_dict()["differences"] if "fence" not in line]
    moved = folder / "below"
    assert metered(gate, folder, metrics_folder=str(moved)).changed
    assert [each.name for each in folder.iterdir() if each.is_file()] == ["others.prom"]
    assert [each.name for each in moved.iterdir()] == ["ipmasq-default.prom"]
    gate.apply(wans=WANS, lans=LANS)
    assert [each.name for each in folder.iterdir()] == ["others.prom"]
    assert not gate.host.exists("/etc/ipmasq/metrics") and not gate.host.exists("/run/timer-default")
    assert gate.host.exists("/etc/ipmasq/boot")


@ON_NFT
def test_drift_of_the_timer_is_seen_and_mended(gate, net, folder):
    metered(gate, folder)
    sh("systemctl stop ipmasq-metrics@default.timer")
    told = "- metrics: not written (systemctl status ipmasq-metrics@default.timer)"
    assert told in gate.info()["drift"]
    assert "~ metrics: written again" in metered(gate, folder, check=True).to_dict()["differences"]
    assert "~ metrics: written again" in metered(gate, folder).to_dict()["differences"]
    assert told not in gate.info()["drift"]
    gate.host.put("/etc/ipmasq/metrics", "exit 0\n")
    assert "~ /etc/ipmasq/metrics: differs from what was written" in gate.info()["drift"]
    assert metered(gate, folder).changed


@ON_NFT
def test_check_mode_touches_nothing(gate, net, folder):
    before = gate.host.snapshot()
    assert metered(gate, folder, check=True).changed
    assert gate.host.snapshot() == before and not folder.exists()


def test_after_a_boot(gate, net, folder):
    metered(gate, folder)
    gate.host.remove("/run/ipmasq/default.loaded")
    assert not [key for key in written(gate, folder) if ("what", "rules") in key]
    done = gate.host.boot()
    assert done.returncode == 0, done.stderr
    assert of(written(gate, folder), "as_applied", what="rules") == 1


@ON_NFT
def test_ports_of_a_pool_and_their_limit(gate, net, folder):
    pool = {"name": "pool", "action": "snat", "to": ["203.0.113.20-203.0.113.21"], "to_address": "add"}
    metered(gate, folder, nat=[pool])
    before = written(gate, folder)
    addresses = ("203.0.113.20", "203.0.113.21")
    assert [of(before, "nat_ports_used", address=each, protocol="udp") for each in addresses] == [0, 0]
    for port in (5301, 5302, 5303):
        assert net.udp("office", "wan", WAN4, port=port) in addresses
    after = written(gate, folder)
    assert sum(of(after, "nat_ports_used", address=each, protocol="udp") for each in addresses) == 3
    assert of(after, "nat_ports_used", address="203.0.113.20", protocol="tcp") == 0


@ON_NFT
def test_whoever_owns_the_folder_gains_nothing(gate, net, folder, tmp_path):
    """The file that others read is replaced, never written through a link; what cannot be written is an error."""
    precious = tmp_path / "precious"
    precious.write_text("x")
    folder.mkdir()
    (folder / "ipmasq-default.prom").symlink_to(precious)
    metered(gate, folder)
    assert precious.read_text() == "x"
    assert not (folder / "ipmasq-default.prom").is_symlink()
    (folder / "ipmasq-default.prom").unlink()
    (folder / "ipmasq-default.prom").mkdir()
    collector = gate.host.place("/etc/ipmasq/metrics")
    done = subprocess.run(["sh", collector, "write", "default"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "is a folder" in done.stderr
    assert [each.name for each in folder.iterdir()] == ["ipmasq-default.prom"]
    assert not list(pathlib.Path(gate.host.place("/run/ipmasq")).glob(".metrics.*"))


@ON_NFT
def test_no_link_leads_the_file_elsewhere(gate, net, folder, tmp_path):
    """The owner of the folder, or of one above it, makes a link at the worst moment."""
    metered(gate, folder)
    collector = gate.host.place("/etc/ipmasq/metrics")

    def write():
        return subprocess.run(["sh", collector, "write", "default"], capture_output=True, text=True, check=False)

    victim, file = tmp_path / "victim", folder / "ipmasq-default.prom"
    victim.mkdir()
    file.unlink(missing_ok=True)
    file.symlink_to(victim)
    assert write().returncode == 0
    assert file.is_file() and not file.is_symlink() and not list(victim.iterdir())
    (victim / "deeper").mkdir()
    folder.rename(tmp_path / "gone")
    conf = pathlib.Path(gate.host.place("/etc/ipmasq/default.metrics"))
    for above, place in ((folder, folder), (tmp_path / "above", tmp_path / "above/deeper")):
        above.symlink_to(victim)
        conf.write_text(re.sub("(?m)^folder .*", "folder {0}".format(place), conf.read_text()))
        done = write()
        assert done.returncode == 1 and "{0} is not a folder, or a link to one".format(above) in done.stderr
        assert [each.name for each in victim.rglob("*")] == ["deeper"]


@ON_NFT
@pytest.mark.parametrize("act", ["record", "write"])
def test_the_environment_names_nothing_that_is_removed(gate, net, folder, tmp_path, act):
    metered(gate, folder)
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "x").write_text("x")
    for variable in ("part", "work"):
        named = str(precious / "x" if variable == "part" else precious)
        sh("{0}={1} sh {2} {3} default".format(variable, named, gate.host.place("/etc/ipmasq/metrics"), act))
    assert (precious / "x").read_text() == "x"


@ON_NFT
def test_node_exporter_reads_two_instances(gate, net, folder, prometheus):
    """It refuses a whole file if a name, a type or a text differs from that of another file."""
    both_metered(gate, folder)
    words = [prometheus / "prometheus-node-exporter", "--collector.disable-defaults", "--collector.textfile",
             "--collector.textfile.directory={0}".format(folder), "--web.listen-address=127.0.0.1:9100"]  # fmt: skip
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as exporter:
        try:
            wait_until(metrics_page, "the page of node_exporter")
            seen = metrics_page()
        finally:
            exporter.kill()
    assert "node_textfile_scrape_error 0" in seen
    for instance in ("default", "other"):
        assert 'ipmasq_as_applied{{gateway="{0}",what="rules"}} 1'.format(instance) in seen


def metrics_page():
    try:
        with urllib.request.urlopen("http://127.0.0.1:9100/metrics", timeout=patience()) as answer:
            return answer.read().decode()
    except OSError:
        return ""


def test_the_alerts(promtool):
    done = subprocess.run(
        [promtool, "test", "rules", "alerts_test.yml"], cwd=ROOT / "examples/monitoring",
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("first", [True, False])
def test_a_rule_that_is_slipped_in_before_a_change_is_confirmed_was_not_applied(gate, folder, net, first):
    waits = rollback.waiting(600)
    if not first:
        metered(gate, folder)
    metered(gate, folder, port_forwards=[WEB], confirmation=waits)
    if gate.programs == "nft":
        sh("nft insert rule inet ipmasq forward accept")
    else:
        sh(gate.tool() + " -I IPMASQ-BETWEEN -j ACCEPT")
    rollback.finish("default", waits.token, True, gate.host)
    assert of(written(gate, folder), "as_applied", what="rules") == 0
    assert metered(gate, folder, port_forwards=[WEB]).changed
    assert of(written(gate, folder), "as_applied", what="rules") == 1


@ON_NFT
def test_a_rollback_leaves_what_was_loaded_before(gate, folder, net):
    metered(gate, folder)
    waits = rollback.waiting(600)
    metered(gate, folder, port_forwards=[WEB], confirmation=waits)
    rollback.finish("default", waits.token, False, gate.host)
    assert of(written(gate, folder), "as_applied", what="rules") == 1
    assert not gate.host.exists("/run/ipmasq/default.loading")
