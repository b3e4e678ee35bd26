# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Carries out the host's requests. A message is its length in four bytes and then that much JSON, in both directions.

The first message of each boot is ours, so that the host knows a boot from the next one.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import struct
import subprocess

PORT = "/dev/virtio-ports/agent"
BOOT_ID = "/proc/sys/kernel/random/boot_id"


def main() -> None:
    port = os.open(PORT, os.O_RDWR)
    with open(BOOT_ID, encoding="ascii") as handle:
        send(port, {"boot": handle.read().strip()})
    while True:
        (size,) = struct.unpack("!I", receive(port, 4))
        send(port, run(json.loads(receive(port, size))))


def receive(port: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = os.read(port, size - len(data))
        if not part:
            raise EOFError("the host has hung up")
        data += part
    return data


def send(port: int, message: dict) -> None:
    data = json.dumps(message).encode()
    data = struct.pack("!I", len(data)) + data
    while data:
        data = data[os.write(port, data) :]


def run(asked: dict) -> dict:
    """One command. If it takes too long, its children are ended, too."""
    try:
        process = subprocess.Popen(
            asked["argv"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        return done(127, b"", str(error).encode())
    try:
        out, err = process.communicate(base64.b64decode(asked["input"]), timeout=asked["timeout"])
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        return dict(done(-1, out, err), late=True)
    return done(process.returncode, out, err)


def done(rc: int, out: bytes, err: bytes) -> dict:
    return {"rc": rc, "out": base64.b64encode(out).decode(), "err": base64.b64encode(err).decode(), "late": False}


if __name__ == "__main__":
    main()
