# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Close the sockets of this host's servers whose connections are forgotten.

If such a server sends first after the entry is deleted, conntrack takes the segment for the beginning of a connection
from here (``nf_conntrack_tcp_loose``), and lets the answers in. A closed socket sends a reset.

Source: ss(8), CONFIG_INET_DIAG_DESTROY
"""

from __future__ import annotations

import typing as t

from .flow import text_of

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host
    from .._base.netlink import Entry

TCP = 6
#: Sockets or networks in one call of ss(8).
FEW = 50
#: It closes what its filter names; without one it would close every socket.
_CLOSE = ("ss", "-K", "-H", "-t", "state", "connected")
#: Delete a group of connections to servers of this host, and close their sockets; the first argument is the end of the
#: filter. What conntrack(8) prints of a connection ends with the tuple of the server, as it sees its client. Half
#: of the time is for sockets, which may be many.
FUNCTION = r"""E() {
    but=$1
    shift
    ends='src=\([^ ]*\) dst=\([^ ]*\) sport=\([0-9]*\) dport=\([0-9]*\)'
    conntrack -L "$@" 2> /dev/null |
        sed -n "s/.* $ends .*/( src [\1]:\3 and dst [\2]:\4 )/p" |
        awk '{ some = some (some == "" ? "" : " or ") $0 }
            NR % FEW == 0 { print some; some = "" }
            END { if (some != "") print some }' |
        while read -r some; do
            [ "$(date +%s)" -ge "$half" ] || CLOSE "( $some )$but" > /dev/null 2>&1
        done
    D "$@"
}
""".replace("CLOSE", " ".join(_CLOSE)).replace("FEW", str(FEW))


def socket_of(entry: Entry, local: t.Container[str]) -> str:
    """The filter for ss(8) that names the server's socket; empty if that is not on this host, or has no connections."""
    if entry.protocol != TCP:
        return ""
    server = text_of(entry.answer_source)
    if server not in local:
        return ""
    ends = server, entry.answer_source_port, text_of(entry.answer_destination), entry.answer_destination_port
    return "src [{0}]:{1} and dst [{2}]:{3}".format(*ends)


def sparing(networks: t.Iterable[str]) -> str:
    """The end of a filter that leaves out the clients in these networks."""
    return "".join(" and not dst [{0}]".format(net) for net in networks)


def closing(networks: t.Iterable[str]) -> str:
    """The end of a filter that leaves out all clients but those in these networks."""
    return " and ( {0} )".format(" or ".join("dst [{0}]".format(net) for net in networks))


def close(sockets: t.Sequence[str], host: Host, longest: float) -> None:
    """Close them, within this many seconds; one that has ended is not an error."""
    end = host.clock() + longest
    if sockets and host.which("ss"):
        for some in _together(sockets):
            if host.clock() > end:
                return
            host.run([*_CLOSE, some])


def lines(sockets: t.Sequence[str], longest: int) -> str:
    """The same for a shell."""
    words = '[ "$(date +%s)" -ge "$over" ] || {0} \'{1}\' > /dev/null 2>&1\n'
    found = "".join(words.format(" ".join(_CLOSE), some) for some in _together(sockets))
    return "over=$(($(date +%s) + {0}))\n{1}".format(longest, found) if found else ""


def _together(sockets: t.Sequence[str]) -> t.Iterator[str]:
    for first in range(0, len(sockets), FEW):
        yield " or ".join("( {0} )".format(each) for each in sockets[first : first + FEW])
