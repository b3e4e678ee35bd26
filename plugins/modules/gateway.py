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
  - Manages one instance, a whole gateway. NAT rules, FORWARD rules and forwarding switches are applied in one
    transaction. What is no longer declared is removed. Rules of other programs stay as they are.
  - Forwarding is turned on only after the rules have loaded, in this run and at every boot.
  - No packet leaves a WAN with a private LAN source unless an item with O(nat[].action=exempt) allows it.
  - Only traffic that belongs to a connection from inside, or to a port forward, passes from a WAN to a LAN.
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
      - V(absent) restores rules, switches, files and services to their state before the first run. It also removes
        single items of the instance (M(ipmasq.linux.masquerade) and others).
    type: str
    default: present
    choices: [present, absent]
  foreign_drops:
    description:
      - What to do if the policy of another program's chain drops forwarded packets that this gateway accepts. Only
        chains are checked, never their rules.
      - With V(refuse), the run fails before anything is touched, and the message names table and chain. With V(warn),
        there is only a warning; use it if rules in that chain accept these packets.
      - This does not concern Docker and ufw, because O(backend=auto) puts its rules into the same tables, before
        theirs. Nor does it concern firewalld, which gets a policy named C(ipmasq-<instance>).
    type: str
    default: refuse
    choices: [refuse, warn]
  proof:
    description:
      - What a proof with packets decides. After a change is loaded and before it is confirmed, each promise of the
        declaration is tried with packets that never reach a wire.
      - With V(required), a change that breaks a promise is rolled back at once, and the run fails with the promises
        that broke. A promise that was already broken before the change is a warning.
      - With V(report), broken promises are warnings. With V(off), nothing is tried.
      - What cannot be measured, for example because a link is down or the kernel lacks TUN, never fails a run. A run
        that changes nothing proves nothing.
      - If another proof on the host leaves no time for this one, a run with V(required) fails, too.
    type: str
    default: required
    choices: [required, report, "off"]
  choice:
    description:
      - What happens to WANs and LANs that an earlier run chose because O(wans) or O(lans) was omitted.
      - With V(keep), they stay, even while a link is absent. A run that would choose differently fails, changes nothing
        and reports the difference. RV(ignore:notes) contains the variables that make the choice explicit.
      - With V(renew), this run chooses again. Use it for a single run, not in an inventory, where a fail-over or a
        newly plugged cable would decide what is a WAN and what is a LAN.
      - With V(renew), a run also forgets what earlier ones knew about links that do not exist now and are neither WAN
        nor LAN, such as that of a VPN.
    type: str
    default: keep
    choices: [keep, renew]
  wans:
    description:
      - The interfaces to the Internet.
      - If omitted, every interface with a default route, with any metric, next hop and address family, and in any table
        that a policy routing rule refers to (a VPN's, too). A route from a router advertisement does not count on a
        link with a private IPv4 address.
    type: list
    elements: dict
    suboptions:
      interface:
        description:
          - The name of the interface. It may appear later, disappear, and come back with another address.
          - A V(*) at the end matches any suffix, as in V(ppp*).
        type: str
        required: true
      mss:
        description: Overrides O(mss) for this WAN.
        type: str
      carried_from:
        description:
          - Sources of the packets that carry the traffic of this WAN, where this host forwards them to another WAN, or
            to another interface with a default route.
          - That is so for the IPv6 address of a CLAT (464XLAT, RFC 6877), and for a VPN client in a network namespace
            or a container. Other VPNs send such packets from this host itself and need nothing.
          - Without it, packets that arrive from this WAN reach no other WAN. It must not overlap a network of a LAN.
        type: list
        elements: str
        default: []
  lans:
    description:
      - The local networks behind the gateway, isolated from each other.
      - If omitted, every other interface with a private (RFC 1918) or unique local (RFC 4193) address, except those of
        container and VM managers, tunnels, ports of bridges and bonds, and interfaces below a WAN.
      - A bridge is not taken, whatever its name, if all of its ports lead to containers of Docker, Podman, CNI or LXD,
        or if it has no ports and the host has C(docker0).
    type: list
    elements: dict
    suboptions:
      name:
        description: The name of this LAN in rules, messages and O(lans[].reaches).
        type: str
        required: true
      interfaces:
        description:
          - The interfaces of this LAN. Interfaces of one LAN trust each other.
          - An interface can belong to the LANs of only one instance. A LAN with several WANs has all of them in its
            instance.
        type: list
        elements: str
        required: true
      networks:
        description:
          - The IPv4 and IPv6 networks of this LAN. Packets from other sources are dropped as spoofed.
          - If omitted, the networks of the interfaces on the host; for an interface with a /32 address, the networks
            routed to it. The LAN then follows its interfaces between runs. A source that was unknown in the last run is
            accepted if the host has a route to it through the interface it came from, and if it is private (RFC 1918,
            RFC 4193), or global IPv6 with O(ipv6=route). NAT items that apply to all LANs translate it.
          - A narrower network that a LAN of another instance has, on other links, is left out, and belongs to that LAN
            alone. Apply that instance first; otherwise its run is refused.
          - A network that overlaps that of a WAN, or contains the single address (/32) of one, is refused. From
            networks that are routed to an interface, the addresses and routers of WANs are left out.
        type: list
        elements: str
      reaches:
        description:
          - The names of the LANs to which this LAN may open connections.
          - V(guests/lab) is the LAN V(lab) of the instance V(guests), which must be applied first.
        type: list
        elements: str
        default: []
      spoof_check:
        description:
          - Whether to drop packets from this LAN with a source outside its networks.
          - The check uses the list of networks; it uses routes only for new sources of a LAN without such a list.
            Several WANs and asymmetric routes are therefore possible.
          - Without the check, a source outside all LANs' networks is neither translated nor stopped by the guard.
        type: bool
        default: true
      dhcp:
        description:
          - Whether hosts of this LAN get IPv4 addresses from the gateway, with the gateway as their router and the
            domain O(dns_domain).
          - V(true) gives out a range of the LAN's network for 12 hours; for V(192.168.1.0/24), from V(192.168.1.100) to
            V(192.168.1.250). The gateway's own addresses and reserved ones are left out of every range.
          - Otherwise a dictionary of C(range), C(lease), C(reserve) and C(options), each of which may be omitted.
          - C(range) is one range or a list of them, such as V(192.168.1.100-192.168.1.199).
          - C(lease) is a time such as V(45m), V(12h) or V(7d), or V(infinite).
          - C(reserve) is a list of hosts, each with C(mac), C(address) and an optional C(name).
          - C(options) is a dictionary of DHCP options, by their names in dnsmasq (such as C(ntp-server)) or by their
            numbers.
          - The server is a dnsmasq of our own, which serves only the LANs that have O(lans[].dhcp), O(lans[].ra) or
            O(lans[].dns). Its leases outlive changes and reboots.
        type: raw
      ra:
        description:
          - How hosts of this LAN get IPv6 addresses and their IPv6 route. With V(slaac), the gateway advertises the
            networks of the interface, and hosts choose their addresses; with V(managed), they get addresses by DHCPv6;
            with V(off), the gateway advertises nothing.
          - If omitted, V(slaac) with O(lans[].dhcp) if an interface of the LAN has an IPv6 network of /64, otherwise
            V(off).
        type: str
        choices: [slaac, managed, 'off']
      dns:
        description:
          - Whether the gateway answers DNS questions of this LAN. It knows the names of hosts that have a lease or a
            reservation, and asks O(dns_upstream) for all others.
          - Answers from outside that contain private addresses are refused (DNS rebinding), and questions for private
            addresses never leave.
          - If omitted, V(true) with O(lans[].dhcp), unless its options contain C(dns-server).
        type: bool
  nat:
    description:
      - NAT items in order; the first that matches decides. An item that can never match is refused.
      - If omitted, every LAN is masqueraded on every WAN.
    type: list
    elements: dict
    suboptions:
      name:
        description: The name of the item, which the comments of its rules contain.
        type: str
        required: true
      action:
        description:
          - V(masquerade) rewrites the source to the current address of the WAN interface.
          - V(snat) rewrites it to the addresses in O(nat[].to), one or a pool.
          - V(static) maps each address of one network to its own outside address, in both directions (1:1, NETMAP).
          - V(prefix) does the same with an IPv6 prefix (NPTv6, RFC 6296). With prefixes of /48 or shorter, checksums do
            not change. With longer ones, the host bits do not change, and the kernel corrects the checksums of TCP,
            UDP, ICMPv6, SCTP and DCCP.
          - V(exempt) leaves the source unchanged.
        type: str
        default: masquerade
        choices: [masquerade, snat, static, prefix, exempt]
      source:
        description: Names of LANs, or networks. If omitted, every LAN.
        type: list
        elements: str
      destination:
        description: Only packets to these networks.
        type: list
        elements: str
      wan:
        description: Only on this WAN, one of O(wans). If omitted, on every WAN.
        type: str
      protocol:
        description:
          - Only these protocols. V(both) is short for V(tcp) and V(udp). V(icmp) means ICMPv6 in IPv6. V(igmp) is IPv4
            only. V(ipv6) is IPv6 inside IPv4 or IPv6, as in 6in4 tunnels.
        type: list
        elements: str
        choices: [tcp, udp, sctp, both, icmp, esp, ah, gre, igmp, ipv6, vrrp]
      port:
        description:
          - Only these destination ports and ranges, such as V(443) or V(8000-8010). Requires O(nat[].protocol).
        type: list
        elements: str
      to:
        description:
          - For V(snat), addresses and ranges such as V(203.0.113.9-203.0.113.12).
          - For V(static) and V(prefix), the outside network, with the same length as the one in O(nat[].source).
        type: list
        elements: str
      to_port:
        description:
          - The port range to translate to, such as V(1024-65535), for TCP, UDP and SCTP.
          - If omitted, a client keeps its port if that is free. When all ports towards a destination are in use, new
            connections to it fail silently; the counter C(insert_failed) of C(conntrack -S) shows this.
        type: str
      to_address:
        description:
          - How the addresses in O(nat[].to) reach this host.
          - V(existing) means that an interface has them, which is checked. V(routed) means that an outside router sends
            them here. V(add) adds up to 256 of them to the WAN, now and whenever that link appears; added addresses are
            removed with the item, or with the last instance that adds them.
          - An added address is never used as a source address by masqueraded LANs or by the host; it has C(scope host)
            in IPv4 and C(preferred_lft 0) in IPv6.
          - The program that manages the WAN's addresses may remove addresses that it does not know, as
            systemd-networkd does with C(networkctl reconfigure) and C(netplan apply); in that case, configure them
            there. When a link is set down, the kernel removes its IPv6 addresses. A run, or C(sh /etc/ipmasq/boot
            links), adds them again, and M(ipmasq.linux.gateway_info) reports missing ones as drift.
          - If omitted, V(existing). For V(static), V(routed) if the addresses are outside the WAN's own networks,
            because nobody sends ARP requests for them there.
        type: str
        choices: [existing, routed, add]
      random:
        description:
          - Whether to use a random port for each connection. The mapping then depends on the destination (contrary to
            RFC 4787 REQ-1), so hole punching fails, as used by games, calls and peer-to-peer VPNs.
          - If omitted, O(profile) decides.
        type: bool
      persistent:
        description: Whether a client keeps one address of a pool (RFC 4787 REQ-2). If omitted, it does.
        type: bool
      ipsec:
        description: For V(exempt), whether to match only packets that an IPsec policy encrypts.
        type: bool
      inbound:
        description:
          - Whether to accept connections from outside to the mapped addresses. If omitted, yes for V(static) and no for
            V(prefix).
        type: bool
      hairpin:
        description:
          - For V(static), whether clients in the LANs can also use the mapped addresses. The server sees them with the
            address that they connected to. Otherwise they are refused; the gateway never answers for the server.
          - If omitted, the value of O(nat[].inbound), but V(false) with O(nat[].destination).
        type: bool
      timeouts:
        description:
          - Seconds after which idle connections of this item expire; O(timeouts) applies to what is omitted. Existing
            connections keep their timeouts. Backend nftables only.
        type: dict
        suboptions:
          tcp_close:
            description: TCP after a reset.
            type: int
          tcp_close_wait:
            description: TCP in CLOSE_WAIT.
            type: int
          tcp_established:
            description: Established TCP connections.
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
            description: TCP with unacknowledged data.
            type: int
          udp:
            description: UDP seen in one direction only.
            type: int
          udp_stream:
            description: UDP seen in both directions.
            type: int
  port_forwards:
    description:
      - Connections from outside to forward to a server in a LAN. This includes the FORWARD rule.
      - The first that matches decides, so put single ports before a range that covers them. A forward that can never
        match is refused.
      - A server that outside clients know by its own address is opened, not translated. That is so for a global IPv6
        address with O(ipv6=route), and for a server that an V(exempt) item in O(nat) matches.
    type: list
    elements: dict
    default: []
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
        description: The outside ports and ranges, such as V(443) or V(8000-8010).
        type: list
        elements: str
        required: true
      to:
        description:
          - The server. Several servers of one LAN share the connections.
          - If the provider changes the IPv6 prefix, the suffix of the server's address with a mask, such as
            V(::11/::ffff:ffff:ffff:ffff).
          - With the subnet ID, V(0:0:0:1::11/::ff:ffff:ffff:ffff:ffff).
        type: list
        elements: str
        required: true
      to_port:
        description: The port of the server; for a range, the first one. If omitted, the same as outside.
        type: int
      source:
        description:
          - Only clients in these networks. With O(port_forwards[].hairpin), clients inside count only if their networks
            are listed.
        type: list
        elements: str
      destination:
        description:
          - Only connections to these outside addresses. If omitted, to any address of a WAN, except addresses mapped to
            a server (V(static) in O(nat)). A mapped address listed here is forwarded for these ports only.
        type: list
        elements: str
      wan:
        description: Only on this WAN. If omitted, on every WAN.
        type: str
      hairpin:
        description:
          - Whether clients in the LANs can also reach the server through the outside address (RFC 4787 REQ-9).
          - This applies only to addresses of the forward's WANs; the gateway's other addresses keep their own services.
            Rules cannot match the interface that has an address. Therefore these are all addresses of the host, except
            private ones and those that other links have during the run.
        type: bool
        default: false
      hairpin_source:
        description:
          - The source address that the server sees for such a client. V(external) is the outside address that the
            client connected to (REQ-9a), V(gateway) is the gateway's address in the server's LAN.
          - The iptables backend knows only the addresses that the WAN has during the run; for others it uses
            V(gateway).
        type: str
        default: external
        choices: [external, gateway]
      balance:
        description:
          - How several servers share the connections. V(round_robin) sends each connection to the next server.
            V(source) sends a client to the same server every time.
        type: str
        default: round_robin
        choices: [round_robin, source]
      timeouts:
        description:
          - Seconds after which idle connections of this item expire; O(timeouts) applies to what is omitted. Existing
            connections keep their timeouts. Backend nftables only.
        type: dict
        suboptions:
          tcp_close:
            description: TCP after a reset.
            type: int
          tcp_close_wait:
            description: TCP in CLOSE_WAIT.
            type: int
          tcp_established:
            description: Established TCP connections.
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
            description: TCP with unacknowledged data.
            type: int
          udp:
            description: UDP seen in one direction only.
            type: int
          udp_stream:
            description: UDP seen in both directions.
            type: int
  outbound:
    description:
      - Which connections LANs may open to WANs, in order; the first that matches decides. The rest is accepted.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The name of the item.
        type: str
        required: true
      action:
        description: V(reject) informs the client, V(drop) lets it time out.
        type: str
        default: accept
        choices: [accept, reject, drop]
      source:
        description: Names of LANs, or networks. If omitted, every LAN.
        type: list
        elements: str
      destination:
        description: Only to these networks.
        type: list
        elements: str
      wan:
        description: Only on this WAN. If omitted, on every WAN.
        type: str
      protocol:
        description: Only these protocols.
        type: list
        elements: str
        choices: [tcp, udp, sctp, both, icmp, esp, ah, gre, igmp, ipv6, vrrp]
      port:
        description: Only these destination ports and ranges. Requires O(outbound[].protocol).
        type: list
        elements: str
      rate:
        description:
          - For V(accept), how many connections may be opened, a number up to 10000 per V(second), V(minute), V(hour) or
            V(day), such as V(10/second). More are rejected.
          - The rate applies to each LAN, address family and protocol separately. A burst of 5 is allowed.
        type: str
  multicast:
    description:
      - Multicast groups that may pass from a WAN to LANs, such as a provider's television. The order does not matter.
      - This only accepts the packets. A multicast router on this host, such as igmpproxy or smcroute, must forward
        them.
    type: list
    elements: dict
    default: []
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
        description: Only from senders in these networks.
        type: list
        elements: str
      wan:
        description: Only from this WAN. If omitted, from every WAN.
        type: str
      lan:
        description: Only to these LANs, by name. If omitted, to every LAN.
        type: list
        elements: str
  profile:
    description:
      - Defaults for NAT items.
      - V(peer_to_peer) keeps ports that are free, so that peers find each other (RFC 4787 REQ-1).
      - V(server_egress) uses random ports from 1024 up, for many clients of few servers. Hole punching then fails.
    type: str
    default: peer_to_peer
    choices: [peer_to_peer, server_egress]
  ipv6:
    description:
      - V(route) routes global addresses of LANs unchanged and masquerades unique local ones (RFC 4193), which outside
        hosts could not answer.
      - V(masquerade) masquerades all of them (NAT66).
      - V(prefix) translates only prefixes (NPTv6, RFC 6296); every IPv6 network of a LAN needs a NAT item with
        O(nat[].action=prefix).
    type: str
    default: route
    choices: [route, masquerade, prefix]
  mss:
    description:
      - What to do with the MSS that TCP connections through a WAN announce, in both directions.
      - V(pmtu) lowers it to the path MTU, V(keep) leaves it unchanged, and a number such as V(1452) sets it, in bytes.
    type: str
    default: pmtu
  drop_bogons:
    description:
      - Whether to drop packets on WANs with addresses that are never on the Internet (RFC 6890), as destinations of LAN
        clients and as sources from outside. Networks named in an item with O(nat[].action=exempt) may pass.
      - Leave it off if clients need private addresses of the provider's network or modem.
    type: bool
    default: false
  input:
    description:
      - Whether to filter connections to the gateway itself on every link that is not a LAN, that is, on WANs,
        undeclared links and tunnels. C(lo) and the links of container and VM managers, known by their names, are not
        filtered.
      - With V(protect), the gateway accepts on these links replies to its own connections, ICMP errors and echo
        requests, neighbour discovery, IGMP, MLD, router discovery, DHCP as a client, what O(input_allow) lists, port
        forwards to a service of the gateway itself, and SSH (O(input_controller_ports)). It drops the rest. LANs are
        not filtered. What is accepted must still pass other programs' rules.
    type: str
    default: open
    choices: [open, protect]
  input_allow:
    description: What else the gateway itself accepts with O(input=protect), on every link that is not a LAN.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The name of the item.
        type: str
        required: true
      source:
        description: Only outside clients in these networks.
        type: list
        elements: str
      destination:
        description: Only to these addresses of the gateway.
        type: list
        elements: str
      wan:
        description: Only on this WAN. If omitted, on every link that is not a LAN.
        type: str
      protocol:
        description: Only these protocols. V(vrrp) is the protocol of keepalived.
        type: list
        elements: str
        choices: [tcp, udp, sctp, both, icmp, esp, ah, gre, igmp, ipv6, vrrp]
      port:
        description: Only these ports and ranges. Requires O(input_allow[].protocol).
        type: list
        elements: str
  input_controller_ports:
    description:
      - The TCP ports that stay open for SSH with O(input=protect), instead of those found on the host. An empty list
        closes all of them.
      - If omitted, a port stays open if an SSH server of root listens on it (sshd, dropbear, a systemd socket), if this
        run uses it, or if an earlier run kept it. The result therefore does not depend on who runs Ansible, and only
        this list closes a port.
      - A run through an SSH port that is not in the list is refused.
    type: list
    elements: int
  dns_upstream:
    description:
      - The servers that the DNS of LANs asks, each an address with an optional port, such as V(9.9.9.9) or
        V(127.0.0.1#5335).
      - If omitted, those in C(/etc/resolv.conf) of the gateway, even when they change.
    type: list
    elements: str
  dns_domain:
    description:
      - The domain of hosts in LANs that have services. Questions for it never leave the gateway.
      - If omitted, C(home.arpa), which RFC 8375 reserves for this.
    type: str
  metrics:
    description:
      - V(textfile) writes the counters and the state of this gateway for Prometheus every minute, as
        C(ipmasq-INSTANCE.prom) in O(metrics_folder), where node_exporter reads it.
      - V(none) writes nothing, and removes what was written.
    type: str
    choices: [none, textfile]
    default: none
  metrics_folder:
    description:
      - The folder of node_exporter's textfile collector (C(--collector.textfile.directory)). It is created if it
        is missing.
      - If omitted, C(/var/lib/prometheus/node-exporter), which is that of Debian's package prometheus-node-exporter.
    type: str
  helpers:
    description:
      - Conntrack helpers for services that fail behind NAT without one. They apply to connections from LANs and to port
        forwards on the same port. Each helper parses data from untrusted hosts; list only those you use.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The service.
        type: str
        required: true
        choices: [amanda, ftp, netbios-ns, pptp, sip, snmp, tftp]
      port:
        description: Its ports, instead of the default port.
        type: list
        elements: int
  conntrack_max:
    description:
      - The maximum number of connections that the host tracks. V(keep) leaves the kernel's value, V(auto) uses a
        sixteenth of the memory, and a number sets that number.
      - In a container the value is read-only; it is skipped there with a note.
    type: str
    default: keep
  timeouts:
    description:
      - Seconds after which an idle connection expires, for the whole host. V(0) leaves the kernel's value.
      - If omitted, 300 seconds for UDP (RFC 4787 REQ-5) and 60 for ICMP (RFC 5508 REQ-2).
    type: dict
    suboptions:
      generic:
        description: Protocols without a timer of their own.
        type: int
      icmp:
        description: ICMP queries. 60 if omitted.
        type: int
      icmpv6:
        description: ICMPv6 queries. 60 if omitted.
        type: int
      tcp_close:
        description: TCP after a reset.
        type: int
      tcp_close_wait:
        description: TCP in CLOSE_WAIT.
        type: int
      tcp_established:
        description: Established TCP connections; RFC 5382 REQ-5 requires at least 7440.
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
        description: TCP with unacknowledged data.
        type: int
      udp:
        description: UDP seen in one direction only. 300 if omitted.
        type: int
      udp_stream:
        description: UDP seen in both directions. 300 if omitted.
        type: int
  offload:
    description:
      - With V(software), packets of established TCP and UDP connections bypass the rules and go directly from one
        interface to the other (flowtable). This saves processor time; counters no longer see these packets.
      - Requires backend nftables and a kernel with flowtables (Linux 5.8). Interfaces may be absent.
    type: str
    default: none
    choices: [none, software]
  undeclared:
    description:
      - What to do with new connections between a WAN or LAN and a link that is neither.
      - With V(drop), they are dropped in both directions, and so are packets with a private source from any network of
        the host that would leave through a WAN, or through another link with a default route. This does not affect
        replies, what another program's DNAT lets in from a WAN (a published port of a container), and traffic from
        container, VM and VPN links to LANs and WANs. These links are known by names such as C(docker0),
        C(br-0123456789ab), C(virbr0), C(wg0) and C(tun0); WireGuard, TUN, VTI and XFRM links with other names, and
        those of OpenVPN in the kernel (DCO), are known by their kind. A link with a default route when the module runs
        never counts as one of them, nor does a tunnel that accepts packets from anyone (VXLAN, GENEVE, GRE, IPIP, SIT,
        L2TP) unless it belongs to Kubernetes, nor a TAP device unless its name begins with C(tap) or, as ZeroTier's do,
        with C(zt).
      - Because a tunnel may get a default route later, LANs and these links reach each other only with addresses on the
        link's side that are private (RFC 1918, RFC 4193, C(100.64.0.0/10)), or in a public network that the last run
        has found there. Links to more than 64 public networks, or to one broader than /8 (IPv6 /16), count as links to
        the Internet, not to a site.
      - With V(leave), such links are not filtered, except those of other instances.
      - Traffic between two undeclared links is never filtered.
      - With V(drop), what would be forwarded through a link of a LAN that has a default route when the module runs is
        rejected, unless its destination is in the networks of that LAN, or private.
    type: str
    default: drop
    choices: [drop, leave]
  managed_links:
    description:
      - Links that another program manages under names of its own, such as Home Assistant's C(hassio), as names or as
        patterns such as C(web*). They are never chosen as LANs, and are treated like the links of container managers
        that are known by their names, see O(undeclared) and O(input).
      - A link that is declared here or in another instance is refused. A link with a default route stays closed. Each
        instance has its own list, so with several on one host, list the link in each.
    type: list
    elements: str
    default: []
  log:
    description:
      - Events to write to the kernel log. V(guard) is a packet that would have left a WAN with a LAN's source,
        V(closed) a connection from a WAN to a LAN, V(isolation) a connection from a LAN to a LAN that it may not reach,
        V(spoofed) a source that is not the LAN's own, or a LAN's source from a WAN, V(undeclared) what
        O(undeclared=drop) drops, V(protected) what O(input=protect) drops, V(outbound) what an item of O(outbound)
        drops or rejects, V(bogons) what O(drop_bogons=true) drops, and V(invalid) a packet that conntrack assigns to no
        connection.
      - In a container, nothing is logged unless the host sets C(net.netfilter.nf_log_all_netns).
    type: list
    elements: str
    default: []
    choices: [invalid, spoofed, isolation, closed, undeclared, outbound, bogons, guard, protected]
  log_prefix:
    description: The beginning of each log line, before the event.
    type: str
    default: "ipmasq "
  log_rate:
    description:
      - The maximum rate at which each rule logs, a number up to 10000 per V(second), V(minute), V(hour) or V(day), such
        as V(10/minute).
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

- name: Declare WAN, LANs and rules
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

- name: Remove the gateway
  ipmasq.linux.gateway:
    state: absent
"""

RETURN = r"""
backend:
  description: The packet filter in use, and why it was chosen.
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
      description: Why it was chosen.
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
  description: What was chosen or resolved, one sentence each.
  returned: success
  type: list
  elements: str
  sample: ["WAN ppp0: chosen because it has the default route"]
rfc:
  description: NAT RFC requirements that your options give up, and what may fail because of it. Empty by default.
  returned: when O(state=present)
  type: list
  elements: dict
  contains:
    requirement:
      description: RFC and requirement number.
      type: str
      sample: RFC 4787 REQ-9
    why:
      description: The option, the items, and what may fail.
      type: str
      sample: "port_forwards web: hairpin_source is gateway: the server cannot tell inside clients apart"
first_run:
  description: Whether nothing of this instance was on the host before this run.
  returned: when O(state=present)
  type: bool
  sample: true
differences:
  description:
    - What was missing (C(+)), superfluous (C(-)) or different (C(~)) on the host before this run.
      At most 200 rules, and 500 characters of each.
  returned: success
  type: list
  elements: str
  sample: ["~ net/ipv4/ip_forward: 0 to 1"]
proof:
  description:
    - The proof of this change. What could not be measured is in RV(notes). The module M(ipmasq.linux.gateway_probe)
      returns every promise.
  returned: when a change was proven
  type: dict
  contains:
    at:
      description: When it ended, in UTC.
      type: str
      sample: "2026-11-28T10:20:30Z"
    seconds:
      description: How long it took.
      type: float
      sample: 0.31
    counts:
      description: How many promises hold, are broken, or cannot be measured.
      type: dict
      sample: {holds: 28, broken: 0, unmeasurable: 0}
    broken:
      description: The broken promises, one sentence each. They are warnings, too.
      type: list
      elements: str
      sample: ["office reaches the Internet through ppp0 (tcp, IPv4) is broken: nothing came out of ppp0"]
pending:
  description: A change that awaits confirmation; absent once this task has confirmed the change itself.
  returned: when something changed, and O(confirm_by=person)
  type: dict
  contains:
    token:
      description: Identifies this change for M(ipmasq.linux.gateway_confirm).
      type: str
      sample: 0b9b2d5e3d1f4c0c8f7a6e5d4c3b2a19
    seconds:
      description: Seconds until it is rolled back.
      type: int
      sample: 30
    until:
      description: When it is rolled back, in the host's local time.
      type: str
      sample: "14:05:30"
    host:
      description: The host's own name.
      type: str
      sample: gw1
instance:
  description: The instance.
  returned: success
  type: str
  sample: default
problems:
  description: The problems, one sentence each. The message contains the same, one per line.
  returned: failure
  type: list
  elements: str
  sample: ["instance: 'X' must be 1 to 10 characters from a-z, 0-9 and _, starting with a letter"]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import run_module
from ansible_collections.ipmasq.linux.plugins.module_utils._change.task import perform
from ansible_collections.ipmasq.linux.plugins.module_utils._intent import argspec


def main() -> None:
    module = AnsibleModule(argument_spec=argspec.MODULES["gateway"], supports_check_mode=True)
    run_module(module, lambda host: perform(module.params, host, module._verbosity > 0))


if __name__ == "__main__":
    main()
