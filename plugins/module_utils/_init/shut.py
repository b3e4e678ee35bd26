# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""A gateway that is shut: packets from its links find no route, even if rules are flushed or forwarding is turned on.

This uses policy routing rules, which packet filter tools do not touch. Packets for the host itself are matched before,
in the table ``local``, so the host stays reachable. Multicast routing asks rules of its own (``ip mrule``), which come
and go together with the others, and does not ask whether forwarding is on. The loader shuts a gateway that it could not
load, and while another service flushes and loads rules. It opens the gateway once the rules are loaded, as does a
successful change.
"""

from __future__ import annotations

import json
import typing as t

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host, Sight

#: Family and link of each rule that shuts one.
Shut = t.Tuple[t.Tuple[str, str], ...]
#: After the table "local" (0), before other rules.
PREFERENCE = 6
FAMILIES = ("-4", "-6")
#: In place of a link: every link but this one, which stands for the host itself.
ALL = "lo"
#: systemd-networkd removes unknown rules unless the kernel made them: networkd.conf(5),
#: ManageForeignRoutingPolicyRules. busybox lacks this option, but does not run beside networkd.
ADD = "ip {0} {1} add pref {2} {3} blackhole protocol kernel"
#: The kernel takes this for "not iif lo" as well.
DEL = "ip {0} {1} del pref {2} iif {3} blackhole"
#: What routing asks, and what multicast routing asks, if the kernel has tables for it
#: (CONFIG_IP_MROUTE_MULTIPLE_TABLES) and ``ip`` is not busybox's. In this order they are added and, so that nobody
#: overlooks what is left of a pair, removed the other way round: only the first is listed.
UNICAST, MULTICAST = "rule", "mrule"
#: The kernel has at most this many of one link: with that protocol, and without.
MOST = 2

#: Functions of the loader. If the table "local" comes after them (VRFs), the rules would cut off the host itself. The
#: rule of that table may not be the first: clatd sets it to 1, after one of its own.
SHELL = r"""
links_to_shut() {
    for list in ./*.shut; do
        [ ! -e "$list" ] || while read -r wanted; do
            case "$wanted" in
            "" | lo | *[!A-Za-z0-9_.@*-]*) ;;  # not an interface name, or what the host itself sends
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

# Whether the links of an instance are those in its list: it is the one that was written, and has no pattern.
is_listed() {
    sums="./$instance.sums"
    [ "$(tail -n 1 "$sums" 2> /dev/null)" = "# complete" ] || return 1
    ! sed '$d' "$sums" | grep -qv "^[0-9a-f]\{64\}  \./$instance\." || return 1
    line=$(grep "  \./$instance\.shut\$" "$sums")
    if [ -z "$line" ]; then
        [ ! -e "./$instance.shut" ]
    else
        echo "$line" | sha256sum -c > /dev/null 2>&1 && ! grep -q '[*]$' "./$instance.shut"
    fi
}

# Whether any link may be one of a gateway's. A note for each such instance tells runs whose: the last one opens all.
unlisted() {
    unknown=1
    for file in ./*.json ./*.load ./*.sysctl ./*.sums; do
        ours "$file" && ! is_listed || continue
        mkdir -p -m 700 /run/ipmasq
        : > "/run/ipmasq/$instance.unlisted"
        unknown=0
    done
    return $unknown
}

# Multicast routing has rules of its own, if the kernel was built with them. It asks for nothing else.
shut_off() {
    for kind in rule mrule; do
        ip $1 $kind add pref 6 $2 blackhole protocol kernel 2> /dev/null ||
            ip $1 $kind add pref 6 $2 blackhole 2> /dev/null
    done
}

# Packets from a gateway's links find no route, even if forwarding is turned on or rules are flushed. With "all", nor do
# those from any link, if a pattern stands for links that may appear later, or if it is not known which they are.
shut() {
    every=no
    if [ "$1" = all ]; then
        ! cat ./*.shut 2> /dev/null | grep -q '[*]$' || every=yes
        ! unlisted || every=yes
    fi
    for family in -4 -6; do
        ip $family rule show 2> /dev/null | grep -q "^[0-5]:.*from all lookup local" || continue
        for link in $(links_to_shut); do
            [ "$link" = lo ] || shut_off $family "iif $link"
        done
        [ $every = no ] || shut_off $family "not iif lo"
    done
}

shut_now() {
    ip "$1" "$2" show 2> /dev/null | sed -n 's/^6:.* iif \([^ ]*\) .*blackhole.*/\1/p'
}

unshut() {
    for family in -4 -6; do
        for kind in mrule rule; do
            for link in $(shut_now $family $kind); do
                ip $family $kind del pref 6 iif "$link" blackhole 2> /dev/null
            done
        done
    done
    rm -f /run/ipmasq/*.unlisted
}
"""


def text(interfaces: t.Iterable[str]) -> str:
    """The file that lists a gateway's links for the loader."""
    return "".join(name + "\n" for name in interfaces)


def shut_links(host: Sight) -> Shut:
    """What is shut now."""
    found = []
    for family in FAMILIES:
        done = host.ask(["ip", "-j", family, "rule", "show"])
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
    """Open links; it is not an error if that is already done. If a rule was removed by hand, its pair may remain."""
    for link in dict.fromkeys(link for _family, link in found):
        for family in FAMILIES:
            line = DEL.format(family, MULTICAST, PREFERENCE, link).split()
            for _each in range(MOST):
                if host.run(line).rc != 0:
                    break
    for family, link in found:
        host.run(DEL.format(family, UNICAST, PREFERENCE, link).split())


def restoring_lines(found: Shut) -> t.List[str]:
    """Shell that shuts them again; it is not an error if that is already done."""
    chosen = [(family, "not iif lo" if link == ALL else "iif " + link) for family, link in found]
    lines = [ADD.format(family, kind, PREFERENCE, which) for family, which in chosen for kind in (UNICAST, MULTICAST)]
    return ["{{ {0} 2> /dev/null || true; }}".format(line) for line in lines]
