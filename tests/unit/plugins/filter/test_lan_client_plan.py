# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan for a LAN client: one host per case, as the role's look.sh would describe it."""

from __future__ import annotations

import base64
import json
import shlex
import subprocess
import typing as t

import pytest

pytest.importorskip("netaddr")

from ansible.errors import AnsibleFilterError

from ansible_collections.ipmasq.linux.plugins.filter.lan_client_plan import (
    IF_UP,
    RESOLV,
    RESOLV_BEFORE,
    RESOLVED,
    Route,
    lan_client_plan,
)

DROPIN = "/etc/systemd/network/10-lan0.network.d/ipmasq-lan-client.conf"

ONE_NETWORK = {"lan0": ["192.168.1.11/24", "fd00:1::11/64"]}
TWO_NETWORKS = {"lan0": ["192.168.1.11/24"], "lan1": ["192.168.9.15/24"]}


def status(files: dict[str, str]) -> str:
    """As ``networkctl status -a`` prints it."""
    return "".join(
        f"● {number}: {name}\n     Link File: n/a\n  Network File: {file}\n         State: routable (configured)\n\n"
        for number, (name, file) in enumerate(files.items(), 2)
    )


def host(
    addresses: dict[str, list[str]] | None = None,
    routes: list[str] | None = None,
    manager: str = "networkd",
    managers: str = "",
    resolver: str = "",
    files: dict[str, str] | None = None,
    network_file: str = "/etc/systemd/network/10-{}.network",
    dynamic: bool = False,
) -> str:
    addresses = ONE_NETWORK if addresses is None else addresses
    loopback = {"family": "inet", "local": "127.0.0.1", "prefixlen": 8, "scope": "host"}
    links: list[dict[str, t.Any]] = [{"ifname": "lo", "addr_info": [loopback]}]
    for name, all_of_it in addresses.items():
        infos: list[dict[str, t.Any]] = []
        for one in all_of_it:
            local, _slash, length = one.partition("/")
            family = "inet6" if ":" in local else "inet"
            infos.append({"family": family, "local": local, "prefixlen": int(length), "scope": "global"})
            infos[-1] |= {"dynamic": True} if dynamic else {}
        infos.append({"family": "inet6", "local": "fe80::1", "prefixlen": 64, "scope": "link"})
        links.append({"ifname": name, "addr_info": infos})
    live = [Route.parse(route) for route in routes or []]

    def kernel(version: int) -> str:
        raw = []
        for route in live:
            if route.version == version:
                raw.append({"dst": "default", "gateway": route.gateway, "dev": route.dev, "protocol": route.protocol})
                raw[-1] |= {"metric": route.metric} if route.metric else {}
                raw[-1] |= {"flags": ["onlink"] if route.onlink else []}
        return json.dumps(raw)

    stored = ""
    for path, text in (files or {}).items():
        mode = "755" if path == IF_UP else "644"
        stored += f"{mode} 0 0 {path} {base64.b64encode(text.encode()).decode()}\n"
    sections = {
        "addresses": json.dumps(links),
        "routes4": kernel(4),
        "routes6": kernel(6),
        "networkd": status({name: network_file.format(name) for name in addresses}) if manager == "networkd" else "",
        "ifupdown": "lo=lo\n" + "".join(f"{name}={name}\n" for name in addresses) if manager == "ifupdown" else "",
        "managers": managers,
        "resolver": resolver,
        "files": stored,
    }
    return "".join(f"\n=== {name}\n{text}\n" for name, text in sections.items())


def answer(address: str) -> str:
    """What a gateway says when it is asked."""
    return host({"office0": [address]}).split("\n")[2]


def plan(seen: str, **options: t.Any) -> dict[str, t.Any]:
    options.setdefault("hosts", ["gw"])
    options.setdefault("known", [[["198.51.100.2", "192.168.1.1", "fd00:1::1"]]])
    return lan_client_plan(seen, **options)


def idle(result: dict[str, t.Any]) -> bool:
    return not any(result[key] for key in ("folders", "write", "remove", "run", "changes"))


def written(result: dict[str, t.Any]) -> dict[str, str]:
    assert result["problems"] == []
    return {file["path"]: file["content"] for file in result["write"]}


def settled(result: dict[str, t.Any], **more: t.Any) -> dict[str, t.Any]:
    """The host after its plan: what was written, and the routes the files speak of."""
    files = {**more.pop("files", {}), **written(result)}
    said = [line[9:] for text in files.values() for line in text.splitlines() if line.startswith("# Route: ")]
    return {"files": files, "routes": said, **more}


# ---- which gateway ---------------------------------------------------------------------------------------------------


def test_the_gateway_is_the_address_in_the_clients_network() -> None:
    result = plan(host())
    assert (result["gateway"], result["gateway6"], result["interface"]) == ("192.168.1.1", "fd00:1::1", "lan0")
    content = written(result)[DROPIN]
    assert "[Route]\nGateway=192.168.1.1\n\n[Route]\nGateway=fd00:1::1\n" in content
    assert "[Network]" not in content
    assert "networkctl reload" in result["run"]


@pytest.mark.parametrize(
    "options",
    [
        {"known": [[["10.0.0.1/8", "192.168.1.1/24"]]]},
        {"known": [], "declared": [["192.168.1.1"]]},
        {"known": [], "declared": ["192.168.1.1"]},
        {"known": [], "lans": [[{"addresses": []}, {"name": "office", "addresses": ["192.168.1.1"]}]]},
        # Who declares one address of several means it.
        {"known": [[["192.168.1.2"]]], "declared": [["192.168.1.1"]], "lans": [[{"addresses": ["192.168.1.3"]}]]},
        {"known": [["192.168.1.1"]]},
        {"known": [[[]]], "hints": ["192.168.1.1"]},
        {"known": [[[]]], "hosts": ["192.168.1.1"]},
        {"known": [[[]]], "hints": ["gw.example.org"], "gateway": "192.168.1.1"},
        {"known": [[[]]], "asked": [{"item": "gw", "stdout": answer("192.168.1.1/24")}]},
    ],
)
def test_sources_of_addresses(options: dict[str, t.Any]) -> None:
    result = plan(host(), **options)
    assert (result["problems"], result["gateway"], result["gateway6"]) == ([], "192.168.1.1", "")


def test_gateways_are_asked_only_when_the_inventory_knows_too_little() -> None:
    assert not plan(host())["ask"]
    asking = plan(host(), known=[[["10.0.0.1"]]])
    assert asking["ask"] == ["gw"]
    assert asking["problems"] == []
    assert idle(asking)
    assert not plan(host(), known=[[["10.0.0.1"]]], state="absent")["ask"]


def test_gateways_that_have_answered_are_not_asked_again() -> None:
    answers = [{"item": "a", "stdout": answer("10.0.0.1/24")}, {"item": "b", "stdout": ""}]
    known: dict[str, t.Any] = {"hosts": ["a", "b", "c"], "known": [], "asked": answers}
    assert plan(host(), **known)["ask"] == ["c"]


def test_bridges_that_both_hosts_have_are_no_gateway() -> None:
    result = plan(host({"docker0": ["172.17.0.1/16"], **ONE_NETWORK}), known=[[["172.17.0.1", "192.168.1.1"]]])
    assert result["gateway"] == "192.168.1.1"


TEST_PROBLEMS: list[tuple[dict[str, t.Any], dict[str, t.Any], str]] = [
    ({}, {"gateway": "10.9.9.9"}, "gateway: 10.9.9.9 is in none of this host's networks (lan0 192.168.1.11/24)"),
    ({}, {"gateway": "fd00:1::1"}, "lan_client_gateway: 'fd00:1::1' is not an IPv4 address"),
    ({}, {"gateway6": "fd00:1::zz"}, "lan_client_gateway6: 'fd00:1::zz' is not an IPv6 address"),
    ({"addresses": {"lan0": ["192.168.1.11/24"]}}, {"gateway6": "fd00:1::1"}, "(it has no IPv6 address)"),
    ({}, {"gateway": "192.168.1.11"}, "lan_client_gateway: 192.168.1.11 is an address of this host itself"),
    ({}, {"gateway": "none", "gateway6": "none"}, "use lan_client_state: absent"),
    ({}, {"interface": "lan7"}, "there is no interface 'lan7' on this host (it has lan0)"),
    ({}, {"hosts": [], "known": []}, "the inventory has no (other) host in group 'gateways': set lan_client_gateway"),
    (
        {},
        {"known": [[["10.0.0.1"]]], "asked": [{"item": "gw", "stdout": ""}]},
        "no gateway of group 'gateways' has an address in a network of this host: set lan_client_gateway "
        "(own addresses: lan0 192.168.1.11/24, lan0 fd00:1::11/64; gateways: 10.0.0.1 of gw)",
    ),
    (
        {},
        {"hosts": ["a", "b"], "known": [[["192.168.1.1"], ["192.168.1.2"]]]},
        "(192.168.1.1 of a, 192.168.1.2 of b): set lan_client_gateway to one of them",
    ),
    ({"addresses": TWO_NETWORKS}, {"known": [[["192.168.1.1", "192.168.9.1"]]]}, "set lan_client_gateway to one"),
    (
        {"addresses": {"lan0": ["192.168.1.11/24"], "lan1": ["192.168.1.12/24"]}},
        {},
        "192.168.1.1 is in the networks of lan0 and lan1: set lan_client_interface to one of them",
    ),
    (
        {},
        {"known": [], "asked": [{"item": "gw", "stdout": answer("192.168.1.11/24")}]},
        "asked gw, was answered by the client that asked: a variable of their connection is a template of "
        "inventory_hostname; write it for each host, or set gateway_addresses for them",
    ),
    # Another client has asked for all, and has answered itself: it is nobody's gateway.
    (
        {},
        {
            "known": [],
            "asked": [{"item": "gw", "stdout": answer("192.168.1.12/24")}],
            "asker": host({"lan0": ["192.168.1.12/24"]}),
        },
        "asked gw, was answered by the client that asked",
    ),
    ({}, {"known": [[["192.168.1.300"]]]}, "gateway_addresses of gw: '192.168.1.300' is not an IP address"),
    ({}, {"dns": ["dns.example.org"]}, "lan_client_dns: 'dns.example.org' is not an IP address"),
    (
        {"routes": ["default via 192.168.1.254 dev lan0 proto dhcp metric 1024"]},
        {},
        "already has the IPv4 default route `default via 192.168.1.254 dev lan0 proto dhcp metric 1024`",
    ),
    (
        {"addresses": TWO_NETWORKS, "routes": ["default via 192.168.9.1 dev lan1 proto static"]},
        {"replace_default": True},
        "has the highest priority there is: remove it where it is configured, or give it a metric of 100 there",
    ),
    (
        {"addresses": TWO_NETWORKS, "network_file": "/etc/systemd/network/lan.network"},
        {},
        "/etc/systemd/network/lan.network configures lan0, lan1 alike",
    ),
    ({"managers": "NetworkManager lan0"}, {}, "lan0 is managed by NetworkManager, and lan_client can configure only"),
    (
        {"network_file": "/run/systemd/network/10-netplan-{}.network"},
        {},
        "managed by netplan, and lan_client can configure only systemd-networkd and ifupdown so far: "
        "give it the default route via 192.168.1.1 with `routes: [{to: 0.0.0.0/0, via: 192.168.1.1}]` for lan0 "
        "in /etc/netplan and `netplan apply`",
    ),
    ({"manager": "", "managers": "dhcpcd -"}, {}, "with `static routers=192.168.1.1` for lan0 in /etc/dhcpcd.conf"),
    ({"manager": "", "managers": "connman -"}, {}, "managed by connman"),
    ({"manager": "", "managers": "wicked -"}, {}, "managed by wicked"),
    ({"manager": ""}, {}, "lan0 is managed by nothing that this role knows"),
    ({"resolver": "/run/resolvconf/resolv.conf"}, {"dns": ["192.168.1.1"]}, "is a link to /run/resolvconf/resolv.conf"),
    ({"resolver": "/run/systemd/resolve/stub-resolv.conf"}, {"dns": ["192.168.1.1"]}, "resolved does not run"),
]


@pytest.mark.parametrize(("seen", "options", "said"), TEST_PROBLEMS, ids=[case[2][:60] for case in TEST_PROBLEMS])
def test_problem(seen: dict[str, t.Any], options: dict[str, t.Any], said: str) -> None:
    result = plan(host(**seen), **options)
    assert any(said in problem for problem in result["problems"]), result["problems"]
    assert len(result["problems"]) == 1
    assert idle(result)


def test_problems_come_together() -> None:
    result = plan(host(), gateway="10.9.9.9", gateway6="x", dns=["y"])
    assert len(result["problems"]) == 3


def test_no_json() -> None:
    with pytest.raises(AnsibleFilterError, match="iproute2 is missing"):
        plan("\n=== addresses\n\n=== routes4\n\n")


# ---- networkd --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("manager", ["networkd", "ifupdown"])
@pytest.mark.parametrize("options", [{}, {"dns": ["192.168.1.1"]}, {"gateway6": "none"}])
def test_second_run_does_nothing(manager: str, options: dict[str, t.Any]) -> None:
    after = settled(plan(host(manager=manager), **options), manager=manager)
    seen = host(**after)
    result = plan(seen, **options)
    assert idle(result)
    assert result["notes"] == []


@pytest.mark.parametrize("manager", ["networkd", "ifupdown"])
def test_a_route_lost_at_run_time_comes_back(manager: str) -> None:
    after = settled(plan(host(manager=manager)), manager=manager)
    result = plan(host(**{**after, "routes": []}))
    assert not result["write"]
    assert ("networkctl reconfigure lan0" if manager == "networkd" else f"IFACE=lan0 {IF_UP}") in result["run"]


def test_dns_for_resolved() -> None:
    seen = {"resolver": "active\n/run/systemd/resolve/stub-resolv.conf"}
    files = written(plan(host(**seen), dns=["192.168.1.1", "fd00:1::1"]))
    assert list(files) == [DROPIN]
    assert files[DROPIN].endswith("[Network]\nDNS=192.168.1.1\nDNS=fd00:1::1\n")
    files = written(plan(host(manager="ifupdown", **seen), dns=["192.168.1.1", "fd00:1::1"]))
    assert files[RESOLVED].endswith("[Resolve]\nDNS=192.168.1.1 fd00:1::1\n")


def test_addresses_by_dhcp_come_after_the_route() -> None:
    assert "Gateway=192.168.1.1\nGatewayOnLink=yes\n" in written(plan(host(dynamic=True)))[DROPIN]
    assert "GatewayOnLink" not in written(plan(host()))[DROPIN]


def test_router_advertisements_are_kept() -> None:
    seen = host(routes=["default via fe80::9 dev lan0 proto ra metric 1024"])
    result = plan(seen)
    assert (result["problems"], result["gateway6"]) == ([], "")
    assert "router advertisements" in result["notes"][0]
    assert "already has the IPv6 default route" in plan(seen, gateway6="fd00:1::1")["problems"][0]
    wins = written(plan(seen, gateway6="fd00:1::1", replace_default=True))[DROPIN]
    assert "Gateway=fd00:1::1\nMetric=1023\n" in wins


def test_a_default_route_of_lower_priority_is_outranked() -> None:
    seen = host(TWO_NETWORKS, ["default via 192.168.9.1 dev lan1 proto dhcp metric 100"])
    result = plan(seen, replace_default=True)
    assert "Gateway=192.168.1.1\n" in written(result)[DROPIN]
    assert "route del" not in result["run"]
    assert "instead of default via 192.168.9.1" in result["notes"][0]


def test_another_gateway_than_last_time() -> None:
    after = settled(plan(host()))
    result = plan(host(**after), gateway="192.168.1.2", known=[])
    assert "Gateway=192.168.1.2" in written(result)[DROPIN]
    assert "ip -4 route del default via 192.168.1.1 dev lan0 proto static" in result["run"]
    assert "ip -6 route del default via fd00:1::1" in result["run"]


def test_another_manager_than_last_time() -> None:
    after = settled(plan(host(manager="ifupdown")))
    result = plan(host(manager="networkd", **after))
    assert DROPIN in written(result)
    assert result["remove"] == [IF_UP]


def test_absent_networkd() -> None:
    after = settled(plan(host()))
    result = plan(host(**after), state="absent")
    assert result["remove"] == [DROPIN]
    assert result["run"].index("route del") < result["run"].index("networkctl reload")
    assert not plan(host(), state="absent")["run"]


def test_absent_needs_nothing_that_present_needs() -> None:
    result = plan(host(addresses={}), state="absent", gateway="nonsense", hosts=[], known=[])
    assert result["problems"] == []
    assert idle(result)


def test_another_manager_that_already_does_it() -> None:
    route = "default via 192.168.1.1 dev lan0 proto dhcp metric 100"
    result = plan(host(managers="NetworkManager lan0", routes=[route]))
    assert result["problems"] == []
    assert idle(result)
    assert "already goes through 192.168.1.1" in result["notes"][0]


# ---- ifupdown --------------------------------------------------------------------------------------------------------


def test_ifupdown_replaces_and_restores() -> None:
    before = "default via 192.168.1.254 dev lan0 proto boot onlink"
    seen = host(manager="ifupdown", routes=[before])
    assert "already has" in plan(seen)["problems"][0]
    result = plan(seen, replace_default=True)
    script = written(result)[IF_UP]
    assert f"# Before: {before}\n" in script
    # The second run finds its own route in place of the earlier one, and still knows that.
    after = host(**settled(result, manager="ifupdown"))
    assert not plan(after, replace_default=True)["write"]
    back = plan(after, state="absent")
    assert back["remove"] == [IF_UP]
    assert f"ip -4 route replace {before}" in back["run"]


@pytest.mark.parametrize(
    ("environment", "families"),
    [
        ({"IFACE": "lan0"}, "46"),
        ({"IFACE": "lan0", "ADDRFAM": "inet"}, "4"),
        ({"IFACE": "lan0", "ADDRFAM": "inet6"}, "6"),
        ({"IFACE": "lan1"}, ""),
        ({"IFACE": "--all", "ADDRFAM": "meta"}, ""),
        ({}, ""),
    ],
)
def test_the_script(tmp_path: t.Any, environment: dict[str, str], families: str) -> None:
    script = tmp_path / "if-up"
    script.write_text(written(plan(host(manager="ifupdown")))[IF_UP])
    (tmp_path / "ip").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "ip").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", **environment}
    done = subprocess.run(["sh", str(script)], env=environment, capture_output=True, text=True, check=True)
    assert [line[:16] for line in done.stdout.splitlines()] == [f"-{family} route replace"[:16] for family in families]
    assert done.stderr == ""


# ---- resolv.conf -----------------------------------------------------------------------------------------------------


def test_resolv_conf_and_back() -> None:
    original = "domain example.org\nsearch example.org\nnameserver 9.9.9.9\noptions edns0\n"
    result = plan(host(files={RESOLV: original}), dns=["192.168.1.1"])
    files = written(result)
    assert files[RESOLV_BEFORE] == original
    kept = ["domain example.org", "search example.org", "options edns0"]
    assert files[RESOLV].splitlines()[1:] == [*kept, "nameserver 192.168.1.1"]
    for options in ({"state": "absent"}, {"dns": []}):
        back = plan(host(**settled(result)), **options)
        assert written(back)[RESOLV] == original
        assert RESOLV_BEFORE in back["remove"]


def test_resolv_conf_that_was_not_there_goes_again() -> None:
    result = plan(host(), dns=["192.168.1.1"])
    assert RESOLV_BEFORE not in written(result)
    assert RESOLV in plan(host(**settled(result)), state="absent")["remove"]


def test_resolv_conf_written_by_somebody_since() -> None:
    result = plan(host(files={RESOLV: "nameserver 9.9.9.9\n"}), dns=["192.168.1.1"])
    after = settled(result)
    after["files"][RESOLV] = "nameserver 8.8.8.8\n"
    back = plan(host(**after), state="absent")
    assert RESOLV not in written(back)
    assert back["remove"] == [DROPIN, RESOLV_BEFORE]
    again = written(plan(host(**after), dns=["192.168.1.1"]))
    assert again[RESOLV_BEFORE] == "nameserver 8.8.8.8\n"


# ---- links of odd names ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("manager", ["networkd", "ifupdown"])
@pytest.mark.parametrize("name", ["l;>canary", "$(>canary)", "`>canary`", "l|>canary", "l'", 'l"', "l\\", "l{}", "#l"])
def test_the_name_of_a_link_is_one_word_of_a_script(name: str, manager: str, tmp_path: t.Any) -> None:
    """The kernel takes nearly any character in it."""
    metric = {"networkd": "100", "ifupdown": "1"}[manager]
    here = {"addresses": {name: ["192.168.1.11/24"]}, "manager": manager}
    here["network_file"] = "/etc/systemd/network/10-odd.network"
    other = ["default via 192.168.1.9 dev " + name + " proto static metric " + metric]
    first = plan(host(routes=other, **here), replace_default=True)
    after = settled(first)
    removed = plan(host(**here, **after), state="absent")
    scripts = [first["run"], removed["run"], written(first).get(IF_UP, "")]
    said = "\n".join(line for text in scripts for line in text.splitlines() if not line.startswith("#"))
    assert shlex.quote(name) in said
    assert name not in said.replace(shlex.quote(name), "")
    # To say what its words are, the shell needs no programs; this must not make a file either.
    quiet = "PATH=; ip() { :; }; networkctl() { :; }; sleep() { :; }; grep() { :; }; rmdir() { :; };\n"
    for text in scripts:
        subprocess.run(["/bin/sh", "-c", quiet + text], cwd=tmp_path, check=False, capture_output=True, timeout=20)
    assert list(tmp_path.iterdir()) == []
