#!/usr/bin/python
# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway
short_description: Turn a Linux host into a masquerade (NAT) gateway
version_added: 1.0.0
description:
  - Owns one instance, a whole gateway. NAT, FORWARD rules and forwarding switches are applied in one transaction,
    and what is no longer declared is removed. Rules of others stay as they are.
  - Forwarding is the result of a successful load. Rules come first, C(ip_forward) last, now and at every boot.
  - No packet leaves a WAN with a private LAN source unless an item with O(nat[].action=exempt) says so.
  - From a WAN to a LAN passes only what belongs to a connection from inside, or to a port forward.
author:
  - ipmasq.linux contributors (@ipmasq)
extends_documentation_fragment:
  - ipmasq.linux.attributes
  - ipmasq.linux.options
  - ipmasq.linux.options.backend
  - ipmasq.linux.options.confirm
options:
  state:
    description:
      - V(absent) leaves the host as it was before the first run, rules, switches, files and service. It takes away
        single items of the instance (M(ipmasq.linux.masquerade) and others), too.
    type: str
    default: present
    choices: [present, absent]
  foreign_drops:
    description:
      - What to do if a chain of somebody else drops whatever it does not accept itself, so that forwarded packets would
        not pass although they are accepted here. Chains are looked at, never rules of others.
      - With V(refuse), nothing is touched and the message names table and chain. With V(warn), it is a warning; say so
        where that chain accepts these packets by rules of its own.
      - Docker's and ufw's chains are no such case, as O(backend=auto) puts its rules into the same tables, in front.
        Nor is firewalld, which gets a policy named C(ipmasq-<instance>).
    type: str
    default: refuse
    choices: [refuse, warn]
  choice:
    description:
      - What becomes of WANs and LANs that an earlier run has chosen because O(wans) or O(lans) were left out.
      - With V(keep) they stay as they were chosen, also while a link is away, and a run that would choose otherwise
        changes nothing and says what differs. RV(ignore:notes) has the variables that write the choice down.
      - With V(renew) this run chooses anew. It is meant for one run, not for an inventory, where it would let a
        fail-over, or whoever plugs in a cable, decide what is WAN and what is LAN.
    type: str
    default: keep
    choices: [keep, renew]
  wans:
    description:
      - The interfaces to the Internet.
      - When left out, every interface with a default route, of any metric, next hop, address family and table that a
        rule of policy routing leads to (a VPN's, too). A route that came by a router advertisement to a link with a
        private IPv4 address makes no WAN.
    type: list
    elements: dict
    suboptions:
      interface:
        description:
          - The name of the interface. It may appear later, vanish, or be there again with another address.
          - A V(*) at the end stands for any ending, as in V(ppp*).
        type: str
        required: true
      mss:
        description: As O(mss), for this WAN only.
        type: str
  lans:
    description:
      - The local networks behind the gateway, isolated from each other.
      - When left out, every other interface with a private (RFC 1918) or unique local (RFC 4193) address that no
        container or VM manager owns, that is no tunnel, no port of a bridge or bond, and not below a WAN.
    type: list
    elements: dict
    suboptions:
      name:
        description: What rules, messages and O(lans[].reaches) call this LAN.
        type: str
        required: true
      interfaces:
        description: The interfaces of this LAN. Interfaces of one LAN trust each other.
        type: list
        elements: str
        required: true
      networks:
        description:
          - The networks of this LAN, IPv4 and IPv6. Other sources are dropped as spoofed.
          - When left out, the interfaces' own networks, as they are on the host; of an interface with a /32 the
            networks that are routed to it. Then the LAN also follows its interfaces without a run. A source that was
            not known at the last run is let through if a route of the host leads back to the interface that it came
            from, and if it is private (RFC 1918, RFC 4193), or global IPv6 under O(ipv6=route). It is translated by the
            NAT items that are for all LANs without networks.
        type: list
        elements: str
      reaches:
        description:
          - The names of LANs to which this LAN may open connections.
          - V(guests/lab) is the LAN V(lab) of the instance V(guests), which has to be applied first.
        type: list
        elements: str
        default: []
      spoof_check:
        description:
          - Whether to drop what comes from this LAN with a source outside its networks.
          - The list of networks decides, and routes only about sources that are new to a LAN without a list, so several
            WANs and asymmetric routes are no trouble.
          - Without the check, a source that is in no LAN's networks is neither translated nor stopped by the guard.
        type: bool
        default: true
  nat:
    description:
      - NAT items in order; the first that matches decides. One that could never get a packet is refused.
      - When left out, every LAN is masqueraded on every WAN.
    type: list
    elements: dict
    suboptions:
      name:
        description: The name of the item, part of the comment of its rules.
        type: str
        required: true
      action:
        description:
          - V(masquerade) rewrites the source to the address that the WAN interface has at that moment.
          - V(snat) rewrites it to the addresses in O(nat[].to), one or a pool.
          - V(static) maps each address of one network to its own address outside, in both directions (1:1, NETMAP).
          - V(prefix) does so with an IPv6 prefix (NPTv6, RFC 6296). With prefixes of /48 or shorter checksums stay as
            they are. With longer ones the host bits stay instead, and the kernel corrects the checksums of TCP, UDP,
            ICMPv6, SCTP and DCCP.
          - V(exempt) leaves the source as it is.
        type: str
        default: masquerade
        choices: [masquerade, snat, static, prefix, exempt]
      source:
        description: Names of LANs, or networks. When left out, every LAN.
        type: list
        elements: str
      destination:
        description: Only packets to these networks.
        type: list
        elements: str
      wan:
        description: Only on this WAN, one of O(wans). When left out, on every WAN.
        type: str
      protocol:
        description:
          - Only these protocols. V(both) is short for V(tcp) and V(udp); V(icmp) is ICMPv6 in IPv6; V(igmp) is IPv4's
            alone; V(ipv6) is IPv6 inside IPv4 or IPv6, as tunnels of 6in4 have it.
        type: list
        elements: str
        choices: [tcp, udp, sctp, both, icmp, esp, ah, gre, igmp, ipv6, vrrp]
      port:
        description: Only these destination ports and ranges, such as V(443) or V(8000-8010). Needs O(nat[].protocol).
        type: list
        elements: str
      to:
        description:
          - For V(snat) addresses and ranges such as V(203.0.113.9-203.0.113.12).
          - For V(static) and V(prefix) the network outside, as long as the one in O(nat[].source).
        type: list
        elements: str
      to_port:
        description:
          - The range of ports to translate to, such as V(1024-65535), for TCP, UDP and SCTP.
          - When left out, a client keeps its port where that is free. When all ports towards a destination are taken,
            new connections to it are lost without a word; the counter C(insert_failed) of C(conntrack -S) tells.
        type: str
      to_address:
        description:
          - How the addresses in O(nat[].to) come to this host.
          - V(existing) means that an interface has them, which is checked. V(routed) means that a router outside sends
            them here. V(add) adds them to the WAN, up to 256, now and whenever that link appears; those that we added
            go with the item, or with that of the last instance that adds them.
          - Nobody speaks from an address that is added, neither LANs that are masqueraded nor the host itself; it has
            C(scope host) in IPv4 and C(preferred_lft 0) in IPv6.
          - Whoever manages the WAN's addresses may take away what it does not know; give them to it in that case.
          - When left out, V(existing). For V(static) it is V(routed) where the addresses lie outside the WAN's own
            networks, as nobody asks for them by ARP there.
        type: str
        choices: [existing, routed, add]
      random:
        description:
          - Whether to take a random port for each connection. The price is that the mapping then depends on the
            destination (against RFC 4787 REQ-1), so hole punching fails, as in games, calls and VPNs between peers.
          - When left out, as O(profile) says.
        type: bool
      persistent:
        description: Whether a client keeps one address of a pool (RFC 4787 REQ-2). When left out, it does.
        type: bool
      ipsec:
        description: For V(exempt), whether only packets that an IPsec policy encrypts are meant.
        type: bool
      inbound:
        description:
          - Whether connections from outside to the mapped addresses are let in. When left out, yes for V(static) and no
            for V(prefix).
        type: bool
      hairpin:
        description:
          - For V(static), whether clients in the LANs reach the mapped addresses, too. The server sees them by the
            address that they asked for. Without it they are refused; the gateway never answers in the server's place.
          - When left out, as O(nat[].inbound), but not with O(nat[].destination).
        type: bool
      timeouts:
        description:
          - Seconds after which idle connections of this item are forgotten; what is left out is as in O(timeouts).
            Connections that are there keep theirs. Backend nftables only.
        type: dict
        suboptions:
          tcp_close:
            description: TCP after a reset.
            type: int
          tcp_close_wait:
            description: TCP in CLOSE_WAIT.
            type: int
          tcp_established:
            description: TCP connections that are open.
            type: int
          tcp_fin_wait:
            description: TCP in FIN_WAIT.
            type: int
          tcp_last_ack:
            description: TCP in LAST_ACK.
            type: int
          tcp_syn_recv:
            description: TCP in SYN_RECV.
            type: int
          tcp_syn_sent:
            description: TCP in SYN_SENT.
            type: int
          tcp_time_wait:
            description: TCP in TIME_WAIT.
            type: int
          tcp_unacknowledged:
            description: TCP with data that nobody has acknowledged.
            type: int
          udp:
            description: UDP seen in one direction only.
            type: int
          udp_stream:
            description: UDP seen in both directions.
            type: int
  port_forwards:
    description:
      - Connections from outside that a server in a LAN gets. The FORWARD rule is part of it.
      - The first one that matches decides, so single ports come before a range for all others. One that could never get
        a connection is refused.
      - A server that is known outside by its own address is opened, not translated, and clients ask for that address.
        That is one with a global IPv6 address under O(ipv6=route), and one that an item V(exempt) in O(nat) is about.
    type: list
    elements: dict
    suboptions:
      name:
        description: The name of the forward.
        type: str
        required: true
      protocol:
        description: The protocols to forward. V(both) is short for V(tcp) and V(udp).
        type: list
        elements: str
        choices: [tcp, udp, sctp, both]
        default: [tcp]
      port:
        description: The ports and ranges outside, such as V(443) or V(8000-8010).
        type: list
        elements: str
        required: true
      to:
        description:
          - The server. Several of one LAN share the connections.
          - Where the provider changes the IPv6 prefix, the end of the server's address with a mask, such as
            V(::11/::ffff:ffff:ffff:ffff).
          - With the number of the subnet as well, V(0:0:0:1::11/::ff:ffff:ffff:ffff:ffff).
        type: list
        elements: str
        required: true
      to_port:
        description: The port of the server, for a range the first one. When left out, the same as outside.
        type: int
      source:
        description:
          - Only clients with these networks. With O(port_forwards[].hairpin), clients inside are meant only if their
            networks are among them.
        type: list
        elements: str
      destination:
        description:
          - Only connections to these addresses outside. When left out, to any address that a WAN has, but none that
            stands for a server (V(static) in O(nat)). One that is named here is taken from such an item, port by port.
        type: list
        elements: str
      wan:
        description: Only on this WAN. When left out, on every WAN.
        type: str
      hairpin:
        description:
          - Whether clients in the LANs reach the server by the address outside, too (RFC 4787 REQ-9).
          - Only by addresses of the forward's own WANs. The gateway's other addresses keep their own services. As no
            rule can ask which interface has an address, these are all addresses of the host, less private ones and what
            other links have during the run.
        type: bool
        default: false
      hairpin_source:
        description:
          - What the server sees of such a client. V(external) is the address outside that it asked for (REQ-9a),
            V(gateway) is the address that the gateway has in the server's LAN.
          - The iptables backend knows the addresses that the WAN has during the run; for others it takes V(gateway).
        type: str
        default: external
        choices: [external, gateway]
      balance:
        description:
          - How several servers share. With V(round_robin) each connection goes to the next one. With V(source) a client
            gets the same one each time.
        type: str
        default: round_robin
        choices: [round_robin, source]
      timeouts:
        description:
          - Seconds after which idle connections of this item are forgotten; what is left out is as in O(timeouts).
            Connections that are there keep theirs. Backend nftables only.
        type: dict
        suboptions:
          tcp_close:
            description: TCP after a reset.
            type: int
          tcp_close_wait:
            description: TCP in CLOSE_WAIT.
            type: int
          tcp_established:
            description: TCP connections that are open.
            type: int
          tcp_fin_wait:
            description: TCP in FIN_WAIT.
            type: int
          tcp_last_ack:
            description: TCP in LAST_ACK.
            type: int
          tcp_syn_recv:
            description: TCP in SYN_RECV.
            type: int
          tcp_syn_sent:
            description: TCP in SYN_SENT.
            type: int
          tcp_time_wait:
            description: TCP in TIME_WAIT.
            type: int
          tcp_unacknowledged:
            description: TCP with data that nobody has acknowledged.
            type: int
          udp:
            description: UDP seen in one direction only.
            type: int
          udp_stream:
            description: UDP seen in both directions.
            type: int
  outbound:
    description:
      - What LANs may open towards the WANs, in order; the first that matches decides. What no item matches is accepted.
    type: list
    elements: dict
    suboptions:
      name:
        description: The name of the item.
        type: str
        required: true
      action:
        description: V(reject) tells the client, V(drop) lets it wait.
        type: str
        default: accept
        choices: [accept, reject, drop]
      source:
        description: Names of LANs, or networks. When left out, every LAN.
        type: list
        elements: str
      destination:
        description: Only to these networks.
        type: list
        elements: str
      wan:
        description: Only on this WAN. When left out, on every WAN.
        type: str
      protocol:
        description: Only these protocols.
        type: list
        elements: str
        choices: [tcp, udp, sctp, both, icmp, esp, ah, gre, igmp, ipv6, vrrp]
      port:
        description: Only these destination ports and ranges. Needs O(outbound[].protocol).
        type: list
        elements: str
      rate:
        description:
          - For V(accept), how many connections may be opened, such as V(10/second). What is more is rejected.
          - Each LAN, address family and protocol has the whole rate for itself. The first 5 are let through at once.
        type: str
  multicast:
    description:
      - Groups of multicast that may come in by a WAN to LANs, such as a provider's television. In no order, as they
        only let in.
      - This opens the way. To send the groups on is the work of a router of multicast on this host, such as igmpproxy
        or smcroute.
    type: list
    elements: dict
    suboptions:
      name:
        description: The name of the item.
        type: str
        required: true
      group:
        description: The groups, such as V(239.0.0.0/8) or V(ff0e::/16).
        type: list
        elements: str
        required: true
      source:
        description: Only from these senders, as networks.
        type: list
        elements: str
      wan:
        description: Only by this WAN. When left out, by every WAN.
        type: str
      lan:
        description: Only to these LANs, by name. When left out, to every LAN.
        type: list
        elements: str
  profile:
    description:
      - What NAT items do that do not say it themselves.
      - V(peer_to_peer) keeps ports where they are free, so that peers find each other (RFC 4787 REQ-1).
      - V(server_egress) takes random ports from 1024 up, for many clients of few servers. Hole punching fails then.
    type: str
    default: peer_to_peer
    choices: [peer_to_peer, server_egress]
  ipv6:
    description:
      - V(route) routes LAN networks of global addresses as they are, and masquerades unique local ones (RFC 4193),
        which nobody outside could answer.
      - V(masquerade) masquerades them all (NAT66).
      - V(prefix) translates them by prefix only (NPTv6, RFC 6296); every IPv6 network of a LAN needs a NAT item with
        O(nat[].action=prefix).
    type: str
    default: route
    choices: [route, masquerade, prefix]
  mss:
    description:
      - What becomes of the MSS that TCP connections through a WAN announce, in both directions.
      - V(pmtu) lowers it to the path MTU, V(keep) leaves it alone, a number such as V(1452) sets it to that many bytes.
    type: str
    default: pmtu
  drop_bogons:
    description:
      - Whether to keep addresses off the WANs that are never on the Internet (RFC 6890), as destinations of LAN clients
        and as sources from outside. Networks that an item with O(nat[].action=exempt) names are let through.
      - Leave it off where the provider's own network or modem has private addresses that clients need.
    type: bool
    default: false
  input:
    description:
      - Whether to filter what is asked of the gateway itself, on every link that is no LAN. That is a WAN, a link that
        nobody has declared, and a tunnel. Left alone are C(lo) and the links of container and VM managers, by their
        names.
      - With V(protect) these links reach answers to connections of the gateway's own, errors and echo requests of
        ICMP, neighbour discovery, IGMP, MLD, the discovery of routers, DHCP as a client, what O(input_allow) names,
        port forwards to a service of the gateway itself, and SSH (O(input_controller_ports)). The rest is dropped.
        LANs may ask anything. What is let in still has to pass the rules of others.
    type: str
    default: open
    choices: [open, protect]
  input_allow:
    description: What else may be asked of the gateway itself, with O(input=protect), on every link that is no LAN.
    type: list
    elements: dict
    suboptions:
      name:
        description: The name of the item.
        type: str
        required: true
      source:
        description: Only clients outside with these networks.
        type: list
        elements: str
      destination:
        description: Only to these addresses of the gateway.
        type: list
        elements: str
      wan:
        description: Only on this WAN. When left out, on every link that is no LAN.
        type: str
      protocol:
        description: Only these protocols. V(vrrp) is what keepalived speaks with its peer.
        type: list
        elements: str
        choices: [tcp, udp, sctp, both, icmp, esp, ah, gre, igmp, ipv6, vrrp]
      port:
        description: Only these ports and ranges. Needs O(input_allow[].protocol).
        type: list
        elements: str
  input_controller_ports:
    description:
      - The TCP ports that stay open for SSH with O(input=protect), in place of those that are found. An empty list
        closes them all.
      - When left out, every port stays open on which an SSH server listens (sshd, dropbear, a socket of systemd's), by
        which this run of Ansible has come, or that an earlier run has kept. So it makes no difference who runs, and a
        port is closed by this list only.
      - A run by SSH on a port that is not in the list is refused.
    type: list
    elements: int
  helpers:
    description:
      - Services that break through NAT unless the kernel reads along, assigned to what LANs open, and to port forwards
        on the same port. Each is code that parses what strangers send; name only what you use.
    type: list
    elements: dict
    suboptions:
      name:
        description: The service.
        type: str
        required: true
        choices: [amanda, ftp, h323, irc, netbios-ns, pptp, sip, snmp, tftp]
      port:
        description: Its ports, in place of the usual one.
        type: list
        elements: int
  conntrack_max:
    description:
      - How many connections the host can hold. V(keep) leaves the kernel's own choice, V(auto) gives a sixteenth of the
        memory to them, and a number is a number.
      - In a container the size can only be read; it is skipped there with a note.
    type: str
    default: keep
  timeouts:
    description:
      - Seconds after which an idle connection is forgotten, for the whole host. V(0) leaves the kernel's own value.
      - When left out, UDP has 300 seconds (RFC 4787 REQ-5) and ICMP 60 (RFC 5508 REQ-2).
    type: dict
    suboptions:
      generic:
        description: Protocols without a timer of their own.
        type: int
      icmp:
        description: ICMP queries. 60 when left out.
        type: int
      icmpv6:
        description: ICMPv6 queries. 60 when left out.
        type: int
      tcp_close:
        description: TCP after a reset.
        type: int
      tcp_close_wait:
        description: TCP in CLOSE_WAIT.
        type: int
      tcp_established:
        description: TCP connections that are open; RFC 5382 REQ-5 asks for 7440.
        type: int
      tcp_fin_wait:
        description: TCP in FIN_WAIT.
        type: int
      tcp_last_ack:
        description: TCP in LAST_ACK.
        type: int
      tcp_syn_recv:
        description: TCP in SYN_RECV.
        type: int
      tcp_syn_sent:
        description: TCP in SYN_SENT.
        type: int
      tcp_time_wait:
        description: TCP in TIME_WAIT.
        type: int
      tcp_unacknowledged:
        description: TCP with data that nobody has acknowledged.
        type: int
      udp:
        description: UDP seen in one direction only. 300 when left out.
        type: int
      udp_stream:
        description: UDP seen in both directions. 300 when left out.
        type: int
  offload:
    description:
      - With V(software), connections of TCP and UDP that both sides have agreed on go past the rules, from one
        interface to the other (flowtable). It costs less processor time; counters no longer see those packets.
      - Needs backend nftables and a kernel with flowtables (Linux 5.8). Interfaces may be absent.
    type: str
    default: none
    choices: [none, software]
  undeclared:
    description:
      - What becomes of new connections between a WAN or LAN and a link that is neither.
      - With V(drop) they are dropped, both ways, and so are private sources of any network of the host that would leave
        by a WAN, or by another link with a default route. Left alone are answers, what another's DNAT lets in from a
        WAN (a published port of a container), and links of container and VM managers and tunnels of VPNs towards LANs
        and out. These are known by their names, such as C(docker0), C(br-0123456789ab), C(virbr0), C(wg0), C(tun0), and
        tunnels of any name by their kind. A link with a default route is never one of them.
      - With V(leave) such links are left to others, but for those of other instances.
      - Between two links that nobody declared, nothing is ever touched.
    type: str
    default: drop
    choices: [drop, leave]
  log:
    description:
      - Kinds of events to write to the kernel's log. V(guard) is a packet that would have left with a LAN's source,
        V(closed) is a WAN that asks for a LAN, V(isolation) a LAN that may not reach where it wants to, V(spoofed) a
        source that is not the LAN's own, or a LAN's from a WAN, V(undeclared) what O(undeclared=drop) drops,
        V(protected) what O(input=protect) drops.
      - In a container the kernel's log stays silent unless the host sets C(net.netfilter.nf_log_all_netns).
    type: list
    elements: str
    choices: [invalid, spoofed, isolation, closed, undeclared, outbound, bogons, guard, protected]
  log_prefix:
    description: What each line of the log begins with, before the kind of event.
    type: str
    default: "ipmasq "
  log_rate:
    description: How many lines each rule may log, such as V(10/minute).
    type: str
    default: 10/minute
seealso:
  - module: ipmasq.linux.gateway_info
  - module: ipmasq.linux.masquerade
  - module: ipmasq.linux.forward
  - module: ipmasq.linux.forwarding
"""

EXAMPLES = r"""
- name: Find WAN and LANs, and masquerade
  ipmasq.linux.gateway:

- name: Say what is what
  ipmasq.linux.gateway:
    wans:
      - interface: ppp0
    lans:
      - name: office
        interfaces: [lan0, lan1]
        networks: [192.168.1.0/24, "fd00:1::/64"]
      - name: guests
        interfaces: [guest0]
    nat:
      - name: vpn
        source: [office]
        destination: [10.0.0.0/8]
        action: exempt
      - name: mail
        source: [192.168.1.25]
        action: snat
        to: [203.0.113.9]
      - name: rest
    port_forwards:
      - name: web
        port: [443]
        to: [192.168.1.20]
        to_port: 8443
        hairpin: true
    outbound:
      - name: no-mail
        source: [guests]
        protocol: [tcp]
        port: [25]
        action: reject

- name: Be no gateway any more
  ipmasq.linux.gateway:
    state: absent
"""

RETURN = r"""
backend:
  description: The packet filter in use, and why this one.
  returned: success
  type: dict
  contains:
    name:
      description: V(nftables), V(iptables), or V(none) if there was nothing to remove.
      type: str
      sample: nftables
    programs:
      description: V(nft), V(iptables-nft) or V(iptables-legacy).
      type: str
      sample: nft
    why:
      description: The reason for this choice.
      type: str
      sample: "nft: installed, and no iptables rules are in use"
wans:
  description: The WANs, with kernel names.
  returned: when O(state=present)
  type: list
  elements: dict
  sample: [{interface: ppp0}]
lans:
  description:
    - The LANs, with kernel names, networks, and C(addresses), which are this host's own on their interfaces as the run
      found them. The role P(ipmasq.linux.lan_client#role) looks there for the gateway of a client.
  returned: when O(state=present)
  type: list
  elements: dict
  sample: [{name: office, interfaces: [lan0], networks: [192.168.1.0/24], reaches: [], addresses: [192.168.1.1]}]
notes:
  description: What was chosen or resolved, a sentence each.
  returned: success
  type: list
  elements: str
  sample: ["WAN ppp0: chosen, it has the default route"]
rfc:
  description: What your own options give up of the NAT RFCs, and what may not work because of it. Empty by default.
  returned: when O(state=present)
  type: list
  elements: dict
  contains:
    requirement:
      description: RFC and number.
      type: str
      sample: RFC 4787 REQ-9
    why:
      description: The option, the items, and what may not work.
      type: str
      sample: "port_forwards web: hairpin_source is gateway: the server cannot tell clients inside from each other"
differences:
  description:
    - What was missing on the host (C(+)), too much (C(-)) or different (C(~)) before this run. Of rules at most 200.
  returned: success
  type: list
  elements: str
  sample: ["~ net/ipv4/ip_forward: 0 to 1"]
pending:
  description: A change that waits for its confirmation; empty of it once this task has confirmed the change itself.
  returned: when something changed, and O(confirm_by=person)
  type: dict
  contains:
    token:
      description: What M(ipmasq.linux.gateway_confirm) may name, to mean this change and no other.
      type: str
      sample: 0b9b2d5e3d1f4c0c8f7a6e5d4c3b2a19
    seconds:
      description: How long it waits.
      type: int
      sample: 30
    until:
      description: When it takes itself back, in the host's local time.
      type: str
      sample: "14:05:30"
    host:
      description: The name of this host, as it knows itself.
      type: str
      sample: gw1
instance:
  description: The instance worked on.
  returned: success
  type: str
  sample: default
problems:
  description: Each problem as one sentence. The message holds the same, one a line.
  returned: failure
  type: list
  elements: str
  sample: ["instance: 'X' has to be 1 to 10 of a-z, 0-9 and _, beginning with a letter"]
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ipmasq.linux.plugins.module_utils import _argspec
from ansible_collections.ipmasq.linux.plugins.module_utils._host import run_module
from ansible_collections.ipmasq.linux.plugins.module_utils._repeat import repeated, tell

if t.TYPE_CHECKING:  # pragma: no cover
    from ansible_collections.ipmasq.linux.plugins.module_utils._host import Host


def main() -> None:
    module = AnsibleModule(argument_spec=_argspec.MODULES["gateway"], supports_check_mode=True)
    params = module.params

    def step(host: Host) -> dict:
        # A run that repeats another is over before this; to load it takes 0.2 s of a processor (measured, Python 3.11).
        from ansible_collections.ipmasq.linux.plugins.module_utils import (  # noqa: PLC0415
            _engine as engine,
            _intent as intent,
        )

        confirmation = engine.waiting(params, host)
        if params["state"] == "absent":
            gone = engine.remove_instance(params["instance"], host, module.check_mode, confirmation)
            return gone.to_dict(module._verbosity > 0)
        gateway, problems = intent.read_gateway(params)
        result = engine.apply_gateway(
            gateway, params["backend"], host, module.check_mode, problems, confirmation, params["foreign_drops"]
        )
        return result.to_dict(module._verbosity > 0)

    def run(host: Host) -> dict:
        # The removal does not depend on what else is said.
        absent = params["state"] == "absent"
        result = step(host) if absent else repeated(params, module.check_mode, host, step)
        return tell(result, params["instance"], module.check_mode, host)

    run_module(module, run)


if __name__ == "__main__":
    main()
