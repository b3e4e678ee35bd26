# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An XDP program at an interface, without a compiler: two instructions, ``r0 = verdict; exit``."""

from __future__ import annotations

import ctypes
import os
import socket
import struct

DROP, PASS = 1, 2
GENERIC, DRIVER = 2, 4  # XDP_FLAGS_SKB_MODE, XDP_FLAGS_DRV_MODE
SYSCALL_BPF = {"x86_64": 321, "aarch64": 280}
BPF_PROG_LOAD, BPF_PROG_TYPE_XDP = 5, 6
RTM_SETLINK, NLM_F_REQUEST, NLM_F_ACK = 19, 1, 4
IFLA_XDP, IFLA_XDP_FD, IFLA_XDP_FLAGS, NLA_F_NESTED = 43, 1, 3, 0x8000


def attach(interface: str, verdict: int, mode: int) -> None:
    program = _load(verdict)
    try:
        nested = struct.pack("<HHi", 8, IFLA_XDP_FD, program) + struct.pack("<HHI", 8, IFLA_XDP_FLAGS, mode)
        body = struct.pack("<BxHiII", 0, 0, socket.if_nametoindex(interface), 0, 0)
        body += struct.pack("<HH", 4 + len(nested), IFLA_XDP | NLA_F_NESTED) + nested
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as kernel:
            kernel.send(struct.pack("<IHHII", 16 + len(body), RTM_SETLINK, NLM_F_REQUEST | NLM_F_ACK, 1, 0) + body)
            (error,) = struct.unpack_from("<i", kernel.recv(4096), 16)
        assert error == 0, os.strerror(-error)
    finally:
        os.close(program)


def _load(verdict: int) -> int:
    kernel = ctypes.CDLL(None, use_errno=True)
    text = ctypes.create_string_buffer(struct.pack("<BBhi", 0xB7, 0, 0, verdict) + struct.pack("<BBhi", 0x95, 0, 0, 0))
    licence = ctypes.create_string_buffer(b"GPL")
    asked = struct.pack("<IIQQ", BPF_PROG_TYPE_XDP, 2, ctypes.addressof(text), ctypes.addressof(licence)) + bytes(96)
    number = kernel.syscall(
        SYSCALL_BPF[os.uname().machine], BPF_PROG_LOAD, ctypes.create_string_buffer(asked), len(asked)
    )
    assert number >= 0, os.strerror(ctypes.get_errno())
    return int(number)
