# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A client, a gateway and a server as network namespaces, with generators of traffic. Nothing of it is on the host."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import typing as t
from pathlib import Path

from sandbox import Namespace, SandboxHost

from ansible_collections.ipmasq.linux.plugins.module_utils._change import engine
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import read_gateway
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

from . import report

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CLIENT, LAN, WAN, SERVER = "192.168.1.10", "192.168.1.1", "203.0.113.2", "203.0.113.1"
MOST_SENDERS = 32
#: What trafgen sends is dropped at the other end: the way through is measured, not who listens.
SINK = "nft add table netdev sink; nft 'add chain netdev sink in { type filter hook ingress device up0 priority 0; }';"
SINK += "nft add rule netdev sink in meta l4proto udp drop"
#: A udp packet of 60 bytes, the smallest frame of Ethernet without its checksum.
PACKET = """{{
  eth(da={gateway}, sa={sender}),
  ipv4(saddr={source}, daddr={target}, ttl=64),
  udp(sport={ports}, dport={port}),
  fill('x', 18)
}}
"""
NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_timeout 0;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 80 backlog=8192; return 200 "ok"; }}
}}
"""
#: The state of 10,000 entries is written and synchronised; no disk is to be measured.
MEMORY = next((each for each in ["/dev/shm"] if os.access(each, os.W_OK)), None)  # noqa: S108 - in folders of its own
COUNT, MAX = "/proc/sys/net/netfilter/nf_conntrack_count", "/proc/sys/net/netfilter/nf_conntrack_max"
PROGRAMS = {"trafgen": "netsniff-ng", "iperf3": "iperf3", "wrk": "wrk", "nft": "nftables", "conntrack": "conntrack"}


class Unable(RuntimeError):  # noqa: N818 - it is not an error
    """This machine cannot do what is to be measured; the text says why."""


def require(*programs: str) -> None:
    missing = [f"{each} (package {PROGRAMS.get(each, each)})" for each in programs if not shutil.which(each)]
    if missing:
        raise Unable("not installed: " + ", ".join(missing))


class Row:
    """Client — gateway — server; without a gateway, client and server are joined."""

    #: What was said to the gateway, and how many entries it has.
    says = ""
    entries = 0
    #: How many new flows make a sample, where that is less than elsewhere.
    flows = 0

    def __init__(self, stack: contextlib.ExitStack, gateway: bool = True) -> None:
        self.stack = stack
        self.client, self.server = self._node(), self._node()
        self.gateway = self._node() if gateway else None
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ipmasq-bench-", dir=MEMORY)))
        if self.gateway:
            self._join(self.client, f"{CLIENT}/24", self.gateway, "lan0", f"{LAN}/24")
            self._join(self.server, f"{SERVER}/24", self.gateway, "wan0", f"{WAN}/24")
            self._crowd(self.client, "lan0", CLIENT)
            self.client.sh(f"ip route add default via {LAN}")
            self.server.sh(f"ip route add 192.168.0.0/16 via {WAN}")
            self.gateway.sh(f"ip route add default via {SERVER}; echo 1 > /proc/sys/net/ipv4/ip_forward")
        else:
            self._join(self.client, f"{CLIENT}/24", self.server, "up0", f"{SERVER}/24")
            self.client.sh(f"ip route add {SERVER} dev up0")
            self.server.sh(f"ip route add {CLIENT} dev up0")
        for node in (self.client, self.server):
            node.sh(SINK)
            node.sh("echo 1024 65535 > /proc/sys/net/ipv4/ip_local_port_range")

    @property
    def router(self) -> Namespace:
        """The gateway of a row that has one."""
        assert self.gateway
        return self.gateway

    def _node(self) -> Namespace:
        node = Namespace()
        self.stack.callback(node.close)
        node.sh("ip link set lo up; echo 0 > /proc/sys/net/ipv6/conf/default/router_solicitations")
        return node

    def _join(self, end: Namespace, address: str, other: Namespace, link: str, other_address: str) -> None:
        other.sh(f"ip link add {link} type veth peer name up0 netns {end.path}" if link != "up0" else _twins(end))
        other.sh(f"ip addr add {other_address} dev {link}; ip link set {link} up")
        end.sh(f"ip addr add {address} dev up0; ip link set up0 up")
        # Neither ARP nor its timers are to be measured.
        for here, device, there, there_device, there_address in (
            (end, "up0", other, link, other_address),
            (other, link, end, "up0", address),
        ):
            plain = there_address.partition("/")[0]
            here.sh(f"ip neigh replace {plain} dev {device} lladdr {mac(there, there_device)} nud permanent")

    def _crowd(self, node: Namespace, link: str, first: str) -> None:
        """Senders that trafgen plays: answers to them find their way."""
        base, _dot, last = first.rpartition(".")
        address = mac(node, "up0")
        everybody = (f"{base}.{int(last) + index}" for index in range(MOST_SENDERS))
        assert self.gateway
        self.gateway.sh(
            "; ".join(f"ip neigh replace {each} dev {link} lladdr {address} nud permanent" for each in everybody)
        )

    @property
    def count(self) -> int:
        """How many flows the gateway tracks."""
        assert self.gateway
        return int(self.gateway.sh(f"cat {COUNT}"))

    def flush(self) -> None:
        if self.gateway:
            self.gateway.sh("conntrack -F 2>&1")

    def start(self, node: Namespace, *argv: str) -> subprocess.Popen[str]:
        """A process that ends with this row."""
        with node.inside():
            process = subprocess.Popen(
                argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True, start_new_session=True
            )
        self.stack.callback(end, process)
        return process


def end(process: subprocess.Popen[str]) -> None:
    """With its children: trafgen leaves the work to a child, which would outlive it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _twins(end: Namespace) -> str:
    return f"ip link add up0 type veth peer name up0 netns {end.path}"


def mac(node: Namespace, device: str) -> str:
    return str(json.loads(node.sh(f"ip -j link show {device}"))[0]["address"])


def received(node: Namespace) -> int:
    return int(json.loads(node.sh("ip -j -s link show up0"))[0]["stats64"]["rx"]["packets"])


def run(node: Namespace, *argv: str, timeout: float = 120) -> str:
    with node.inside():
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=timeout)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout


# --- what a gateway is given -------------------------------------------------------------------------------------


def track(row: Row) -> None:
    """Routing with conntrack: the least rule that makes the kernel track."""
    assert row.gateway
    row.gateway.sh(
        "nft add table inet track; nft 'add chain inet track forward { type filter hook forward priority 0; }';"
        "nft add rule inet track forward ct state established,related accept"
    )


def classic(row: Row) -> None:
    """The four lines that everybody knows; the first, forwarding, is on already."""
    assert row.gateway
    row.gateway.sh(
        "iptables-nft -t nat -A POSTROUTING -o wan0 -j MASQUERADE;"
        "iptables-nft -A FORWARD -i lan0 -o wan0 -j ACCEPT;"
        "iptables-nft -A FORWARD -i wan0 -o lan0 -m state --state RELATED,ESTABLISHED -j ACCEPT"
    )


def forwarding(row: Row) -> None:
    """The four lines, and those for one port forward."""
    classic(row)
    row.router.sh(
        f"iptables-nft -t nat -A PREROUTING -i wan0 -p udp --dport {first_port()} -j DNAT --to-destination {CLIENT};"
        f"iptables-nft -A FORWARD -i wan0 -o lan0 -p udp -d {CLIENT} --dport {first_port()} -j ACCEPT"
    )


def declared(entries: int) -> dict[str, t.Any]:
    """So many LAN networks and as many port forwards. What the client uses is the last of each."""
    return {
        "wans": [{"interface": "wan0"}],
        "lans": [{"name": "office", "interfaces": ["lan0"], "networks": networks(entries)}],
        "port_forwards": [
            {"name": f"forward-{index}", "protocol": ["udp"], "port": [str(first_port() + index)], "to": [CLIENT]}
            for index in range(entries)
        ],
    }


def networks(entries: int) -> list[str]:
    """Every other /24 of 10.0.0.0/8, so that none can be joined with its neighbour, and the client's."""
    return [f"10.{index // 128}.{index % 128 * 2}.0/24" for index in range(entries - 1)] + ["192.168.1.0/24"]


def first_port() -> int:
    return 20000


def ours(row: Row, backend: str, patience: float, without: tuple[str, ...] = (), **params: t.Any) -> float:
    """Our rules, by the engine itself, on a host without some programs; how many seconds that took."""
    assert row.gateway
    start = time.monotonic()
    with row.gateway.inside():
        # A process of its own can be ended when it takes too long.
        worker = multiprocessing.get_context("fork").Process(target=_apply, args=(row.folder, backend, without, params))
        worker.start()
        worker.join(patience)
        if worker.is_alive():
            worker.kill()
            worker.join()
            raise Unable(f"the engine needs more than {patience:.0f} s to load them on {backend}")
    if worker.exitcode:
        raise RuntimeError(f"the engine failed on {backend}")
    return time.monotonic() - start


def _apply(folder: Path, backend: str, without: tuple[str, ...], params: dict[str, t.Any]) -> None:
    host = SandboxHost(folder, variant="nft" if backend == "iptables" else "", without=without)
    gateway, problems = read_gateway(gateway_params(**params))
    engine.apply_gateway(gateway, backend, host, problems)


# --- generators --------------------------------------------------------------------------------------------------


def bulk(row: Row, seconds: int) -> float:
    """Gbit/s of one TCP connection, as its receiver saw them."""
    with serving(row.server, "iperf3", "-s", "-1", ready="sport = :5201"):
        out = run(row.client, "iperf3", "-J", "-c", SERVER, "-t", str(seconds))
    return float(json.loads(out)["end"]["sum_received"]["bits_per_second"]) / 1e9


def frames(row: Row, seconds: int) -> float:
    """The same with every frame by itself: the ends do not join 64 kB into one, as fast cards do."""
    for node in (row.client, row.server):
        node.sh("ethtool -K up0 tso off gso off")
    try:
        return bulk(row, seconds)
    finally:
        for node in (row.client, row.server):
            node.sh("ethtool -K up0 tso on gso on")


@contextlib.contextmanager
def serving(node: Namespace, *argv: str, ready: str = "") -> Iterator[subprocess.Popen[str]]:
    with node.inside():
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
    try:
        wait(lambda: not ready or ready_at(node, ready), f"{argv[0]} never listened")
        yield process
    finally:
        process.kill()
        process.wait()


def ready_at(node: Namespace, condition: str) -> bool:
    return bool(node.sh(f"ss -Hltn '{condition}'").strip())


def wait(condition: Callable[[], bool], problem: str, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(problem)
        time.sleep(0.02)


def packets(row: Row, inward: bool, count: int, new: bool, port: int = 9001, target: str = "") -> float:
    """UDP packets per second that came through; ``new``: each with a source port of its own, a flow of its own.

    Outward from the LAN, or ``inward`` from the WAN to a port of the gateway (or, by routing, to the client).
    """
    sender, receiver = (row.server, row.client) if inward else (row.client, row.server)
    text = stream(row, inward, new, port, target)
    if not new and row.gateway:
        establish(row, row.gateway, text)
    before = received(receiver)
    seconds = trafgen(row, sender, text, count)
    wait_quiet(receiver)
    came = received(receiver) - before
    if came < count * 0.5:
        raise RuntimeError(f"of {count} packets {came} came through")
    return came / seconds


def establish(row: Row, gateway: Namespace, text: str) -> None:
    """Open the client's flows, and answer them: until then, the kernel takes each packet for the first of its flow."""
    trafgen(row, row.client, text, text.count("eth("))
    wait_quiet(row.server)
    listed = "conntrack -L -p udp 2>/dev/null"
    with row.server.inside():
        for reply in re.findall(
            r"src=\S+ dst=\S+ sport=\d+ dport=\d+ .*?src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+)", gateway.sh(listed)
        ):
            source, target, sport, dport = reply
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
                server.bind((source, int(sport)))
                server.sendto(b"answer", (target, int(dport)))
    wait_quiet(row.client)
    if "UNREPLIED" in gateway.sh(listed):
        raise RuntimeError("the flows are not established")


def stream(row: Row, inward: bool, new: bool, port: int, target: str, senders: int = 4, apart: bool = True) -> str:
    """trafgen's description of it: so many senders have so many times the ports of one."""
    sender = row.server if inward else row.client
    gateway = (row.gateway, "wan0" if inward else "lan0") if row.gateway else (row.server, "up0")
    base = SERVER.rpartition(".")[0] if inward else CLIENT.rpartition(".")[0]
    return "".join(
        PACKET.format(
            gateway=mac(*gateway),
            sender=mac(sender, "up0"),
            source=f"{base}.{10 + index}",
            target=target or SERVER,
            ports="dinc(1024, 65535)" if new else 5000 + index,
            # Each sender asks another port, so masquerading need not look for a free one; if not ``apart``, it has to.
            port=port + index if apart and not inward else port,
        )
        for index in range(senders)
    )


def trafgen(row: Row, sender: Namespace, text: str, count: int, *options: str) -> float:
    """Seconds that trafgen was sending; it takes the time itself, without its own start."""
    path = row.folder / "stream.cfg"
    path.write_text(text, encoding="utf-8")
    argv = ["trafgen", "--dev", "up0", "--cpus", "1", "--no-sock-mem", "--conf", str(path), "-n", str(count), *options]
    found = re.search(r"(\d+) sec, (\d+) usec on CPU\d+ \((\d+) packets\)", run(sender, *argv))
    if not found or int(found.group(3)) != count:
        raise RuntimeError("trafgen has not sent what it was to send")
    return int(found.group(1)) + int(found.group(2)) / 1e6


def wait_quiet(node: Namespace) -> None:
    """What is still under way arrives."""
    last = -1
    while (now := received(node)) != last:
        last = now
        time.sleep(0.02)


def web(row: Row) -> None:
    """nginx on the server, for as long as the row lives."""
    unpacked = report.ROOT / ".cache/bench/nginx/bin/nginx"
    program = shutil.which("nginx") or (str(unpacked) if unpacked.exists() else "")
    if not program:
        raise Unable("nginx is neither installed nor unpacked by benchmarks/setup")
    config = row.folder / "nginx.conf"
    config.write_text(NGINX.format(folder=row.folder), encoding="utf-8")
    row.start(row.server, program, "-c", str(config), "-e", str(row.folder / "error"), "-g", "user root;")
    wait(lambda: ready_at(row.server, "sport = :80"), "nginx never listened")


def connections(row: Row, seconds: int) -> float:
    """TCP connections per second, each opened, asked one question, answered and closed."""
    out = run(
        row.client, "wrk", "-t1", "-c64", f"-d{seconds}s", "-H", "Connection: close", f"http://{SERVER}/"
    )  # fmt: skip
    done = int(re.findall(r"(\d+) requests in", out)[0])
    failed = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out)
    if failed and sum(int(each) for each in failed.groups()) > done / 100:
        raise RuntimeError("wrk: " + failed.group())
    return float(re.findall(r"Requests/sec: +([\d.]+)", out)[0])


def latency(row: Row, seconds: int) -> list[float]:
    """Milliseconds of single pings while one TCP connection takes all it can get."""
    with (
        serving(row.server, "iperf3", "-s", "-1", ready="sport = :5201"),
        serving(row.client, "iperf3", "-c", SERVER, "-t", str(seconds + 2)),
    ):
        time.sleep(0.5)
        out = run(row.client, "ping", "-n", "-i", "0.002", "-c", str(seconds * 500), SERVER)
    return sorted(float(each) for each in re.findall(r"time=([\d.]+) ms", out))


# --- the kernel --------------------------------------------------------------------------------------------------


def slab() -> int:
    """Bytes of kernel memory in objects, of the whole machine."""
    found = re.search(r"^Slab: +(\d+) kB", Path("/proc/meminfo").read_text(encoding="utf-8"), re.M)
    assert found
    return int(found.group(1)) * 1024


def object_size() -> int | None:
    """Bytes of one entry of conntrack, its extensions not counted."""
    with contextlib.suppress(OSError):
        return int(Path("/sys/kernel/slab/nf_conntrack/slab_size").read_text(encoding="ascii"))
    with contextlib.suppress(OSError):
        found = re.search(r"^nf_conntrack +\d+ +\d+ +(\d+)", Path("/proc/slabinfo").read_text(encoding="ascii"), re.M)
        return int(found.group(1)) if found else None
    return None


def limit() -> int:
    """Of the table, for every namespace: that of the first one counts."""
    return int(Path(MAX).read_text(encoding="ascii"))


def fits(wanted: int) -> int:
    """So many flows, or as many as there is surely room for."""
    return min(wanted, int(limit() * 0.75))


def statistics(node: Namespace) -> dict[str, int]:
    """Sums of conntrack's counters over all processors."""
    text = node.sh("conntrack -S 2>/dev/null")
    found: dict[str, int] = {}
    for name, value in re.findall(r"(\w+)=(\d+)", text):
        found[name] = found.get(name, 0) + int(value)
    return found


def check_root() -> None:
    if os.geteuid() != 0:
        raise Unable("needs root to make network namespaces")
