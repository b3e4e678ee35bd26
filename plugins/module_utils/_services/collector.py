# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The program that writes metrics: a shell script with awk, as hosts have them without Python and Ansible."""

from __future__ import annotations

import re

from .._base.journal import SAY
from .._init.metering import EVERY
from .samples import (
    COUNTERS,
    LEASES,
    METRICS,
    MOST_BROKEN,
    MOST_CONNECTIONS,
    MOST_ITEMS,
    OURS,
    PORTS,
    PROOF,
    SHAPE,
)

COLLECT = """\
#!/bin/sh
# Written by the Ansible collection ipmasq.linux.
# Usage: sh metrics write|record|start|stop INSTANCE
#        sh metrics digest INSTANCE BACKEND
PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
umask 022
here=${0%/*}
# A digest is made also before there is such a folder.
[ "$1" = digest ] || here=$(cd "$here" && pwd) || exit 1
run=${here%/etc/ipmasq}/run/ipmasq
leases=${here%/etc/ipmasq}/var/lib/ipmasq/$2.leases
conf=$here/$2.metrics
# What the environment calls so is nobody's to remove.
part= work= given=$3

"""

#: Of what is below, the words in capitals are filled in.
ACTS = r"""
value() {
    sed -n "s/^$1 //p" "$conf"
}
backend() {
    [ -z "$given" ] || { echo "$given"; return; }
    value backend
}
# The live rules: those of nft, or those of both families of iptables.
listed() {
    backend=$(backend)
    case $backend in
    nft)
        table=ipmasq
        [ "$1" = default ] || table=ipmasq_$1
        nft list table inet "$table" 2> /dev/null
        ;;
    *)
        "$backend-save" -c 2> /dev/null
        "ip6${backend#ip}-save" -c 2> /dev/null
        ;;
    esac
}
# A digest of rules without counters. The kernel lists the elements of a set in any order, and the links of a flowtable
# come and go.
digest() {
    if [ "$(backend)" = nft ]; then
        sed -e 's/counter packets [0-9]* bytes [0-9]*/counter/' -e 's/^[[:space:]]*packets [0-9]* bytes [0-9]*$//' \
            -e '/^[[:space:]]*devices = /d' -e 's/{$/(/' -e 's/^[[:space:]]*}$/)/' "$1" |
            tr -s '\n\t ' '   ' > "$1.line"
        {
            sed 's/{[^{}]*}/{}/g' "$1.line"
            tr ',{}' '\n\n\n' < "$1.line" | sed 's/^ *//; s/ *$//' | sort
        } | sha256sum
    else
        awk -v instance="$2" 'OURS' "$1" | sha256sum
    fi
}
# An update of the tools may list the same rules otherwise.
tools() {
    case $(backend) in
    nft) nft --version ;;
    *) "$(backend)-save" --version ;;
    esac
}
epoch() {
    [ -z "$1" ] || date -u -d "$(echo "$1" | sed 's/T/ /; s/Z$//')" +%s 2> /dev/null
}
uptime() {
    read -r seconds _ < /proc/uptime
    echo "$seconds"
}
# Whether a change is under way. Once it is decided to keep it, what is loaded is what was applied.
undecided() {
    [ -e "$run/$1/change.json" ] && [ ! -e "$run/$1/decided" ]
}
# Whether the live rules are those that were loaded. Nobody can say while a change is under way.
rules_as_applied() {
    [ -e "$run/$1.loaded" ] && ! undecided "$1" || return 0
    { read -r known; read -r tools; } < "$run/$1.loaded"
    [ "$tools" = "$(tools)" ] || return 0
    as=0
    [ "$known" != "$(digest "$2" "$1")" ] || as=1
    ! is_shut "$1" || as=0
    echo "as_applied what=\"rules\" $as"
}
# Whether the loader has shut a link of this instance, because its rules could not be loaded; or, for whatever reason,
# all links but lo.
is_shut() {
    { ip -4 rule show; ip -6 rule show; } 2> /dev/null | sed -n 's/^6:.* iif \([^ ]*\) .*blackhole.*/\1/p' |
        while read -r link; do
            [ "$link" != lo ] || echo "$link"
            [ ! -e "$here/$1.shut" ] || while read -r wanted; do
                case "$link" in
                $wanted) echo "$link" ;;
                esac
            done < "$here/$1.shut"
        done | grep -q .
}
# Whether the loader and what runs it at boot are there.
is_loaded_at_boot() {
    [ -s "$here/boot" ] || return 1
    etc=${here%/ipmasq}
    [ -s "$etc/systemd/system/ipmasq.service" ] || [ -s "$etc/init.d/ipmasq" ] || return 1
    for each in "$etc"/systemd/system/sysinit.target.wants/ipmasq.service "$etc"/rcS.d/S*ipmasq \
        "$etc"/runlevels/*/ipmasq; do
        [ ! -e "$each" ] && [ ! -L "$each" ] || return 0
    done
    return 1
}
# Whether a link does not forward as all should, in a tree of the kernel's switches.
differs() {
    value link | while read -r link; do
        # The name may be a pattern.
        for each in "/proc/sys/$1"/$link/forwarding; do
            [ ! -e "$each" ] || [ "$(cat "$each")" = "$2" ] || echo "$each"
        done
    done | grep -q .
}
switches_as_applied() {
    [ -e "$here/$1.sysctl" ] && ! undecided "$1" || return 0
    as=1
    while read -r key wanted; do
        [ ! -e "/proc/sys/$key" ] || [ "$(tr -s '\t' ' ' < "/proc/sys/$key")" = "$wanted" ] || as=0
        case $key in
        net/ipv4/ip_forward) ! differs net/ipv4/conf "$wanted" || as=0 ;;
        net/ipv6/conf/all/forwarding) ! differs net/ipv6/conf "$wanted" || as=0 ;;
        esac
    done < "$here/$1.sysctl"
    echo "as_applied what=\"switches\" $as"
}
files_as_applied() {
    as=0
    ! (cd "$here" && sed '$d' "$1.sums" | sha256sum -c > /dev/null 2>&1) || as=1
    [ -z "$(find "$here" -name "$1.*" ! -type d ! -perm 600)" ] && is_loaded_at_boot || as=0
    echo "as_applied what=\"files\" $as"
}
ports_used() {
    grep -q '^address ' "$conf" || return 0
    [ "$(cat /proc/sys/net/netfilter/nf_conntrack_count)" -le MOST_CONNECTIONS ] || return 0
    # Some kernels go through the whole table again for each page of the file below /proc.
    if command -v conntrack > /dev/null; then
        conntrack -L 2> /dev/null | awk 'PORTS' "$conf" -
    elif [ -e /proc/net/nf_conntrack ]; then
        awk 'PORTS' "$conf" /proc/net/nf_conntrack
    fi
}
leases_used() {
    grep -q '^range ' "$conf" || return 0
    [ -e "$leases" ] || leases=/dev/null
    awk -v now="$(date +%s)" 'LEASES' "$conf" "$leases"
}
proven() {
    [ -s "$run/$1.proof" ] || return 0
    at=$(epoch "$(sed -n 's/^.*"at": "\([^"]*\)".*$/\1/p' "$run/$1.proof")")
    [ -n "$at" ] || return 0
    echo "proof_timestamp_seconds $at"
    awk 'PROOF' "$run/$1.proof"
}
collected() {
    state=$here/$1.json
    version=$(sed -n 's/^ "collection": "\([0-9A-Za-z.+-]*\)",*$/\1/p' "$state")
    echo "build_info version=\"$version\",backend=\"$(backend)\" 1"
    at=$(epoch "$(sed -n 's/^  "at": "\([^"]*\)",*$/\1/p' "$state")")
    [ -z "$at" ] || echo "applied_timestamp_seconds $at"
    pending=0
    ! undecided "$1" || [ ! -e "$run/$1/ready" ] || pending=1
    echo "change_pending $pending"
    listed "$1" > "$work/rules"
    rules_as_applied "$1" "$work/rules"
    switches_as_applied "$1"
    files_as_applied "$1"
    awk -v instance="$1" 'COUNTERS' "$work/rules"
    for each in count:entries max:entries_limit; do
        number=$(cat "/proc/sys/net/netfilter/nf_conntrack_${each%:*}" 2> /dev/null)
        [ -z "$number" ] || echo "conntrack_${each#*:} $number"
    done
    ports_used
    leases_used
    proven "$1"
}
help() {
    cat << 'END'
HELP
END
}
begin() {
    mkdir -p "$run" && chmod 700 "$run" || exit 1
    work=$(mktemp -d "$run/.metrics.XXXXXX") || exit 1
    trap 'rm -rf "$work"; [ -z "$part" ] || rm -f "$part"' EXIT
    trap 'exit 1' HUP INT TERM
}
digested() {
    listed "$1" > "$work/rules"
    digest "$work/rules" "$1"
    tools
}
# What is loaded is what was applied.
record() {
    [ -e "$conf" ] || exit 0
    begin
    digested "$1" > "$work/loaded"
    mv -f "$work/loaded" "$run/$1.loaded"
}
# Go to a folder from the root, each step into a real one, even if somebody exchanges one for a link meanwhile.
enter() {
    set -f
    IFS=/
    set -- ${1#/}
    unset IFS
    set +f
    at=
    cd / || exit 1
    for each; do
        at=$at/$each
        [ -e "./$each" ] || [ -L "./$each" ] || mkdir "./$each" || exit 1
        cd -P "./$each" && [ "$(pwd -P)" = "$at" ] || { say "metrics: $at is not a folder, or a link to one"; exit 1; }
    done
}
# The owner of the folder, or of one above, must not make root write anywhere else: a new file, whose name nobody can
# know, is renamed to a name that counts as that of a file, whatever it leads to.
write() {
    [ -e "$conf" ] || exit 0
    begun=$(uptime)
    folder=$(value folder)
    begin
    help > "$work/help"
    collected "$1" > "$work/found"
    echo "$begun $(uptime)" | awk '{ printf "collection_duration_seconds %.2f\n", $2 - $1 }' >> "$work/found"
    awk -v instance="$1" -v help="$work/help" 'SHAPE' "$work/found" > "$work/text" || exit 1
    enter "$folder"
    file=ipmasq-$1.prom
    [ -L "$file" ] || [ ! -d "$file" ] || { say "metrics: $folder/$file is a folder"; exit 1; }
    part=$(mktemp -u "./.ipmasq-$1.XXXXXXXXXX") || exit 1
    set -C
    cat "$work/text" > "$part" || exit 1
    mv -fT "$part" "$file"
}
# Without systemd. The processes form one group.
group=$run/$2.metering
lives() {
    [ -e "$group" ] && kill -s 0 -- "-$(cat "$group")" 2> /dev/null
}
stop() {
    ! lives || kill -s TERM -- "-$(cat "$group")"
    rm -f "$group"
}
start() {
    stop
    mkdir -p "$run" && chmod 700 "$run" || exit 1
    # The process that started this may hold the lock.
    setsid sh -c 'while :; do sh "$0" write "$1"; sleep EVERY; done' "$here/metrics" "$1" \
        < /dev/null > /dev/null 2>&1 9>&- &
    echo $! > "$group"
}

case "$1" in
write) write "$2" ;;
record) record "$2" ;;
digest) begin && digested "$2" ;;
start) start "$2" ;;
stop) stop "$2" ;;
*) echo "usage: $0 write|record|digest|start|stop INSTANCE" >&2; exit 3 ;;
esac
"""


def _program() -> str:
    words = {
        "HELP": "\n".join("\t".join((name, *METRICS[name])) for name in METRICS),
        "COUNTERS": COUNTERS,
        "OURS": OURS,
        "PORTS": PORTS,
        "LEASES": LEASES,
        "PROOF": PROOF,
        "SHAPE": SHAPE,
        "EVERY": str(EVERY),
    }
    numbers = {"MOST_ITEMS": MOST_ITEMS, "MOST_CONNECTIONS": MOST_CONNECTIONS, "MOST_BROKEN": MOST_BROKEN}
    text = re.sub(r"\b({0})\b".format("|".join(words)), lambda word: words[word.group()], ACTS)
    text = re.sub(r"\b({0})\b".format("|".join(numbers)), lambda word: str(numbers[word.group()]), text)
    return COLLECT + SAY + text


TEXT = _program()
