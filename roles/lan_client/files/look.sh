#!/bin/sh
# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Everything that lan_client needs to know about a host, in one execution. Read-only; lan_client_plan parses it.
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"

section() { printf '\n=== %s\n' "$1"; }

section addresses
ip -j address show
section routes4
ip -j -4 route show default
section routes6
ip -j -6 route show default

section networkd
if systemctl is-active --quiet systemd-networkd 2>/dev/null; then
    # All links in one call. -n 0: no log lines, which are slow to find and could resemble fields.
    networkctl --no-pager -n 0 -a status 2>/dev/null
fi
section ifupdown
cat /run/network/ifstate 2>/dev/null

# One line per manager and interface. "-": the whole host.
section managers
if command -v nmcli >/dev/null && nmcli -t -f RUNNING general 2>/dev/null | grep -q '^running'; then
    nmcli -t -f DEVICE,STATE device 2>/dev/null | sed -n -E '/externally/d; s/^(.*):connect(ed|ing).*/NetworkManager \1/p'
else
    for link in /sys/class/net/*; do
        if grep -qs '^managed=true' "/run/NetworkManager/devices/$(cat "$link/ifindex" 2>/dev/null)"; then
            echo "NetworkManager ${link##*/}"
        fi
    done
fi
for netplan in /run/systemd/network/*-netplan-*.network; do [ -e "$netplan" ] && echo "netplan $netplan"; done
[ -d /run/connman ] && echo "connman -"
[ -d /run/wicked ] && echo "wicked -"
for pid in /run/dhcpcd.pid /run/dhcpcd-*.pid /run/dhcpcd/*.pid /run/dhcpcd/pid; do
    [ -e "$pid" ] && echo "dhcpcd -" && break
done

section resolver
systemctl is-active --quiet systemd-resolved 2>/dev/null && echo active
if [ -L /etc/resolv.conf ]; then readlink -f /etc/resolv.conf || readlink /etc/resolv.conf; fi

section files
for file in /etc/systemd/network/*.network.d/ipmasq-lan-client.conf \
    /etc/systemd/resolved.conf.d/ipmasq-lan-client.conf \
    /etc/network/if-up.d/ipmasq-lan-client \
    /etc/resolv.conf /etc/resolv.conf.before-ipmasq; do
    if [ -f "$file" ] && [ ! -L "$file" ]; then
        printf '%s %s %s\n' "$(stat -c '%a %u %g' "$file")" "$file" "$(base64 <"$file" | tr -d '\n')"
    fi
done
exit 0
