# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Many networks on iptables: one match of a kernel set (ipset) instead of one rule per network.

No transaction covers both sets and tables. Therefore a set's name depends on its content: other networks make another
set, the rules switch over in their own transaction, and then the old set is removed. Sets are created before the rules
that use them.
"""

from __future__ import annotations

import hashlib
import re
import typing as t

from ..._errors import GatewayError, first_lines
from ..._plan import Row
from ..._rules import without_length

if t.TYPE_CHECKING:  # pragma: no cover
    from ..._host import Host, Sight
    from ..._plan import Rows

#: Up to this number, networks have one rule each, which people find more easily.
FEW = 64
KEY = "set"
#: ipset's names of the families, and the reverse.
INET = {"ip": "inet", "ip6": "inet6"}
FAMILIES = {word: family for family, word in INET.items()}
#: The kernel's default limit is 65,536 members.
ROOM = 65536
#: The kernel releases a set shortly after the rules that used it (nf_tables frees rules after the transaction).
TRIES = 20
PAUSE = 0.1


def prefix(instance: str) -> str:
    return "ipmasq-{0}-".format(hashlib.sha256(instance.encode()).hexdigest()[:6])


def row_of(instance: str, family: str, networks: t.Iterable[str]) -> Row:
    """The set's row. Its name, at most 31 characters (IPSET_MAXNAMELEN - 1), depends only on the networks."""
    text = _text(without_length(each) for each in networks)
    name = prefix(instance) + hashlib.sha256(text.encode()).hexdigest()[:16]
    return Row("{0} set {1}".format(family, name), text, KEY)


def name_of(row: Row) -> str:
    return row.chain.split()[2]


def shown(row: Row) -> str:
    return "set {0}: {1:,} networks".format(name_of(row), len(row.text.split()))


def script(wanted: Rows) -> str:
    """The input of ``ipset -exist restore``: each set is filled under another name, then swapped."""
    lines = []
    for row in wanted:
        family, _set, name = row.chain.split()
        members = row.text.split()
        beside = name + "+"
        create = "create {{0}} hash:net family {0} maxelem {1}".format(INET[family], max(ROOM, len(members)))
        lines += [create.format(name), create.format(beside), "flush " + beside]
        lines += ["add {0} {1}".format(beside, member) for member in members]
        lines += ["swap {0} {1}".format(name, beside), "destroy " + beside]
    return "".join(line + "\n" for line in lines)


def parse(listing: str, instance: str) -> t.List[Row]:
    """The rows of this instance's sets in the output of ``ipset save``."""
    members: t.Dict[str, t.List[str]] = {}
    for line in listing.splitlines():
        kind, _space, rest = line.partition(" ")
        name, _space, what = rest.partition(" ")
        if not name.startswith(prefix(instance)):
            continue
        if kind == "create":
            found = re.match(r"hash:net family (\S+) ", what + " ")
            chain = "{0} set {1}".format(FAMILIES[found.group(1)] if found else "ip", name)
            members[chain] = [] if found else [what]
        elif kind == "add":
            members[chain].append(what.replace(" ", "_"))
    return [Row(chain, _text(each), KEY) for chain, each in members.items()]


def used(rules: str, instance: str) -> t.List[str]:
    """The sets of this instance that the rules refer to."""
    return sorted(set(re.findall(r"--match-set ({0}\S+) ".format(re.escape(prefix(instance))), rules)))


def read(host: Sight, names: t.Iterable[str]) -> str:
    parts = []
    for name in names:
        done = host.ask(["ipset", "save", name])
        if done.rc != 0:
            raise GatewayError(explain("list the set " + name, done.err))
        parts.append(done.out)
    return "".join(parts)


def _names(host: Sight) -> t.List[str]:
    return host.ask(["ipset", "list", "-n"]).out.split()


def load(host: Host, text: str) -> None:
    done = host.run(["ipset", "-exist", "restore"], stdin=text)
    if done.rc != 0:
        raise GatewayError(explain("make a set", done.err))


def sweep(host: Host, beginning: str, kept: t.Container[str]) -> None:
    """Destroy the sets of an instance except these; sets in use stay."""
    for _each in range(TRIES):
        gone = [name for name in _names(host) if name.startswith(beginning) and name not in kept]
        refused = [name for name in gone if host.run(["ipset", "destroy", name]).rc != 0]
        if not refused:
            break
        host.sleep(PAUSE)


def sweep_line(beginning: str) -> str:
    """The same as shell; the kernel refuses to destroy sets in use."""
    return (
        "for try in 1 2 3 4 5; do left=; for set in $(ipset list -n 2> /dev/null | grep '^{0}'); do "
        'ipset destroy $set 2> /dev/null || left=yes; done; [ -n "$left" ] || break; sleep 0.2; done'.format(beginning)
    )


def load_line(path: str) -> str:
    return "[ ! -e {0} ] || ipset -exist restore < {0}".format(path)


def explain(what: str, err: str) -> str:
    return (
        "ipset: cannot {0}: {1} (this kernel needs the modules ip_set_hash_net and xt_set; without the program ipset, "
        "networks have a rule each)".format(what, first_lines(err))
    )


def _text(networks: t.Iterable[str]) -> str:
    return " ".join(sorted(networks))
