# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collection under every ansible-core that we promise, as the controller: playbooks, roles, filters, templates.

Roles run in check mode, in a network namespace of their own: nothing of this machine is changed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import ansible.release
import pytest
from project import OUR_PROGRAMS, PLAYBOOKS, ROOT, Installed

sys.path.insert(0, str(ROOT / "tools"))
from unit_matrix import find_interpreter

#: ansible-core, and the Pythons that it takes on a controller.
CONTROLLERS = {
    "2.17": ("3.10", "3.11", "3.12"),
    "2.19": ("3.11", "3.12", "3.13"),
    "2.21": ("3.13", "3.12", "3.14"),
}

HOSTS = """\
[gateways]
here
[lan_clients]
here
[all:vars]
ansible_connection=local
ansible_become=false
ansible_python_interpreter={{ ansible_playbook_python }}
lan_client_gateway=192.168.1.254
"""

#: A host with a WAN and a LAN.
WIRES = """\
set -e
ip link set lo up
ip link add wan0 type veth peer name wan0-peer
ip link add lan0 type veth peer name lan0-peer
ip address add 198.51.100.2/24 dev wan0
ip address add 192.168.1.1/24 dev lan0
for link in wan0 wan0-peer lan0 lan0-peer; do ip link set $link up; done
ip route add default via 198.51.100.1
exec "$@"
"""


@pytest.fixture(scope="module", params=CONTROLLERS)
def controller(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    core = request.param
    return Installed(tmp_path_factory.mktemp(f"core-{core}"), programs_of(core))


def programs_of(core: str) -> str:
    """Where this ansible-core's programs are; installed in .cache unless the virtual environment has that version."""
    if ansible.release.__version__.startswith(f"{core}."):
        return OUR_PROGRAMS
    found = [each for each in map(find_interpreter, CONTROLLERS[core]) if each]
    if not found:
        pytest.skip(f"ansible-core {core} needs Python {' or '.join(CONTROLLERS[core])}, which this machine lacks")
    folder = ROOT / ".cache" / "controllers" / core
    stamp = folder / ".ipmasq"
    if not stamp.exists():
        subprocess.run([found[0], "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
        subprocess.run([*pip, f"ansible-core=={core}.*", "-r", str(ROOT / "requirements.txt")], check=True)
        stamp.touch()
    return str(folder / "bin")


def play(controller: Installed, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run site.yml in check mode on this machine, in a network namespace with the wires of a gateway."""
    if os.geteuid() != 0:
        pytest.skip("a network namespace needs root")
    inventory = Path(controller.folder, "hosts.ini")
    inventory.write_text(HOSTS, encoding="utf-8")
    site = ["ansible-playbook", "--check", "--diff", "-i", str(inventory), "ipmasq.linux.site", *arguments]
    return controller.try_to_run("unshare", "--net", "sh", "-c", WIRES, "wires", *site)


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_syntax(controller: Installed, playbook: str) -> None:
    assert f"/ipmasq/linux/playbooks/{playbook}.yml" in controller.playbooks


def test_role_gateway_chooses_wan_and_lan(controller: Installed) -> None:
    done = play(controller, "--tags", "gateway")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WAN wan0: chosen" in done.stdout
    assert "LAN lan0: chosen" in done.stdout
    assert "changed=1" in done.stdout


def test_role_gateway_says_all_problems_at_once(controller: Installed) -> None:
    lans = '{"gateway_lans": [{"name": "office", "interfaces": ["an/interface"], "networks": ["192.168.1.1/24"]}]}'
    done = play(controller, "--tags", "gateway", "-e", lans)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "an/interface" in done.stdout
    assert "192.168.1.1/24 has host bits set" in done.stdout


def test_role_lan_client_names_a_manager_that_it_does_not_know(controller: Installed) -> None:
    """The module runs, and its sentence gets through in the words of the role."""
    done = play(controller, "--tags", "lan_client")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "lan0 is managed by" in done.stdout
    assert "the default route via 192.168.1.254" in done.stdout
    assert "set lan_client_unmanaged to skip" in done.stdout
    assert "changed=0" in done.stdout
