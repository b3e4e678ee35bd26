# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run that finds nothing to do runs no module, and any difference is found: real ansible-playbook and kernel."""

from __future__ import annotations

import json
import re
import typing as t

import pytest
from test_playbooks import PROGRAM, box, yaml  # noqa: F401 - a fixture  # pylint: disable=unused-import

DECLARED = {
    "wans": [{"interface": "wan0"}],
    "lans": [{"name": "office", "interfaces": ["lan0"]}],
    "port_forwards": [{"name": "web", "port": 443, "to": "192.168.1.20"}],
    "confirm_timeout": 0,
    "proof": "off",
}
#: What happens to a host, and whether the gateway is changed because of it.
DIFFERENCES = {
    "the loader": ("echo true > /etc/ipmasq/boot", True),
    "a link": ("ip link add lan9 type veth peer name far9; ip address add 192.168.9.1/24 dev lan9", False),
    "the record": ("echo '{}' > /run/ipmasq/default.seen", False),
    "the script": ("echo 'echo $1 {}' > /run/ipmasq/default.again; rm /run/ipmasq/default.seen", False),
}
#: The same for each backend; iptables differs in its rules alone.
BY_BACKEND = {
    "nftables": {
        **DIFFERENCES,
        "a rule": ("nft insert rule inet ipmasq forward accept", True),
        "rules": ("nft delete table inet ipmasq", True),
        "a switch": ("echo 0 > /proc/sys/net/ipv4/conf/lan0/forwarding", True),
        "the state": ("chmod 644 /etc/ipmasq/default.json", True),
        "another's chain": (
            "nft add table ip x; nft 'add chain ip x c { type filter hook forward priority 9; }'",
            False,
        ),
    },
    "iptables": {
        "a rule": ("iptables -I FORWARD -j ACCEPT", True),
        "rules": ("iptables -t nat -F", True),
        "the state": ("chmod 644 /etc/ipmasq/default.json", True),
        "another's rule": ("iptables -A FORWARD -s 192.0.2.1 -j DROP", False),
    },
}


class Play:
    """Tasks of one play, of which those that ran our code are told apart from those that did not need it."""

    def __init__(self, backend: str) -> None:
        self.args = dict(DECLARED, backend=backend)
        self.tasks: list[dict[str, t.Any]] = []

    def gateway(self, name: str, **keywords: t.Any) -> None:
        args = {**self.args, **keywords.pop("args", {})}
        task = {"name": "[{0}]".format(name), "ipmasq.linux.gateway": args, "register": self.register(name)}
        self.tasks.append({**task, **keywords})

    def shell(self, command: str) -> None:
        self.tasks.append({"ansible.builtin.raw": command})

    @staticmethod
    def register(name: str) -> str:
        return "r_" + re.sub(r"\W", "_", name)

    def run(self, box) -> tuple[dict[str, t.Any], set[str], dict[str, str]]:  # noqa: F811
        """The result of each task, those that ran the module's code, and what a user sees of each with -vvv."""
        names = [task["name"][1:-1] for task in self.tasks if "register" in task]
        found = ", ".join("{0!r}: {1}".format(name, self.register(name)) for name in names)
        said = {"ansible.builtin.debug": {"msg": "FOUND{{ {" + found + "} | to_json }}DNUOF"}}
        play = {"hosts": "gw1", "gather_facts": False, "tasks": [*self.tasks, said]}
        (box.folder / "play.yml").write_text(yaml.safe_dump([play], sort_keys=False), encoding="utf-8")
        argv = [str(PROGRAM), "-vvv", "-i", str(box.folder / "hosts.ini"), str(box.folder / "play.yml")]
        done = box.inside("env", "HOME=" + str(box.folder), *argv)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr
        sections = re.split(r"^TASK \[\[", done.stdout, flags=re.MULTILINE)[1:]
        texts = {each.partition("]")[0]: each.partition("\nTASK ")[0] for each in sections}
        assert "/modules/gateway.py" not in done.stdout, "the module was sent"
        whole = {name for name, text in texts.items() if re.search(r"EXEC .* -I -S -X utf8 -c ", text)}
        # A script that ends well, but not as ours would, does not say what else is there.
        assert whole == {"first", "the script"} & set(names), "only the first run sends our files"
        ran = {name for name, text in texts.items() if re.search(r"EXEC .*sh /run/ipmasq/\.code-", text)} | whole
        ended = re.compile(r"^ok: .*?^}", re.MULTILINE | re.DOTALL)
        shown = {name: "".join(ended.findall(text)) for name, text in texts.items()}
        results = re.search(r"FOUND(.*)DNUOF", done.stdout).group(1)
        return json.loads(json.loads('"{0}"'.format(results))), ran, shown


def test_what_writes_metrics_has_died(box):  # noqa: F811
    """Without systemd, the number of a process that was killed stays where it was."""
    play = Play("nftables")
    play.args.update(metrics="textfile", metrics_folder="/run/m")
    play.shell("mkdir /etc/init.d /etc/rcS.d; touch /etc/inittab /etc/rcS.d/S01ipmasq")
    for name in ("first", "recording", "known"):
        play.gateway(name)
    play.shell("kill -s KILL -- -$(cat /run/ipmasq/default.metering)")
    play.gateway("checked", check_mode=True)
    play.gateway("again")
    play.gateway("removed", args={"state": "absent"})
    results, sent, _shown = play.run(box)
    assert "known" not in sent and not results["known"]["changed"]
    assert results["checked"]["changed"] and results["again"]["changed"]
    assert "metrics" in " ".join(results["again"]["differences"])


@pytest.mark.parametrize("backend", ["nftables", "iptables"])
def test_nothing_is_sent_until_something_is_different(box, backend):  # noqa: F811
    play = Play(backend)
    play.gateway("first")
    play.gateway("recording")
    play.gateway("known")
    play.gateway("checked", check_mode=True)
    play.gateway("shown", diff=True)
    play.gateway("in a loop", loop=[1, 2])
    play.gateway("secret", no_log=True)
    play.gateway("with an environment", environment={"A": "b 'c"})
    play.shell("rm /run/ipmasq/default.again")
    play.gateway("without a script")
    play.shell("rm /run/ipmasq/default.again")
    play.gateway("shown without a script", diff=True)
    for name, (command, changed) in BY_BACKEND[backend].items():
        play.shell(command)
        play.gateway(name)
        if changed:
            play.gateway(name + ", recording")
        play.gateway(name + ", known")
    play.gateway("an option", args={"mss": "keep"})
    play.gateway("another option", args={"port_forwards": [dict(DECLARED["port_forwards"][0], port=444)]})

    play.gateway("another option, recording", args={"port_forwards": [dict(DECLARED["port_forwards"][0], port=444)]})
    play.gateway("removed", args={"state": "absent"})

    results, ran, shown = play.run(box)

    known = {"known", "checked", "shown", "in a loop", "secret", "with an environment"}
    assert set(results) - ran == known | {name + ", known" for name in BY_BACKEND[backend]}
    assert results["first"]["changed"] and not results["recording"]["changed"]
    # The host reports what the module reports.
    assert results["known"] == results["without a script"] == results["secret"] == results["checked"]
    assert results["shown"] == results["shown without a script"]
    assert {"backend", "wans", "lans", "notes"} <= set(results["known"])
    assert shown["known"] == shown["without a script"] and '"invocation": {' in shown["known"]
    assert [each["changed"] for each in results["in a loop"]["results"]] == [False, False]
    for name, (_command, changed) in BY_BACKEND[backend].items():
        assert results[name]["changed"] is changed, name
        assert not results[name + ", known"]["changed"], name
    assert results["an option"]["changed"] and results["another option"]["changed"]
    assert not list((box.folder / "run/ipmasq").glob("default.[as]*"))
    assert not list((box.folder / "run/ipmasq").glob(".code-*"))
