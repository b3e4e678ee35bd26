# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.
"""The text of a rule that the kernel names by its number, and what a rule of ours says about itself."""

from __future__ import annotations

import re
import typing as t

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host
    from .packets import Packet
    from .trace import Event

#: Tables of iptables-nft, whose rules are written as iptables-save lists them.
IPTABLES = {"ip": "iptables", "ip6": "ip6tables"}
TABLES = ("filter", "nat", "mangle", "raw", "security")
COUNTER = re.compile(r"\s*\bcounter packets \d+ bytes \d+")
COMMENT = re.compile(r'\s*(?:-m comment --)?comment (?:"ipmasq:\w+/([^"]*)"|ipmasq:\w+/(\S+))')
#: The elements of a map, of which there may be thousands.
ELEMENTS = re.compile(r"\bmap \{[^}]{200,}\}")
#: The items of a declaration, by the comments of our rules; and the promises of a gateway.
ITEMS = {"outbound": "outbound '{0}'", "nat": "nat '{0}'", "port_forward": "port forward '{0}'", "lan": "LAN '{0}'"}
OWN = {
    "guard": "guard against private sources outside",
    "isolation": "isolation of LANs (reaches)",
    "closed": "rule against connections from outside",
    "spoofed": "rule against foreign sources (spoof_check)",
    "undeclared": "rule for undeclared interfaces (undeclared)",
    "bogons": "rule against bogons (drop_bogons)",
    "invalid": "rule against packets that belong to no flow",
    "protected": "rule for its own ports (input)",
    "input": "rule for its own ports (input)",
}


class Rules:
    """Each chain is listed once."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._chains: t.Dict[t.Tuple[str, str, str], t.Dict[int, str]] = {}
        self._saved: t.Dict[t.Tuple[str, str], t.List[str]] = {}

    def listed(self, event: Event) -> str:
        """With its comment; empty if it is not there any more."""
        key = (event.family, event.table, event.chain)
        if key not in self._chains:
            lines = self._host.run(["nft", "-a", "list", "chain", *key]).out.splitlines()
            found = [
                line.rpartition(" # handle ") for line in lines if not line.lstrip().startswith(("chain", "table"))
            ]
            texts = {int(number): text.strip() for text, _sign, number in found if number.isdigit()}
            saved = self._iptables(event)
            self._chains[key] = dict(zip(texts, saved)) if len(saved) == len(texts) else texts
        return self._chains[key].get(event.handle, "")

    def _iptables(self, event: Event) -> t.List[str]:
        """The rules of a chain, if it is one of iptables-nft."""
        if event.family not in IPTABLES or event.table not in TABLES:
            return []
        key = (event.family, event.table)
        if key not in self._saved:
            names = ("{0}-nft-save".format(IPTABLES[event.family]), "{0}-save".format(IPTABLES[event.family]))
            program = next((name for name in names if self._host.which(name)), "")
            listing = self._host.run([program, "-t", event.table]).out if program else ""
            self._saved[key] = [line[3:] for line in listing.splitlines() if line.startswith("-A ")]
        start = event.chain + " "
        return [text[len(start) :] for text in self._saved[key] if text.startswith(start)]

    def text(self, event: Event) -> str:
        return bare(self.listed(event))


def bare(text: str) -> str:
    """A rule without its counter, without our comment, and without the elements of a map."""
    text = ELEMENTS.sub("map { ... }", COUNTER.sub("", COMMENT.sub("", text)))
    return re.sub(r"\s+", " ", text).strip()


def item(text: str, packet: t.Optional[Packet] = None) -> t.Tuple[str, ...]:
    """What a rule of ours says about itself, such as outbound and the name of an item; nothing for any other.

    A rule for many port forwards has their names in a map, where ``packet`` finds its own.
    """
    found = COMMENT.search(text)
    key = tuple((found.group(1) or found.group(2)).split("/", 1)) if found else ()
    if key != ("lookup",) or not packet:
        return key
    place = r"[{{,]\s*(?:{0} \. )?{1} : \"port_forward/([^/\"]+)/".format(re.escape(packet.target), packet.dport)
    named = re.search(place, text)
    return ("port_forward", named.group(1)) if named else key


def in_words(key: t.Sequence[str]) -> str:
    if key[0] in ITEMS and len(key) > 1:
        return "this gateway's " + ITEMS[key[0]].format(key[1])
    return "this gateway's {0}".format(OWN.get(key[0], "rules"))
