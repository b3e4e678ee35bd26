# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What a rule matches beside addresses, interfaces and ports, in the words of iptables."""

from __future__ import annotations

import typing as t

from ..._base.net import without_length
from ..._base.words import CT_STATES

if t.TYPE_CHECKING:  # pragma: no cover
    from ..._rules.model import Match


def port_words(ports: t.Tuple[int, int], between: str) -> str:
    return str(ports[0]) if ports[0] == ports[1] else "{0}{1}{2}".format(ports[0], between, ports[1])


#: Each of these is a match of its own, because iptables-save prints the options of one match in its own order.
TRACKED = ("-m", "conntrack")


def other_matches(match: Match) -> t.List[str]:
    words: t.List[str] = []
    if match.tcp_syn:
        words += ["-p", "tcp", "-m", "tcp", "--tcp-flags", "SYN,RST", "SYN"]
    if match.local:
        words += LOCAL
    for net in match.not_destination + match.not_asked:
        # iptables-save omits the length of a single address here, but not after -d.
        words += [*TRACKED, "!", "--ctorigdst", without_length(net)]
    words += _tracked(match)
    if match.mark:
        words += ["-m", "mark", "--mark", "0x{0:x}/0x{1:x}".format(*match.mark)]
    for field, said in WORDS.items():
        if getattr(match, field):
            words += said
    if match.rate:
        words += ["-m", "limit", "--limit", limit_text(match.rate)]
        # The kernel counts in 32 bits, which the default burst of 5 overflows (xt_limit.c; measured, Linux 6.18).
        words += ["--limit-burst", "1"] if match.rate == "1/day" else []
    return words


def _tracked(match: Match) -> t.List[str]:
    words: t.List[str] = []
    if match.asked_port:
        words += [*TRACKED, "--ctorigdstport", port_words(match.asked_port, ":")]
    if match.ct_state:
        states = [state.upper() for state in CT_STATES if state in match.ct_state]
        words += [*TRACKED, "--ctstate", ",".join(states)]
    if match.direction:
        words += [*TRACKED, "--ctdir", match.direction.upper()]
    return words


#: XT_LIMIT_SCALE and print_rate() in libxt_limit.c: the kernel stores a period in 1/10000 s; 3000/sec becomes 3333/sec.
LIMIT_SCALE = 10000
UNITS = (("day", 86400), ("hour", 3600), ("min", 60), ("sec", 1))


def limit_text(rate: str) -> str:
    """A rate such as 60/minute in the form of iptables-save: 1/sec."""
    number, per = rate.split("/")
    seconds = dict(day=86400, hour=3600, minute=60, second=1)[per]
    period = LIMIT_SCALE * seconds // int(number)
    chosen = UNITS[0]
    for unit in UNITS[1:]:
        size = unit[1] * LIMIT_SCALE
        if period > size or size // period < size % period:
            break
        chosen = unit
    return "{0}/{1}".format(chosen[1] * LIMIT_SCALE // period, chosen[0])


NEW = ["-m", "conntrack", "--ctstate", "NEW"]
#: The first packet of a connection.
BEGINNING = [*NEW, "!", "--ctstatus", "CONFIRMED"]
#: Before the NAT, the first packet of a connection shows nothing: packets that others will translate pass here, too.
#: The next packet of a known, untranslated connection can be recognized.
UNTRANSLATED = ["-m", "conntrack", "--ctstate", "NEW", "--ctstatus", "CONFIRMED"]
UNTRANSLATED += ["-m", "conntrack", "!", "--ctstate", "SNAT"]
LOCAL = ["-m", "addrtype", "--dst-type", "LOCAL"]
ELSEWHERE = ["-m", "addrtype", "!", "--dst-type", "LOCAL", "--limit-iface-in"]
#: Other parts that a match may combine with, in this order.
WORDS = {
    "routed": ["-m", "rpfilter"],
    "astray": ["-m", "rpfilter", "--invert"],
    "elsewhere": ELSEWHERE,
    "decrypted": ["-m", "policy", "--dir", "in", "--pol", "ipsec"],
    "again": ["-m", "conntrack", "--ctstatus", "CONFIRMED"],
    "expected": ["-m", "conntrack", "--ctstatus", "EXPECTED"],
    "foreign": ["-m", "addrtype", "!", "--src-type", "LOCAL"],
    "martian": ["-m", "addrtype", "--src-type", "LOCAL", "!", "--dst-type", "LOCAL"],
    "untranslated": UNTRANSLATED,
    "translated": ["-m", "conntrack", "--ctstate", "DNAT"],
    "mapped": ["-m", "conntrack", "--ctstate", "SNAT"],
    "ipsec": ["-m", "policy", "--dir", "out", "--pol", "ipsec"],
    "plain": ["-m", "policy", "--dir", "out", "--pol", "none"],
}
