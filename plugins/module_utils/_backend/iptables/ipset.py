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

from ..._base.errors import GatewayError, first_lines
from ..._base.net import without_length
from ..._rules.rows import Row
from ..steps import Step

if t.TYPE_CHECKING:  # pragma: no cover
    from ..._base.host import Sight
    from ..._rules.rows import Rows

#: Up to this number, networks have one rule each, which people find more easily.
FEW = 64
KEY = "set"
#: ipset's names of the families, and the reverse.
INET = {"ip": "inet", "ip6": "inet6"}
FAMILIES = {word: family for family, word in INET.items()}
#: The kernel's default limit is 65,536 members.
ROOM = 65536
#: How often to try to destroy a set, with 0.2 s in between (nf_tables frees rules after the transaction).
TRIES = 10


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
            raise GatewayError("ipset: " + _cannot("list the set " + name, done.err))
        parts.append(done.out)
    return "".join(parts)


def making(instance: str, wanted: Rows, kept: Rows) -> Step:
    """The step before the rules. If they are refused, the new sets go, which no rule names."""
    return Step(("ipset", "-exist", "restore"), script(wanted), ".ipset", _not_made, sweeping(instance, kept))


def _not_made(err: str) -> str:
    return _cannot("make a set", err)


def sweeping(instance: str, kept: Rows) -> t.Tuple[str, ...]:
    """A process that destroys the sets of an instance except these."""
    return ("sh", "-c", "PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; " + _sweep_line(instance, kept))


def leaving_lines(instance: str, made: Rows, kept: Rows) -> t.List[str]:
    """Shell lines of a rollback after a load that has made sets."""
    return [_sweep_line(instance, kept)] if made else []


def _sweep_line(instance: str, kept: Rows) -> str:
    """The kernel refuses to destroy sets in use, and releases one shortly after the rules that used it."""
    return (
        "for try in {0}; do left=; for set in $(ipset list -n 2> /dev/null | grep '^{1}'); do "
        "case ' {2} ' in *\" $set \"*) ;; *) ipset destroy $set 2> /dev/null || left=yes ;; esac; done; "
        '[ -n "$left" ] || break; sleep 0.2; done'.format(
            " ".join(map(str, range(1, TRIES + 1))), prefix(instance), " ".join(name_of(row) for row in kept)
        )
    )


def load_line(path: str) -> str:
    return "[ ! -e {0} ] || ipset -exist restore < {0}".format(path)


def _cannot(what: str, err: str) -> str:
    return (
        "cannot {0}: {1} (this kernel needs the modules ip_set_hash_net and xt_set; without the program ipset, "
        "networks have a rule each)".format(what, first_lines(err))
    )


def _text(networks: t.Iterable[str]) -> str:
    return " ".join(sorted(networks))
