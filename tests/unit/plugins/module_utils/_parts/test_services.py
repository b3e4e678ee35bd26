# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""dnsmasq comes, is kept, drifts and goes; tests/integration/test_lan_services.py shows it with the real one."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError, MissingProgram
from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done
from ansible_collections.ipmasq.linux.plugins.module_utils._change import engine, removing
from ansible_collections.ipmasq.linux.plugins.module_utils._change.info import gateway_info
from ansible_collections.ipmasq.linux.plugins.module_utils._facts.holders import Holder
from ansible_collections.ipmasq.linux.plugins.module_utils._init.serving import (
    SCRIPT,
    SCRIPT_TEXT,
    SERVICES_TEXT,
    UNIT as SERVICES_UNIT,
)
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._parts import services
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.part import Scene
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.services import SERVICES, Services
from ansible_collections.ipmasq.linux.tests.unit import fakes
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

CONF, KEPT = "/run/ipmasq-services/default.conf", "/etc/ipmasq/default.dnsmasq"
UNIT = "ipmasq-services@default.service"


def host_with(*programs, **more):
    return fakes.FakeHost((*fakes.NFT, "dnsmasq", *programs), **more)


def apply(host, check=False, dhcp=True, **more):
    lans = [dict({"name": "lan", "interfaces": ["lan0"]}, **({"dhcp": dhcp} if dhcp else {}))]
    gateway = gateway_from_params(gateway_params(wans=[{"interface": "ppp0"}], lans=lans, **more))
    return engine.apply_gateway(gateway, "auto", fakes.seen(host, check))


def differences(result):
    return [line for line in result.to_dict()["differences"] if " services: " in line]


def test_it_comes_is_kept_and_goes():
    host = host_with()
    before = host.snapshot()
    assert differences(apply(host, check=True)) == ["+ services: dnsmasq on lan0"]
    assert host.snapshot() == before
    assert differences(apply(host)) == ["+ services: dnsmasq on lan0"]
    assert host.files[CONF] == host.files[KEPT] and "interface=lan0" in host.files[KEPT]
    assert host.modes[CONF] == 0o600 and SERVICES_UNIT in host.files
    assert "systemctl --no-block start {0} || true".format(UNIT) in host.files["/etc/ipmasq/default.load"]
    host.frozen = True
    assert not apply(host).changed
    assert gateway_info("default", host)["as_applied"]
    host.frozen = False
    assert differences(apply(host, dhcp={"lease": "1h"})) == ["~ services: dnsmasq on lan0"]
    removing.remove_instance("default", host)
    assert not [path for path in (CONF, KEPT, SERVICES_UNIT) if path in host.files]
    assert ("systemctl", "stop", UNIT) in host.events


def test_reservations_come_and_go_by_a_reload():
    host = host_with()
    apply(host)
    reload = ("systemctl", "reload-or-restart", UNIT)
    one = {"mac": "52:54:00:12:34:56", "address": "192.168.1.120", "name": "nas"}
    for reserve, sign in (([one], "+"), ([], "-")):
        host.events.clear()
        told = differences(apply(host, dhcp={"reserve": reserve}))
        assert told == [sign + " services: reserved 52:54:00:12:34:56,192.168.1.120,nas"]
        assert reload in host.events and ("systemctl", "restart", UNIT) not in host.events
        assert host.files[CONF] == host.files[KEPT]
    # One that does not run is started.
    host.files = {path: text for path, text in host.files.items() if not path.startswith("/proc/4711")}
    assert differences(apply(host, dhcp={"reserve": [one]})) == ["~ services: dnsmasq on lan0"]


RELOAD, RESTART = ("systemctl", "reload-or-restart", UNIT), ("systemctl", "restart", UNIT)


def test_anything_else_changes_by_a_reload_too():
    host = host_with()
    apply(host)
    for dhcp in ({"range": "192.168.1.60-192.168.1.69"}, {"options": {"ntp-server": "192.168.1.1"}}, True):
        host.events.clear()
        assert differences(apply(host, dhcp=dhcp)) == ["~ services: dnsmasq on lan0"]
        assert RELOAD in host.events and RESTART not in host.events
        assert host.files[CONF] == host.files[KEPT] and differences(apply(host, dhcp=dhcp)) == []
    # A unit that is not ours may make less of a reload.
    host.files[SERVICES_UNIT] = host.files[SERVICES_UNIT].replace("ExecReload=", "ExecReload=true ")
    host.events.clear()
    apply(host, dhcp={"lease": "1h"})
    assert RESTART in host.events and RELOAD not in host.events


def test_a_process_that_runs_with_something_else_is_reloaded():
    host = host_with()
    apply(host)
    host.files[STARTED] = host.files[STARTED].replace("interface=lan0", "interface=lan1")
    assert drift(host) == ["~ services: {0} is not what was applied".format(STARTED)]
    host.events.clear()
    assert differences(apply(host)) == ["~ services: " + STARTED]
    assert RELOAD in host.events and drift(host) == []


def test_a_gateway_without_services_touches_nothing_of_them():
    host = host_with()
    assert differences(apply(host, dhcp=None)) == []
    assert not [path for path in host.files if "services" in path or "dnsmasq" in path]
    assert not [event for event in host.events if UNIT in event]


def test_services_go_and_the_gateway_stays():
    host = host_with()
    apply(host)
    assert differences(apply(host, dhcp=None)) == ["- services: dnsmasq"]
    assert not [path for path in (CONF, KEPT, SERVICES_UNIT) if path in host.files]


def test_nothing_is_stopped_where_its_configuration_cannot_be_removed():
    """Otherwise such a change would look as if it had done nothing, and would not be rolled back."""
    host = host_with()
    apply(host)
    host.events.clear()
    host.remove = refuse
    with pytest.raises(GatewayError, match="Read-only"):
        removing.remove_instance("default", host)
    assert not [event for event in host.events if UNIT in event]


def refuse(path):
    raise GatewayError(path + ": cannot be removed: Read-only file system")


def test_the_rules_are_there_before_it_answers_and_go_after_it():
    host = host_with()
    apply(host)
    starts = host.events.index(("systemctl", "restart", UNIT))
    assert host.events.index(("load", "nft")) < starts
    host.events.clear()
    removing.remove_instance("default", host)
    assert host.events.index(("systemctl", "stop", UNIT)) < host.events.index(("load", "nft"))


def test_drift_of_the_process_and_of_the_file():
    host = host_with()
    apply(host)
    host.files = {path: text for path, text in host.files.items() if not path.startswith("/proc/4711")}
    said = "- services: dnsmasq does not run (journalctl -u {0})".format(UNIT)
    assert gateway_info("default", host)["drift"] == [said]
    done = apply(host)
    assert differences(done) == ["~ services: dnsmasq runs again"] and done.change.drifted
    host.files["/proc/4711/cmdline"] = "dnsmasq\0-C\0/etc/dnsmasq.conf\0"
    assert gateway_info("default", host)["drift"] == [said]
    apply(host)
    host.files[CONF] += "log-queries\n"
    assert gateway_info("default", host)["drift"] == ["~ services: {0} is not what was applied".format(CONF)]
    assert apply(host).change.drifted and "log-queries" not in host.files[CONF]


HOSTS, CONTROL = CONF.replace(".conf", ".hosts"), "/run/ipmasq-services/control"
STARTED = CONF.replace(".conf", ".started")
NAS = {"reserve": [{"mac": "52:54:00:12:34:56", "address": "192.168.1.20", "name": "nas"}]}


def drift(host):
    return [line for line in gateway_info("default", host)["drift"] if " services: " in line]


def without_systemd():
    host = host_with("update-rc.d", files={"/etc/init.d": "", "/etc/inittab": ""})
    del host.files["/run/systemd/system/x"]
    host.run_script = host.run

    def run(argv, stdin=None):
        if argv[:2] == ["sh", CONTROL]:
            host._serve(argv[3], argv[2] in ("restart", "reload"))
        return host.run_script(argv, stdin)

    host.run = run
    return host


@pytest.mark.parametrize(
    ("path", "change"),
    [
        (HOSTS, lambda host: host.files.update({HOSTS: "52:54:00:12:34:56,192.168.1.66,evil\n"})),
        (HOSTS, lambda host: host.files.pop(HOSTS)),
        (CONF.replace(".conf", ".names"), lambda host: host.files.update({CONF.replace(".conf", ".names"): "x\n"})),
        (CONF, lambda host: host.modes.update({CONF: 0o666})),
        (HOSTS, lambda host: host.modes.update({HOSTS: 0o664})),
        (CONTROL, lambda host: host.modes.update({CONTROL: 0o722})),
    ],
)
@pytest.mark.parametrize("init", ["systemd", "sysvinit"])
def test_what_dnsmasq_reads_beside_its_configuration_is_what_was_applied(init, path, change):
    host = host_with() if init == "systemd" else without_systemd()
    apply(host, dhcp=NAS)
    assert host.files[HOSTS] == "52:54:00:12:34:56,192.168.1.20,nas\n"
    assert differences(apply(host, dhcp=NAS)) == drift(host) == []
    if path == CONTROL and init == "systemd":
        assert CONTROL not in host.files
        return
    change(host)
    assert drift(host) == ["~ services: {0} is not what was applied".format(path)]
    host.events.clear()
    host.calls.clear()
    done = apply(host, dhcp=NAS)
    assert differences(done) == ["~ services: " + path] and done.change.drifted
    reload = ["systemctl", "reload-or-restart", UNIT] if init == "systemd" else ["sh", CONTROL, "reload", "default"]
    assert reload in host.calls
    assert differences(apply(host, dhcp=NAS)) == drift(host) == []


def test_what_a_lost_state_has_left_is_known():
    host = host_with(files={KEPT: "interface=lan0\n"})
    assert SERVICES.salvage("default", host) == Services("interface=lan0\n")
    assert SERVICES.salvage("other", host) == Services()


def test_the_user_of_dnsmasq_is_the_one_that_this_host_has():
    host = host_with(files={"/etc/passwd": "root:x:0:0\ndnsmasq:x:101:65534::/var/lib/misc:/usr/sbin/nologin\n"})
    apply(host)
    assert "user=dnsmasq\n" in host.files[KEPT]
    host = host_with()
    apply(host)
    assert "user=nobody\n" in host.files[KEPT]


def test_what_is_missing():
    host = fakes.FakeHost()
    with pytest.raises(MissingProgram, match="install the package dnsmasq-base") as caught:
        apply(host)
    assert caught.value.program == "dnsmasq"
    host = host_with()
    del host.files["/run/systemd/system/x"]
    with pytest.raises(GatewayError, match=r"^lans: no service manager runs on this host, so dhcp, ra and dns are not"):
        apply(host)


def test_without_systemd_it_is_a_script():
    host = without_systemd()
    assert differences(apply(host)) == ["+ services: dnsmasq on lan0"]
    control = ["sh", "/run/ipmasq-services/control"]
    assert control + ["restart", "default"] in host.calls
    assert host.files["/run/ipmasq-services/control"] == host.files[SCRIPT] == SCRIPT_TEXT
    assert host.modes[SCRIPT] == 0o700 and SERVICES_UNIT not in host.files
    assert "sh ./services start default || true" in host.files["/etc/ipmasq/default.load"]
    assert differences(apply(host)) == []
    host.calls.clear()
    apply(host, dhcp={"range": "192.168.1.60-192.168.1.69"})
    assert control + ["reload", "default"] in host.calls and control + ["restart", "default"] not in host.calls
    removing.remove_instance("default", host)
    assert control + ["stop", "default"] in host.calls and SCRIPT not in host.files and CONF not in host.files


def test_what_dnsmasq_refuses_is_said_before_anything_is_touched():
    host = host_with()
    before = host.snapshot()
    host.answers["dnsmasq --test"] = Done(1, "", "dnsmasq: bad option at line 3 of stdin\n")
    said = (
        "refuses its configuration: dnsmasq: bad option at line 3 of stdin: pid-file=/run/ipmasq-services/default.pid$"
    )
    with pytest.raises(GatewayError, match=said):
        apply(host)
    for said in ("bad option at line 999 of stdin", "bad option at line 0 of stdin", "bad option"):
        host.answers["dnsmasq --test"] = Done(1, "", "dnsmasq: {0}\n".format(said))
        with pytest.raises(GatewayError, match=said + "$"):
            apply(host)
    assert host.snapshot() == before


def test_who_holds_the_port_is_named_before_anything_is_touched(monkeypatch):
    host = host_with()
    before = host.snapshot()
    found = [Holder("0.0.0.0", "812", "named", "named.service")]
    monkeypatch.setattr(services, "holders", lambda _port, addresses, _host: found * ("192.168.1.1" in addresses))
    for check in (True, False):
        with pytest.raises(GatewayError) as caught:
            apply(host, check=check)
        assert caught.value.problems == (
            "lans: port 53 of every address is held by named (PID 812) of named.service; let it listen at other "
            "addresses only, stop it, or set dns to false",
        )
    assert host.snapshot() == before
    apply(host, dhcp={"options": {"dns-server": "9.9.9.9"}})
    host.files["/proc/812/cmdline"] = "dnsmasq\0--conf-file=/run/ipmasq-services/other.conf\0"
    assert apply(host).changed


def test_another_server_is_looked_for_on_links_that_are_new(monkeypatch):
    asked, found = [], {}
    monkeypatch.setattr(services, "servers", lambda links, _host: asked.append(links) or found)
    host = host_with()
    apply(host, check=True)
    assert asked == []
    apply(host)
    apply(host, dhcp={"lease": "1h"})
    assert asked == [{"lan0": ("192.168.1.1",)}]
    host, found["lan0"] = host_with(), ["192.168.1.254", "192.168.1.253"]
    with pytest.raises(GatewayError, match=r"on lan0 \(192.168.1.254, 192.168.1.253\); turn it off there, or leave"):
        apply(host)
    assert CONF not in host.files and not host.nft.tables


def test_one_that_does_not_start_takes_the_change_back():
    host = host_with("journalctl")
    host.answers = {
        "systemctl restart " + UNIT: Done(1, "", "Job failed"),
        "journalctl": Done(0, "starting\ndnsmasq: failed to create listening socket for 192.168.1.1\nend\n", ""),
    }
    with pytest.raises(GatewayError, match="does not start: failed to create listening socket for 192"):
        apply(host)
    assert not host.nft.tables
    host.answers["journalctl"] = Done(1, "", "")
    with pytest.raises(GatewayError, match=r"does not start: no message \(journalctl -u ipmasq-services@default"):
        apply(host)


def test_the_rollback_brings_back_what_was_there():
    delta, scene = SERVICES.plan(Services(), Services("new\n"), Scene("default"), host_with()), Scene("default")
    fresh = SERVICES.restore(delta, Services(), Services("new\n"), scene, host_with())
    assert [line.split()[0] for line in fresh.lines] == ["{", "rm", "{"] and not fresh.files
    host = host_with(files={CONF: "old\n", SERVICES_UNIT: ""})
    later = SERVICES.restore(delta, Services("old\n"), Services("new\n"), scene, host)
    assert later.files == {"services": "old\n"}
    assert later.lines == ("cp services {0} && chmod 600 {0}".format(CONF), "systemctl restart " + UNIT)
    host.files.update({CONF: "old\n", CONF.replace(".conf", ".pid"): "7\n", "/proc/7/cmdline": "dnsmasq\0" + CONF})
    host.files[SERVICES_UNIT] = SERVICES_TEXT
    delta = SERVICES.plan(Services("old\n"), Services("new\n"), scene, host)
    assert SERVICES.restore(delta, Services("old\n"), Services("new\n"), scene, host).lines[1] == (
        "{{ systemctl reload-or-restart {0} || systemctl restart {0}; }}".format(UNIT)
    )
    nothing = SERVICES.restore(
        SERVICES.plan(Services(), Services(), scene, host_with()), Services(), Services(), scene, host
    )
    assert not nothing.lines


@pytest.mark.parametrize(
    ("zone", "services", "target", "said"),
    [
        # It has our policy.
        ("public", "ssh dns", "default", ""),
        (
            "",
            "ssh",
            "default",
            "firewalld: lan0 is assigned to no zone, and the default zone, fallback, does not let in dhcp and dns: "
            "assign it to one, and run again "
            "(firewall-cmd --permanent --zone=ZONE --add-interface=lan0 && firewall-cmd --reload)",
        ),
        ("", "dhcp dhcpv6 dns", "default", ""),
        ("", "", "ACCEPT", ""),
    ],
)
def test_firewalld_has_to_let_clients_in(zone, services, target, said):
    host = host_with("firewall-cmd")
    info = "fallback (active)\n  target: {0}\n  services: {1}\n  ports: \n".format(target, services)
    host.answers = {
        "firewall-cmd --state": Done(0, "running\n", ""),
        "firewall-cmd --get-zone-of-interface=lan0": Done(0 if zone else 2, zone + "\n" if zone else "", ""),
        "firewall-cmd --get-default-zone": Done(0, "fallback\n", ""),
        "firewall-cmd --info-zone=fallback": Done(0, info, ""),
    }
    assert SERVICES.warnings(Services("x", ("lan0",), ("lan0",)), Scene("default"), host) == ((said,) if said else ())
    assert SERVICES.warnings(Services(), Scene("default"), host) == ()
    assert SERVICES.warnings(Services("x", ("lan0",)), Scene("default"), host_with()) == ()


def test_leases_go_with_the_services_only():
    scene, there = Scene("default"), Services("x\n")
    assert SERVICES.settle(Services(), Services(), scene) == ()
    assert not [line for line in SERVICES.settle(there, there, scene) if "leases" in line]
    assert "rm -f /var/lib/ipmasq/default.leases" in SERVICES.settle(there, Services(), scene)[0]


@pytest.mark.parametrize("version", ["of an earlier version", "of an administrator"])
def test_what_another_script_has_started_is_started_again(version):
    """Its loop would start dnsmasq as that script did, also after a reload."""
    host = without_systemd()
    apply(host)
    host.files[CONTROL] = SCRIPT_TEXT + "# {0}\n".format(version)
    if "earlier" in version:
        host.files[SCRIPT] = host.files[CONTROL]
        del host.files[STARTED]
    assert "~ services: {0} is not what was applied".format(CONTROL) in drift(host)
    host.calls.clear()
    apply(host, dhcp={"range": "192.168.1.60-192.168.1.69"})
    assert ["sh", CONTROL, "restart", "default"] in host.calls and [
        "sh",
        CONTROL,
        "reload",
        "default",
    ] not in host.calls
    assert host.files[CONTROL] == host.files[SCRIPT] == SCRIPT_TEXT and drift(host) == []
