# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run that changed nothing is repeated from its questions; any difference causes a whole run."""

from __future__ import annotations

import json

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._change import engine, persist, repeat, wanting
from ansible_collections.ipmasq.linux.plugins.module_utils._facts import controller
from ansible_collections.ipmasq.linux.plugins.module_utils._facts.controller import Reach
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.tests.unit import fakes
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params, tried

SEEN = "/run/ipmasq/default.seen"
TOOLS = {"nft": fakes.NFT, "iptables-nft": fakes.IPTABLES_NFT, "iptables-legacy": fakes.IPTABLES_LEGACY}
LANS = [{"name": "lan", "interfaces": ["lan0"], "networks": ["192.168.1.0/24", "fd00:1::/64"]}]


class Run:
    """Runs of the module's step on a host in memory; ``whole`` counts the complete ones."""

    def __init__(self, host):
        self.host, self.whole = host, 0

    def __call__(self, check_mode=False, **given):
        given.setdefault("lans", LANS)
        params = gateway_params(**given)

        def step(host):
            self.whole += 1
            return engine.apply_gateway(gateway_from_params(params), "auto", host).to_dict()

        return repeat.repeated(params, fakes.seen(self.host, check_mode), step)


@pytest.fixture(params=list(TOOLS))
def run(request):
    """After two runs: one that changed something, one that changed nothing."""
    made = Run(fakes.FakeHost(TOOLS[request.param]))
    assert made()["changed"]
    assert not made()["changed"]
    assert made.whole == 2
    return made


def test_the_third_run_is_the_second_again(run):
    before = run.host.snapshot()
    first, second = run(), run(check_mode=True)
    assert run.whole == 2
    assert not first["changed"]
    assert first == second
    assert run.host.snapshot() == before


def test_the_questions_are_all_put_again(run):
    asked = [words for kind, words, _answer in json.loads(run.host.files[SEEN])["asked"] if kind == "ask"]
    run.host.calls.clear()
    run()
    assert asked
    assert run.host.calls == asked


def test_any_other_answer_brings_the_whole_run_back(run):
    text = run.host.files[SEEN]
    for place in tried(range(len(json.loads(text)["asked"]))):
        seen = json.loads(text)
        seen["asked"][place][2] = "0" * 64
        run.host.files[SEEN] = json.dumps(seen)
        before = run.whole
        run()
        assert run.whole == before + 1, seen["asked"][place]


@pytest.mark.parametrize(
    "drift",
    [
        lambda host: host.files.update({"/proc/sys/net/ipv4/ip_forward": "0\n"}),
        lambda host: host.files.update({persist.LOADER: "true\n"}),
        lambda host: host.files.pop("/etc/ipmasq/default.json"),
        lambda host: host.modes.update({"/etc/ipmasq/default.json": 0o644}),
        lambda host: (
            [each.tables["nat"].get("IPMASQ-SRCNAT", ("", []))[1].clear() for each in host.iptables.values()],
            host.nft.tables.pop("ipmasq", None),
        ),
    ],
    ids=["switch", "loader", "state", "mode", "rules"],
)
def test_drift_is_found_and_mended(run, drift):
    drift(run.host)
    assert run()["changed"]
    assert SEEN not in run.host.files
    assert not run()["changed"]


class Scripted(fakes.FakeHost):
    """The script runs dnsmasq."""

    def run(self, argv, stdin=None):
        if argv[:2] == ["sh", "/run/ipmasq-services/control"]:
            self._serve(argv[3], True)
        return super().run(argv, stdin)


@pytest.mark.parametrize(
    "options", [{"metrics": "textfile"}, {"lans": [dict(LANS[0], dhcp=True)]}], ids=["metrics", "dnsmasq"]
)
def test_a_process_that_has_died_is_a_difference(options):
    """Without systemd, its number stays where it was, and only /proc shows that the process is gone."""
    numbers = {"/run/ipmasq-services/default.pid": "4711\n", "/run/ipmasq/default.metering": "4712\n"}
    processes = {
        "/proc/4711/cmdline": "dnsmasq\0--conf-file=/run/ipmasq-services/default.conf\0",
        "/proc/4712/cmdline": "sh\0-c\0while sh metrics write\0",
    }
    sysvinit = {"/etc/init.d": "", "/etc/inittab": "", "/etc/rcS.d/S01ipmasq": ""}
    run = Run(Scripted((*fakes.NFT, "update-rc.d", "dnsmasq"), files={**sysvinit, **numbers, **processes}))
    del run.host.files["/run/systemd/system/x"]
    assert run(**options)["changed"] and not run(**options)["changed"]
    assert not run(**options)["changed"] and run.whole == 2
    for process in processes:
        del run.host.files[process]
    assert run(check_mode=True, **options)["changed"]


def test_what_does_not_belong_to_the_record_is_who_runs_it_and_from_where(run):
    """Every other question does."""

    class Noting(fakes.FakeHost):
        def read(self, path):
            self.calls.append(["read", path])
            return super().read(path)

    noting = Noting()
    noting.__dict__.update(run.host.__dict__)
    noting.calls = []
    listener = repeat.Listener(noting)
    controller.reach(listener)
    assert noting.calls and not listener.asked
    listener.read("/proc/4711/cmdline")
    assert [words for _kind, words, _answer in listener.asked] == [["/proc/4711/cmdline"]]


def test_other_options_are_another_run(run):
    assert run(mss="keep")["changed"]
    assert run()["changed"]


def test_other_code_is_another_run(run, monkeypatch):
    monkeypatch.setattr(repeat, "code_parts", lambda: ["another"])
    run()
    assert run.whole == 3


def test_another_ssh_port_is_another_run(run, monkeypatch):
    run(input="protect")
    run(input="protect")
    before = run.whole
    run(input="protect")
    assert run.whole == before
    monkeypatch.setattr(controller, "reach", lambda _host: Reach(2222, (22,)))
    run(input="protect")
    assert run.whole == before + 1


def test_operators_by_different_ports_are_one(run, monkeypatch):
    """Where both are open anyway. With a list of the user's own, each is asked whether it would be cut off."""

    def come_by(port):
        for module in (controller, wanting):
            monkeypatch.setattr(module, "reach", lambda _host: Reach(port, (22, 2222)))

    for given in ({}, {"input_controller_ports": [22, 2222]}):
        come_by(22)
        run(input="protect", **given)
        run(input="protect", **given)
        before, rows = run.whole, run.host.files["/etc/ipmasq/default.json"]
        for port in (22, 2222, None):
            come_by(port)
            assert not run(input="protect", **given)["changed"]
            assert run.host.files["/etc/ipmasq/default.json"] == rows
        assert run.whole == before + (2 if given else 0)


@pytest.mark.parametrize("carried", [(), ("udp",)])
@pytest.mark.parametrize("vpn", [True, False])
def test_whoever_comes_through_a_vpn_is_told(monkeypatch, vpn, carried):
    """Where there is a VPN that the filter may shut out, it matters from where a run comes."""
    links = [fakes.link("lo"), fakes.link("ppp0", "203.0.113.1/32"), fakes.link("lan0", "192.168.1.1/24")]
    links += [fakes.link("wg0", "10.8.0.1/24", kind="wireguard")] * vpn
    run = Run(fakes.FakeHost(links=links))
    allow = [{"name": "vpn", "protocol": list(carried), "port": ["51820"]}] if carried else []

    def come(source, here):
        for module in (controller, wanting):
            monkeypatch.setattr(module, "reach", lambda _host: Reach(22, (22,), (source, here)))
        done = run(input="protect", input_allow=allow)
        assert "by_ends" not in done
        return [each for each in done.get("remarks", ()) if "this run comes through VPN wg0" in each]

    near, far = ("192.168.1.5", "192.168.1.1"), ("10.8.0.2", "10.8.0.1")
    at_stake = vpn and not carried
    for ends in (near, near, near, far, far, near):
        assert bool(come(*ends)) == (at_stake and ends == far)
    assert run.whole == (4 if at_stake else 2)


def test_check_mode_writes_nothing_down():
    made = Run(fakes.FakeHost())
    made()
    made(check_mode=True)
    assert SEEN not in made.host.files


@pytest.mark.parametrize("text", ["", "{", "[]", '{"options": 1}', "null", "no result"])
def test_a_damaged_list_is_no_list(run, text):
    if text == "no result":
        text = json.dumps(dict(json.loads(run.host.files[SEEN]), result=None))
    run.host.files[SEEN] = text
    assert not run()["changed"]
    assert run.whole == 3


def test_a_folder_that_cannot_be_written_to_costs_time_only(run):
    del run.host.files[SEEN]
    write = run.host.write

    def full(path, text, mode):
        if path == SEEN:
            raise GatewayError("no space left on device")
        write(path, text, mode)

    run.host.write = full
    assert not run()["changed"]
    assert not run()["changed"]
    assert run.whole == 4


def test_a_wrong_instance_has_no_file():
    host = fakes.FakeHost()
    host.read = None
    assert repeat.repeated({"instance": "../../etc/shadow"}, host, lambda _host: {"changed": False})


@pytest.mark.parametrize(
    "question",
    [
        lambda host: host.ask(["nft", "-c", "-j", "-f", "-"], stdin='{"nftables": []}'),
        lambda host: host.ask(["conntrack", "-L", "-f", "ipv4"]),
        lambda host: host.acting(),
    ],
)
def test_what_cannot_be_asked_again_spoils_the_record(question):
    listener = repeat.Listener(fakes.FakeHost())
    listener.ask(["nft", "-j", "list", "chains"])
    assert not listener.spoiled
    question(listener)
    assert listener.spoiled


# --- The script that asks without the module --------------------------------------------------------------------------

SCRIPT = "/run/ipmasq/default.again"


def test_only_a_run_for_a_task_leaves_a_script(run):
    assert SCRIPT not in run.host.files
    run.host.task = "key"
    run(check_mode=True)
    assert SCRIPT not in run.host.files
    run()
    assert '[ "$1" = key ] || exit 3' in run.host.files[SCRIPT]
    assert run.host.modes[SCRIPT] == 0o600


def test_a_change_removes_it_and_so_does_what_cannot_be_asked_again(run):
    run.host.task = "key"
    run()
    run(mss="keep")
    assert SCRIPT not in run.host.files and SEEN not in run.host.files
    run(mss="keep")
    assert SCRIPT in run.host.files

    def spoiling(host):
        host.ask(["conntrack", "-L"])
        return {"changed": False}

    repeat.repeated(gateway_params(lans=LANS), run.host, spoiling)
    assert SCRIPT not in run.host.files and SEEN not in run.host.files


def test_a_full_disk_is_no_reason_to_fail(run, monkeypatch):
    run.host.task = "key"

    def full(path, text, mode):
        raise GatewayError("no space left on device")

    monkeypatch.setattr(run.host, "write", full)
    assert not run()["changed"] and SCRIPT not in run.host.files


def test_without_a_python_there_is_no_script(run, monkeypatch):
    run.host.task = "key"
    monkeypatch.setattr(repeat.sys, "executable", "")
    assert not run()["changed"] and SCRIPT not in run.host.files


def test_who_goes_is_forgotten(run):
    run.host.task = "key"
    run()
    repeat.forget("default", fakes.seen(run.host, True))
    repeat.forget("../../etc/passwd", run.host)
    assert SCRIPT in run.host.files and SEEN in run.host.files
    repeat.forget("default", run.host)
    assert SCRIPT not in run.host.files and SEEN not in run.host.files
    events = len(run.host.events)
    repeat.forget("../../etc/passwd", run.host)
    assert len(run.host.events) == events
