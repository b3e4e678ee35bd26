# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""A gateway that is shut: what comes in by its links finds no route, whoever flushes rules or turns forwarding on.

A rule of policy routing stands where no tool of a packet filter looks. What is for the host itself is found before it,
in the table ``local``, so the host stays reachable. The loader shuts a gateway that it could not load, and while a
service of somebody else flushes and loads; it opens it again once the rules are there, as does a change that succeeds.
"""

from __future__ import annotations

import json
import typing as t

if t.TYPE_CHECKING:  # pragma: no cover
    from ._host import Host

#: Family and link of each rule that shuts one.
Shut = t.Tuple[t.Tuple[str, str], ...]
#: Behind the table "local" (0), before everybody else's.
PREFERENCE = 6
FAMILIES = ("-4", "-6")
#: systemd-networkd takes away rules that it does not know, unless the kernel made them: networkd.conf(5),
#: ManageForeignRoutingPolicyRules. busybox has no such word, and no such neighbour.
ADD = "ip {0} rule add pref {1} iif {2} blackhole protocol kernel"
DEL = "ip {0} rule del pref {1} iif {2} blackhole"

#: Functions of the loader. A table "local" that is not the first one (VRFs) would take the host itself off the net.
SHELL = r"""
links_to_shut() {
    for list in ./*.shut; do
        [ ! -e "$list" ] || while read -r wanted; do
            case "$wanted" in
            "" | *[!A-Za-z0-9_.@*-]*) ;;  # no name of an interface
            *"*") sed -n 's/^ *\([A-Za-z0-9_.@-]*\):.*/\1/p' /proc/net/dev | while read -r link; do
                case "$link" in
                $wanted) echo "$link" ;;
                esac
            done ;;
            *) echo "$wanted" ;;
            esac
        done < "$list"
    done
}

# What comes in by a gateway's links finds no route, whoever turns forwarding on or flushes rules.
shut() {
    for family in -4 -6; do
        case "$(ip $family rule show 2> /dev/null | sed -n 1p)" in
        "0:"*"lookup local"*) ;;
        *) continue ;;
        esac
        for link in $(links_to_shut); do
            ip $family rule add pref 6 iif "$link" blackhole protocol kernel 2> /dev/null ||
                ip $family rule add pref 6 iif "$link" blackhole 2> /dev/null
        done
    done
}

shut_now() {
    ip "$1" rule show 2> /dev/null | sed -n 's/^6:.* iif \([^ ]*\) .*blackhole.*/\1/p'
}

unshut() {
    for family in -4 -6; do
        for link in $(shut_now $family); do
            ip $family rule del pref 6 iif "$link" blackhole 2> /dev/null
        done
    done
}
"""


def text(interfaces: t.Iterable[str]) -> str:
    """The file that tells the loader which links are a gateway's."""
    return "".join(name + "\n" for name in interfaces)


def shut_links(host: Host) -> Shut:
    """What is shut now."""
    found = []
    for family in FAMILIES:
        done = host.run(["ip", "-j", family, "rule", "show"])
        try:
            rules = json.loads(done.out) if done.rc == 0 else []
        except ValueError:
            rules = []
        found += [
            (family, str(rule["iif"]))
            for rule in rules
            if rule.get("priority") == PREFERENCE and rule.get("action") == "blackhole" and "iif" in rule
        ]
    return tuple(found)


def unshut(found: Shut, host: Host) -> None:
    """One that is gone already is no error."""
    for family, link in found:
        host.run(DEL.format(family, PREFERENCE, link).split())


def shut(found: Shut, host: Host) -> None:
    for family, link in found:
        host.run(ADD.format(family, PREFERENCE, link).split())


def restoring_lines(found: Shut) -> t.List[str]:
    """Shell that shuts them again; one that is there is no error."""
    return ["{{ {0} 2> /dev/null || true; }}".format(ADD.format(family, PREFERENCE, link)) for family, link in found]
