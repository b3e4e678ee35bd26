# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Both ends of a conversation: a server that tells each client which address it came from, and its clients.

talk.py serve PORT LOG                  over TCP and UDP, and each address into LOG
talk.py ask tcp|udp ADDRESS PORT        prints the address, or why there was no answer
talk.py keep-asking ADDRESS PORT LOG    over UDP from one socket, without end; each answer is a line of LOG
"""

from __future__ import annotations

import select
import socket
import sys
import time

KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
PATIENCE = 5


def main(what: str, *arguments: str) -> None:
    {"serve": serve, "ask": ask, "keep-asking": keep_asking}[what](*arguments)


def serve(port: str, log: str) -> None:
    tcp, udp = (socket.socket(socket.AF_INET6, kind) for kind in KINDS.values())
    for each in (tcp, udp):
        each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        each.bind(("::", int(port)))
    udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    tcp.listen(16)
    with open(log, "a", encoding="ascii", buffering=1) as seen:
        while True:
            for ready in select.select([tcp, udp], [], [])[0]:
                if ready is udp:
                    _data, (asked,), _flags, peer = udp.recvmsg(100, 64)
                    # From the address that was asked, by any interface: struct in6_pktinfo.
                    udp.sendmsg([plain(peer)], [(*asked[:2], asked[2][:16] + bytes(4))], 0, peer)
                else:
                    accepted, peer = tcp.accept()
                    with accepted:
                        accepted.sendall(plain(peer))
                seen.write(plain(peer).decode() + "\n")


def plain(peer: tuple) -> bytes:
    return peer[0].replace("::ffff:", "").encode()


def client(kind: str, address: str, port: str) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, KINDS[kind])
    made.settimeout(PATIENCE)
    made.connect((address, int(port)))
    return made


def ask(kind: str, address: str, port: str) -> None:
    try:
        with client(kind, address, port) as asking:
            if kind == "udp":
                asking.send(b"?")
            print(asking.recv(100).decode())
    except OSError as error:
        print(error.strerror or error)


def keep_asking(address: str, port: str, log: str) -> None:
    asking = client("udp", address, port)
    asking.settimeout(0.2)
    with open(log, "a", encoding="ascii", buffering=1) as answers:
        while True:
            try:
                asking.send(b"?")
                answers.write(asking.recv(100).decode() + "\n")
            except OSError:  # no server, or no route: the next one may get through
                pass
            time.sleep(0.1)


if __name__ == "__main__":
    main(*sys.argv[1:])
