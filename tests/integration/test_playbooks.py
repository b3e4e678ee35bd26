# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Playbooks that check a gateway, ours and those in the pages: real ansible-playbook, real modules."""

from __future__ import annotations

import json
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
import sandbox
from helpers import OFFICE, wire_gateway
from sandbox import sh
from test_confirm import ONE, TWO, Box

yaml = pytest.importorskip("yaml", reason="playbooks are YAML, and this Python has no PyYAML")

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLAYBOOKS = ROOT / "playbooks"
PROGRAM = pathlib.Path(sys.executable).parent / "ansible-playbook"
INVENTORY = """
[gateways]
gw1 ansible_connection=local ansible_become=false gateway_instance=
gw2 ansible_connection=local ansible_become=false gateway_instance=branch
[gateways:vars]
ansible_python_interpreter={0}
"""


@pytest.fixture
def box(tmp_path):
    if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mount namespaces here")
    if not PROGRAM.exists():
        pytest.skip("no ansible-core beside this Python")
    wire_gateway()
    made = Box(tmp_path, "nftables")
    (tmp_path / "hosts.ini").write_text(INVENTORY.format(sys.executable), encoding="utf-8")
    return made


def run(box, playbook, *more):
    """Exit code, and the results of each task and host."""
    argv = [str(PROGRAM), "-i", str(box.folder / "hosts.ini"), str(playbook), *more]
    done = box.inside("env", "ANSIBLE_STDOUT_CALLBACK=json", "HOME=" + str(box.folder), *argv)
    assert done.stdout.startswith("{"), done.stdout + done.stderr
    tasks = [task for play in json.loads(done.stdout)["plays"] for task in play["tasks"]]
    return done.returncode, [(task["task"]["name"], task["hosts"]) for task in tasks]


def drift(box, *more):
    """Exit code, and the messages for each host."""
    rc, tasks = run(box, PLAYBOOKS / "drift.yml", *more)
    said = {}
    for _name, hosts in tasks:
        for host, result in hosts.items():
            if "msg" in result and not result.get("skipped") and (host != "localhost" or result.get("failed")):
                said.setdefault(host, []).append(result["msg"])
    return rc, said


def test_it_fails_on_drift_and_where_nothing_is_applied(box):
    box.apply(confirm_timeout=0, **ONE)
    rc, said = drift(box)
    assert (rc, said) == (2, {"gw1": ["All assertions passed"], "gw2": [["nothing was applied here"]]})
    assert drift(box, "--limit", "gw1", "--check")[0] == 0

    sh("nft add rule inet ipmasq forward accept; echo 0 > /proc/sys/net/ipv4/conf/lan0/forwarding")
    rc, said = drift(box, "--limit", "gw1")
    (lines,) = said["gw1"]
    assert rc == 2 and len(lines) == 2 and lines[0].startswith("- ") and "lan0/forwarding: 0" in lines[1]
    box.apply(confirm_timeout=0, **ONE)

    # A pending change is not drift.
    box.apply(**TWO)
    rc, said = drift(box, "--limit", "gw1")
    assert rc == 0 and said["gw1"][0].startswith("a change by ")
    # One that nobody has ended is.
    (waits,) = (box.folder / "run/ipmasq").glob("default/**/change.json")
    text = waits.read_text(encoding="utf-8")
    waits.write_text(re.sub(r'"deadline": "\d+', '"deadline": "2020', text), encoding="utf-8")
    rc, said = drift(box, "--limit", "gw1")
    assert rc == 2 and "should have been rolled back at 2020-" in said["gw1"][0]
    waits.write_text(text, encoding="utf-8")
    assert run(box, PLAYBOOKS / "confirm.yml", "--limit", "gw1,localhost")[0] == 0
    rc, said = drift(box, "--limit", "gw1")
    assert (rc, said["gw1"]) == (0, ["All assertions passed"])

    sh("nft flush ruleset")
    shutil.rmtree(box.folder / "etc/ipmasq")
    rc, said = drift(box, "--limit", "gw1")
    open_router = "this host forwards packets without translating or filtering them"
    assert (rc, said["gw1"]) == (2, [["nothing was applied here", open_router]])


@pytest.mark.parametrize("playbook", ["drift", "confirm", "verify", "explain"])
@pytest.mark.parametrize("text", ["[gateway]\ngw1 ansible_connection=local\n", ""])
def test_it_fails_where_there_is_no_gateway(box, playbook, text):
    """A group with a typing error, and an inventory that came back empty."""
    (box.folder / "hosts.ini").write_text(text, encoding="utf-8")
    rc, tasks = run(box, PLAYBOOKS / (playbook + ".yml"))
    (result,) = tasks[-1][1].values()
    assert rc == 2 and "put hosts into the group gateways" in result["msg"]


# -- asserts that the pages show


def tasks_in(found):
    """The tasks that check a gateway, from a list of tasks or plays."""
    if not isinstance(found, list):
        return []
    tasks = []
    for each in found:
        inside = [each] if isinstance(each, dict) else []
        for key in ("tasks", "pre_tasks", "post_tasks"):
            inside += each.get(key) or [] if isinstance(each, dict) else []
        tasks += [task for task in inside if {"ipmasq.linux.gateway_info", "ansible.builtin.assert"} & set(task)]
    return tasks


def shown():
    """Every page and example that shows an assert about gateway_info: its tasks. Probes need hosts that answer."""
    texts = {}
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("roles/*/README.md")]:
        for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)):
            texts["{0} {1}".format(path.name, number)] = block
    for path in ROOT.glob("examples/**/*.yml"):
        texts[str(path.relative_to(ROOT))] = path.read_text(encoding="utf-8")
    for path in (ROOT / "plugins/modules").glob("*.py"):
        texts[path.name] = re.search(r'EXAMPLES = r"""(.*?)"""', path.read_text(encoding="utf-8"), re.DOTALL).group(1)
    with_asserts = {name: text for name, text in texts.items() if "assert:" in text and "_probe" not in text}
    return {name: tasks_in(yaml.safe_load(text)) for name, text in with_asserts.items()}


def test_asserts_of_pages_and_examples_hold_on_a_gateway_and_fail_on_a_wiped_host(box):
    found = shown()
    asserts = [task for tasks in found.values() for task in tasks if "ansible.builtin.assert" in task]
    assert {"gateway_info.py", "examples/fleet/canary.yml"} <= set(found) and len(asserts) >= 6
    for task in asserts:
        task["ignore_errors"] = True
    playbook = box.folder / "play.yml"
    # An instance of no name is the default; were it refused, the run would end here.
    tasks = [{"name": "No name", "ipmasq.linux.gateway_info": {"instance": "", "backend": None}}]
    tasks += [task for tasks in found.values() for task in tasks]
    play = {"hosts": "gw1", "gather_facts": False, "tasks": tasks}
    playbook.write_text(yaml.safe_dump([play], sort_keys=False), encoding="utf-8")

    def outcomes():
        rc, results = run(box, playbook)
        assert rc == 0
        names = {task["name"] for task in asserts}
        failed = [name for name, hosts in results if name in names and hosts["gw1"].get("failed")]
        assert {name for name, _hosts in results} >= names
        return failed

    box.apply(confirm_timeout=0, **ONE)
    assert outcomes() == []
    sh("nft flush ruleset")
    shutil.rmtree(box.folder / "etc/ipmasq")
    wiped = outcomes()
    looks = [task["name"] for task in asserts if "as_applied" in str(task["ansible.builtin.assert"]["that"])]
    assert set(wiped) >= {*looks, "Stop if this host forwards packets without translating or filtering them"}


# -- what the role says


def test_the_role_says_what_options_give_up_once(box):
    playbook = box.folder / "play.yml"
    web = {"name": "web", "port": 443, "to": "192.168.1.20", "hairpin": True, "hairpin_source": "gateway"}
    named = {"gateway_" + name: value for name, value in ONE.items()}
    more = {
        "gateway_port_forwards": [web, dict(web, name="plain", port=80, hairpin=False)],
        "gateway_confirm_timeout": 0,
    }
    play = {"hosts": "gw1", "gather_facts": False, "roles": ["ipmasq.linux.gateway"], "vars": {**named, **more}}
    playbook.write_text(yaml.safe_dump([play]), encoding="utf-8")
    said = "port_forwards web: hairpin_source is gateway: the server cannot tell inside clients apart"
    for times in (1, 0):
        rc, results = run(box, playbook)
        assert rc == 0, results
        lines = [line for _name, hosts in results for line in hosts["gw1"].get("msg", ()) if "RFC" in line]
        assert lines == times * [said + " (RFC 4787 REQ-9)"]


def test_only_the_first_run_says_how_to_prove_the_gateway(box):
    named = {"gateway_" + name: value for name, value in ONE.items()}
    path = box.folder / "play.yml"
    said = []
    for more, words in (
        ({}, ["--check"]),
        ({"gateway_confirm_by": "person"}, []),  # not yet kept, and rolled back below
        ({}, []),
        ({}, []),
        ({"gateway_drop_bogons": True}, []),
    ):
        values = {**named, "gateway_confirm_timeout": 60 if more.get("gateway_confirm_by") else 0, **more}
        play = {"hosts": "gw1", "gather_facts": False, "roles": ["ipmasq.linux.gateway"], "vars": values}
        path.write_text(yaml.safe_dump([play]), encoding="utf-8")
        rc, results = run(box, path, *words)
        assert rc == 0, results
        lines = [line for _name, hosts in results for line in hosts["gw1"].get("msg", ())]
        said.append([line for line in lines if "ipmasq.linux.verify" in line])
        assert not said[-1] or said[-1] == lines[-1:]
        if "gateway_confirm_by" in more:
            assert box.confirm(state="reverted")["changed"]
    words = "prove it at any time, also from its clients: ansible-playbook ipmasq.linux.verify"
    assert said == [[], [], [words], [], []]


def play(box, *tasks, **more):
    path = box.folder / "play.yml"
    head = {"hosts": "gw1", "gather_facts": False, **more}
    path.write_text(yaml.safe_dump([dict(head, tasks=list(tasks))], sort_keys=False), encoding="utf-8")
    return path


@pytest.mark.parametrize("how", [{}, {"rolespec_validate": False}], ids=["validated", "as in site.yml"])
def test_one_mistake_has_one_message_and_what_is_empty_is_none(box, how):
    role = {"name": "x", "ansible.builtin.import_role": {"name": "ipmasq.linux.gateway", **how}}
    wrong = {
        "gateway_wans": ["wan0"],
        "gateway_lans": [OFFICE],
        "gateway_port_forwards": [{"name": "web", "ports": 443, "to": "192.168.1.20"}],
        "gateway_ipv6": "nat66",
        "gateway_mss": "1",
    }
    rc, results = run(box, play(box, role, vars=wrong))
    assert rc == 2
    assert results[-1][1]["gw1"]["msg"].splitlines() == [
        "gateway_port_forwards[0] 'web': has no option ports; did you mean port?",
        "gateway_ipv6: 'nat66' is not one of route, masquerade, prefix",
    ]
    if how:
        return
    # The host is asked only once the shape is right; the module uses the same names in its errors.
    rc, results = run(box, play(box, role, vars={**wrong, "gateway_port_forwards": None, "gateway_ipv6": None}))
    assert rc == 2
    problem = "gateway_mss: '1' is not pmtu, keep or a number of bytes from 88 to 65495"
    assert (results[-1][1]["gw1"]["msg"], results[-1][1]["gw1"]["problems"]) == (problem, [problem])

    defaults = yaml.safe_load((ROOT / "roles/gateway/defaults/main.yml").read_text(encoding="utf-8"))
    empty = {**dict.fromkeys(defaults), "gateway_wans": ["wan0"], "gateway_lans": [OFFICE]}
    rc, results = run(box, play(box, role, vars=empty))
    assert rc == 0, results
    assert not box.apply(**ONE)["changed"]


@pytest.mark.parametrize("how", [{}, {"rolespec_validate": False}], ids=["validated", "as in a playbook"])
def test_one_mistake_has_one_message_in_the_role_of_clients(box, how):
    role = {"name": "x", "ansible.builtin.import_role": {"name": "ipmasq.linux.lan_client", **how}}
    wrong = {"lan_client_state": "presnt", "lan_client_unmanaged": "skp", "lan_client_confirm_timeout": "soon"}
    rc, results = run(box, play(box, role, vars=wrong))
    assert rc == 2
    assert results[-1][1]["gw1"]["msg"].splitlines() == [
        "lan_client_state: 'presnt' is not one of present, absent; did you mean present?",
        "lan_client_unmanaged: 'skp' is not one of fail, skip; did you mean skip?",
        "lan_client_confirm_timeout: 'soon' is not an integer",
    ]
    defaults = yaml.safe_load((ROOT / "roles/lan_client/defaults/main.yml").read_text(encoding="utf-8"))
    (box.folder / "hosts.ini").write_text("gw1 ansible_connection=local\n", encoding="utf-8")
    rc, results = run(box, play(box, role, vars=dict.fromkeys(defaults)))
    problem = "lan_client_gateways: there is no gateway to choose from; set lan_client_gateway to its address"
    assert (rc, results[-1][1]["gw1"]["msg"]) == (2, problem)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"lab_state": "presnt"}, "lab_state: state 'presnt' is not known; choose one of present, absent"),
        ({"lab_engine": "dokcer"}, "lab_engine: engine 'dokcer' is not known; choose one of podman, docker"),
        (
            {"lab_nodes": [{"name": "gw", "interface": []}]},
            "lab_nodes[0] 'gw': has no option interface; did you mean interfaces?",
        ),
        ({"lab_nodes": {"name": "gw"}}, "lab_nodes: is a single item, but must be a list; put '- ' in front of it"),
    ],
    ids=str,
)
def test_one_mistake_has_one_message_in_the_lab(box, wrong, said):
    """As people import the role, and as its playbook does."""
    more = {"connection": "local", "roles": ["ipmasq.linux.lab"], "vars": wrong}
    rc, results = run(box, play(box, **more))
    assert (rc, results[-1][1]["gw1"]["msg"]) == (2, said)
    rc, results = run(box, PLAYBOOKS / "lab.yml", "-e", json.dumps(wrong))
    assert (rc, results[-1][1]["localhost"]["msg"]) == (2, said)


@pytest.mark.parametrize(
    ("role", "typed", "meant", "more"),
    [
        ("lan_client", "lan_client_gatway", "lan_client_gateway", {"lan_client_state": "presnt"}),
        ("lab", "lab_node", "lab_nodes", {"lab_state": "presnt"}),
    ],
)
def test_a_mistyped_variable_of_the_other_roles_draws_a_warning(box, role, typed, meant, more):
    """In a run that another mistake ends before anything is done."""
    playbook = play(box, roles=["ipmasq.linux." + role], vars={typed: [], **more})
    argv = [str(PROGRAM), "-i", str(box.folder / "hosts.ini"), str(playbook)]
    done = box.inside("env", "HOME=" + str(box.folder), "COLUMNS=500", *argv)
    assert done.returncode == 2, done.stdout
    words = "{0} is not a variable of this role and has no effect; did you mean {1}?".format(typed, meant)
    assert words in " ".join(done.stderr.split())


def test_a_mistyped_variable_draws_a_warning(box):
    role = {"name": "x", "ansible.builtin.import_role": {"name": "ipmasq.linux.gateway"}}
    typed = {"gateway_wans": ["wan0"], "gateway_lans": [OFFICE], "gateway_port_forward": [], "gateway_ipv4": "mine"}
    argv = [str(PROGRAM), "-i", str(box.folder / "hosts.ini"), str(play(box, role, vars=typed)), "--check"]
    done = box.inside("env", "HOME=" + str(box.folder), "COLUMNS=500", *argv)
    assert done.returncode == 0, done.stdout
    said = " ".join(done.stderr.split())
    words = "gateway_port_forward is not a variable of this role and has no effect; did you mean gateway_port_forwards?"
    assert words in said and "gateway_ipv4" not in said


def test_the_way_from_lines_to_a_gateway_has_the_names_of_the_role(box):
    line = {"name": "x", "source": "192.168.1.0/24", "out_interface": "wan0", "confirm_timeout": 0}
    role = {"name": "x", "ansible.builtin.import_role": {"name": "ipmasq.linux.gateway"}}
    named = {"gateway_" + name: value for name, value in ONE.items()}
    rc, results = run(box, play(box, {"name": "line", "ipmasq.linux.masquerade": line}, role, vars=named))
    assert rc == 2
    assert results[-1][1]["gw1"]["msg"] == (
        "gateway_instance: 'default' holds single items (masquerade/x); to remove them, run once with "
        "gateway_state=absent, or choose another instance"
    )


def test_the_diff_shows_a_rewritten_file_as_neither_new_nor_gone(box):
    role = {"name": "x", "ansible.builtin.import_role": {"name": "ipmasq.linux.gateway"}}
    named = {"gateway_" + name: value for name, value in ONE.items()}

    def shown(**more):
        path = play(box, role, vars={**named, "gateway_confirm_timeout": 0, **more})
        argv = [str(PROGRAM), "-i", str(box.folder / "hosts.ini"), "-l", "gw1", str(path), "--diff"]
        done = box.inside("env", "HOME=" + str(box.folder), "ANSIBLE_NOCOLOR=1", *argv)
        assert done.returncode == 0, done.stdout
        return [line for line in done.stdout.splitlines() if "/default.json" in line]

    assert shown() == ["+file /etc/ipmasq/default.json"]
    assert shown(gateway_drop_bogons=True) == ["~ file /etc/ipmasq/default.json: rewritten"]


def test_module_defaults_of_the_group_fit_every_module(box):
    group = {"instance": "branch", "backend": "nftables", "confirm_timeout": 0, "confirm_by": "person"}
    rc, results = run(
        box,
        play(
            box,
            {"name": "switch", "ipmasq.linux.forwarding": {"ipv4": True}},
            {"name": "line", "ipmasq.linux.masquerade": {"name": "x", "source": "10.0.0.0/8", "out_interface": "wan0"}},
            {"name": "look", "ipmasq.linux.gateway_info": {}},
            {"name": "confirm", "ipmasq.linux.gateway_confirm": {}},
            module_defaults={"group/ipmasq.linux.gateway": group},
        ),
    )
    assert rc == 0, results
    (look,) = [hosts["gw1"] for name, hosts in results if name == "look"]
    assert (look["as_applied"], look["instances"], look["owner"]) == (True, ["branch"], "items")


# -- a host on which only tc is missing

#: In this mount namespace, /dev/null lies over tc; this module of a package manager takes it away.
PACKAGES = """#!/usr/bin/python
import subprocess
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule({"name": {"type": "list"}, "state": {}, "update_cache": {"type": "bool"}})
subprocess.run(["umount", "%s"], check=True)
module.exit_json(changed=True, installed=module.params["name"])
"""
ROLE = """
- hosts: gw1
  gather_facts: false
  tasks:
    - set_fact: {os_family: %s, pkg_mgr: apk, cacheable: true}
    - include_role: {name: ipmasq.linux.gateway}
      vars:
        gateway_wans: [{interface: wan0}]
        gateway_lans: [{name: office, interfaces: [lan0], networks: [192.168.1.0/24]}]
        gateway_confirm_timeout: 0
        gateway_foreign_drops: warn
"""


def without_tc(box, *managers):
    tc = str(pathlib.Path(shutil.which("tc", path=sandbox.PATH)).resolve())
    box.mounted = "mount --bind /dev/null {0}; ".format(tc)
    (box.folder / "library").mkdir()
    for manager in managers:
        (box.folder / "library" / (manager + ".py")).write_text(PACKAGES % tc, encoding="utf-8")


@pytest.mark.parametrize(("family", "package"), [("Debian", "iproute2"), ("RedHat", "iproute-tc")])
def test_the_role_installs_tc_where_only_it_is_missing(box, family, package):
    without_tc(box, "apk")
    (box.folder / "role.yml").write_text(ROLE % family, encoding="utf-8")
    # Somebody's rule, so that there is something to find.
    drops = family == "RedHat"
    if drops:
        sh("ip neigh replace 203.0.113.1 lladdr 02:00:00:00:00:11 dev wan0")
        sh("nft add table ip other; nft 'add chain ip other f {type filter hook forward priority 5; policy drop;}'")
    rc, tasks = run(box, box.folder / "role.yml")
    done = {name.rpartition(" : ")[2]: hosts.get("gw1", {}) for name, hosts in tasks}
    assert done["Install tc"]["installed"] == [package]
    proof = done["Prove what was applied without it"]
    assert (rc, bool(proof["broken"])) == ((2, True) if drops else (0, False)), proof["broken"]
    # The next run changes nothing, so it proves nothing, and installs nothing.
    rc, tasks = run(box, box.folder / "role.yml")
    done = {name.rpartition(" : ")[2]: hosts.get("gw1", {}) for name, hosts in tasks}
    assert rc == 0 and "Install tc" not in done


# -- the page "From another host"

#: Another host's Python, which the gateway's inventory does not name.
TRAP = """#!/bin/sh
echo "$*" >> {0}
exit 127
"""
DELEGATED = """
- hosts: localhost
  gather_facts: false
  tasks:
    - set_fact: {os_family: RedHat, pkg_mgr: dnf, cacheable: true}
    - name: Configure each gateway
      ansible.builtin.include_role:
        name: ipmasq.linux.gateway
        apply:
          delegate_to: "{{ item }}"
      loop: [gw1]
      vars:
        gateway_wans: [{interface: wan0}]
        gateway_lans: [{name: office, interfaces: [lan0], networks: [192.168.1.0/24]}]
        gateway_confirm_timeout: 0
        gateway_backend: nftables
    - name: Show the family
      debug:
        msg: "{{ ansible_facts.os_family }}"
"""


def test_a_gateway_that_another_host_configures_has_nothing_of_that_host(box):
    trap, told = box.folder / "python3", box.folder / "told"
    trap.write_text(TRAP.format(told), encoding="utf-8")
    trap.chmod(0o755)
    with (box.folder / "hosts.ini").open("a", encoding="utf-8") as hosts:
        hosts.write("[all]\nlocalhost ansible_connection=local ansible_python_interpreter={0}\n".format(trap))
    without_tc(box, "apk", "apt", "dnf", "pacman", "zypper")
    (box.folder / "delegated.yml").write_text(DELEGATED, encoding="utf-8")
    rc, tasks = run(box, box.folder / "delegated.yml")
    assert rc == 0, tasks
    assert not told.exists(), told.read_text(encoding="utf-8")
    assert box.module("gateway_info")["as_applied"]
    # Packages have the names of the gateway's distribution, and its facts do not become those of the other host.
    done = {name.rpartition(" : ")[2]: hosts["localhost"] for name, hosts in tasks}
    assert done["Install tc"]["installed"] == ["iproute2"]
    assert done["Show the family"]["msg"] == "RedHat"


#: The Python of a LAN client that somebody has taken over: whatever it is told to run, it answers this.
TAKEN_OVER = """#!/bin/sh
cat << 'EOF'
{0}
EOF
"""


def test_a_client_cannot_choose_whom_the_controller_asks(box):
    """Neither a host outside the group of its gateways, nor options of ssh."""
    trap, told = box.folder / "python3", box.folder / "told"
    asks = ["-oProxyCommand=touch {0}; false".format(told), "localhost", "gw1", "elsewhere"]
    answer = {"changed": False, "ask": asks, "notes": [], "addresses": ["192.168.1.9"], "differences": []}
    trap.write_text(TAKEN_OVER.format(json.dumps(answer)), encoding="utf-8")
    trap.chmod(0o755)
    with (box.folder / "hosts.ini").open("a", encoding="utf-8") as hosts:
        hosts.write("[lan_clients]\ndesk ansible_connection=local ansible_become=false\n")
        hosts.write("[lan_clients:vars]\nansible_python_interpreter={0}\n".format(trap))
    role = {"name": "x", "ansible.builtin.import_role": {"name": "ipmasq.linux.lan_client"}}
    _rc, tasks = run(box, play(box, role, hosts="lan_clients", vars={"lan_client_gateways": "gateways"}))
    asked = [hosts["desk"] for name, hosts in tasks if name.endswith("Ask a gateway")]
    assert [each.get("cmd") for each in asked] == [["ip", "-j", "address", "show"]]
    assert not told.exists()
