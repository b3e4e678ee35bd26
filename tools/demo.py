# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""make demo: a lab, our role on its gateway, who saw whom, and the proof. With --down: remove the lab."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

NAME = "ipmasq"
CLIENTS = ("office1", "office2", "guest1")
REMOVE = "ansible-playbook ipmasq.linux.lab -e lab_name={0} -e lab_state=absent"
SERVERS = {"IPv4": "http://192.0.2.10/", "IPv6": "http://[2001:db8:200::10]/"}


def main(arguments: list[str]) -> int:
    if "--down" in arguments:
        playbook("ipmasq.linux.lab", "-e", f"lab_name={NAME}", "-e", "lab_state=absent", quiet=True)
        print(f"lab {NAME}: gone")
        for name in left_behind():
            # It may as well belong to a test that is running.
            print(f"lab {name}: still there; if no test is running: {REMOVE.format(name)}")
        return 0
    print("demo: a lab of five hosts (the first time, its image takes about a minute)", flush=True)
    playbook("ipmasq.linux.lab", "-e", f"lab_name={NAME}", quiet=True)
    print("demo: ansible-playbook -i", inventory(), "ipmasq.linux.site", flush=True)
    playbook("-i", str(inventory()), "ipmasq.linux.site")
    seen = {client: {family: ask(client, url) for family, url in SERVERS.items()} for client in CLIENTS}
    print(picture(seen))
    print(rules())
    print(proof())
    print(next_steps())
    missing = [f"{client} over {family}" for client in CLIENTS for family in reach(client) if not seen[client][family]]
    if missing:
        print("demo: did not get through: " + ", ".join(missing), file=sys.stderr)
    return 1 if missing else 0


def cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ipmasq-lab"


def left_behind() -> list[str]:
    """Labs of tests."""
    names = [path.name for path in cache().glob("*") if path.is_dir()]
    return sorted(name for name in names if name.startswith(("molecule-", "test-")))


def inventory() -> Path:
    return cache() / NAME / "inventory.yml"


def playbook(*arguments: str, quiet: bool = False) -> None:
    """Run a playbook; a quiet one shows its output only if it fails."""
    command = ["ansible-playbook", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE if quiet else None, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        sys.stdout.write((done.stdout or b"").decode())
        sys.exit(f"demo: failed: {' '.join(command)}")


def inside(node: str, *command: str) -> str:
    """What a command prints in a container, empty if it fails."""
    done = subprocess.run(["podman", "exec", f"{NAME}-{node}", *command], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def ask(client: str, url: str) -> str:
    """The address that the web server on the WAN saw."""
    return inside(client, "curl", "-s", "-g", "-m", "3", url).split(" ")[0]


def reach(client: str) -> list[str]:
    """The guests' LAN of the lab is IPv4 only."""
    return ["IPv4"] if client.startswith("guest") else ["IPv4", "IPv6"]


def addresses(client: str) -> dict[str, str]:
    links = json.loads(inside(client, "ip", "-j", "addr", "show", "dev", "lan0") or "[{}]")
    listed = [info for info in links[0].get("addr_info", []) if info["scope"] == "global"]
    return {{"inet": "IPv4", "inet6": "IPv6"}[info["family"]]: info["local"] for info in listed}


def picture(seen: dict[str, dict[str, str]]) -> str:
    lines = ["", f"  {'client':26}      {'gateway':9}   the web server on the WAN saw", "  " + "─" * 76]
    for client in CLIENTS:
        own = addresses(client)
        for family in reach(client):
            answer = seen[client][family] or "nothing: no answer"
            lines.append(f"  {client:9}{own.get(family, '?'):17} ───► masquerade ───► {answer}")
    return "\n".join(lines)


def rules() -> str:
    listed = inside("gateway", "nft", "list", "chain", "inet", "ipmasq", "srcnat").splitlines()
    shown = [line.strip() for line in listed if "comment" in line]
    return "\n".join(
        ["", "  NAT rules on the gateway (nft list table inet ipmasq shows all):", *("    " + line for line in shown)]
    )


def proof() -> str:
    """What the gateway proves about itself."""
    rows = cache() / NAME / "proof.json"
    playbook("-i", str(inventory()), "ipmasq.linux.verify", "-e", f"verify_json={rows}", quiet=True)
    held = [row for row in json.loads(rows.read_text()) if row["outcome"] == "holds"]
    head = f"  {len(held)} promises that the gateway has proven on itself (ipmasq.linux.verify), one of each kind:"
    one_of_each = {row["kind"]: f"    holds: {row['name']}" for row in reversed(held)}
    return "\n".join(["", head, *reversed(one_of_each.values())])


def next_steps() -> str:
    return f"""
  What to type next:
    podman exec -it {NAME}-office1 bash                             a shell on a client; try curl 192.0.2.10
    podman exec -it {NAME}-gateway nft list table inet ipmasq       every rule
    ansible-playbook -i {inventory()} ipmasq.linux.site --check --diff
    ansible-playbook -i {inventory()} ipmasq.linux.verify
    make down                                                     take the lab away
  (for ansible-playbook: . .venv/bin/activate; export ANSIBLE_COLLECTIONS_PATH=$PWD/.cache/collections)
"""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
