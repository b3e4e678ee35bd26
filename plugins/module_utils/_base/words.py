# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The values that options accept, in a file of their own: a repeated run loads nothing beyond this."""

from __future__ import annotations

NAT_ACTIONS = ("masquerade", "snat", "static", "prefix", "exempt")
IPV6_MODES = ("route", "masquerade", "prefix")
PROFILES = ("peer_to_peer", "server_egress")
#: "both" is short for tcp and udp; icmp is ICMPv6 where the addresses are IPv6; ipv6 is IPv6 inside IP (6in4).
PROTOCOLS = ("tcp", "udp", "sctp", "both", "icmp", "esp", "ah", "gre", "igmp", "ipv6", "vrrp")
FORWARDED = ("tcp", "udp", "sctp", "both")
WITH_PORTS = ("tcp", "udp", "sctp")
#: How a NAT maps and filters, in the words of RFC 4787; none: no NAT.
MAPPINGS = ("none", "independent", "address", "address_port")
FILTERINGS = ("independent", "address", "address_port")
FILTER_ACTIONS = ("accept", "reject", "drop")
HAIRPIN_SOURCES = ("external", "gateway")
BALANCES = ("round_robin", "source")
INPUTS = ("open", "protect")
#: How hosts of a LAN get IPv6 addresses: by themselves, from the gateway, or not from it.
RA_MODES = ("slaac", "managed", "off")
#: Events that can be logged.
LOGGED = ("invalid", "spoofed", "isolation", "closed", "undeclared", "outbound", "bogons", "guard", "protected")
#: What happens to new connections between declared and undeclared links.
UNDECLARED = ("drop", "leave")
OFFLOADS = ("none", "software")
#: Whether metrics are written, and as what.
METRICS = ("none", "textfile")
#: How NAT addresses reach this host: they are on an interface, a router sends them here, or we add them.
TO_ADDRESS = ("existing", "routed", "add")
#: ct states in the order in which both tools print them.
CT_STATES = ("invalid", "new", "related", "established", "untracked")
CONNTRACK = "net/netfilter/nf_conntrack_"
#: Option to sysctl key. The TCP states are those of RFC 9293 section 3.3.2.
TIMEOUTS = {
    "generic": CONNTRACK + "generic_timeout",
    "icmp": CONNTRACK + "icmp_timeout",
    "icmpv6": CONNTRACK + "icmpv6_timeout",
    "tcp_close": CONNTRACK + "tcp_timeout_close",
    "tcp_close_wait": CONNTRACK + "tcp_timeout_close_wait",
    "tcp_established": CONNTRACK + "tcp_timeout_established",
    "tcp_fin_wait": CONNTRACK + "tcp_timeout_fin_wait",
    "tcp_last_ack": CONNTRACK + "tcp_timeout_last_ack",
    "tcp_syn_recv": CONNTRACK + "tcp_timeout_syn_recv",
    "tcp_syn_sent": CONNTRACK + "tcp_timeout_syn_sent",
    "tcp_time_wait": CONNTRACK + "tcp_timeout_time_wait",
    "tcp_unacknowledged": CONNTRACK + "tcp_timeout_unacknowledged",
    "udp": CONNTRACK + "udp_timeout",
    "udp_stream": CONNTRACK + "udp_timeout_stream",
}
#: The keys of HELPERS in _intent/helpers.py.
HELPERS = ("amanda", "ftp", "netbios-ns", "pptp", "sip", "snmp", "tftp")
