# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Which metrics there are, and the programs of awk that make them.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

#: Items whose counters are written; each is up to four time series.
MOST_ITEMS = 1000
#: The number of tracked connections up to which ports are counted.
MOST_CONNECTIONS = 100000
#: As many promises as a proof that failed can name.
MOST_BROKEN = 10

#: Metrics by name: type and help. The texts must be the same in the files of all instances.
METRICS = {
    "build_info": ("gauge", "The version that applied this gateway, and its backend."),
    "applied_timestamp_seconds": ("gauge", "When this gateway was last changed."),
    "change_pending": ("gauge", "Whether a change waits for its confirmation."),
    "as_applied": ("gauge", "Whether rules, switches and files are as they were applied."),
    "item_packets_total": ("counter", "Packets that the rules of an item matched, since the rules were loaded."),
    "item_bytes_total": ("counter", "Bytes of these packets."),
    "items_left_out": ("gauge", "Items beyond the first {0}, whose counters are not written.".format(MOST_ITEMS)),
    "stopped_packets_total": ("counter", "Packets that the gateway did not let through, since the rules were loaded."),
    "stopped_bytes_total": ("counter", "Bytes of these packets."),
    "conntrack_entries": ("gauge", "Connections that this host tracks."),
    "conntrack_entries_limit": ("gauge", "The most connections that this host can track."),
    "nat_ports_used": ("gauge", "Different ports of an SNAT address that are in use."),
    "dhcp_leases": ("gauge", "Addresses of a DHCP range that hosts have now."),
    "dhcp_addresses": ("gauge", "Addresses of a DHCP range."),
    "proof_timestamp_seconds": ("gauge", "When the promises of this gateway were last tried with packets."),
    "proof_promises": ("gauge", "Promises in the last proof, by outcome."),
    "proof_broken": ("gauge", "A promise that did not hold in the last proof."),
    "collection_duration_seconds": ("gauge", "How long it took to collect these metrics."),
}

#: Counters by item. A rule that only leads to others decides nothing, so it does not count.
COUNTERS = r"""
function count(key, did, packets, octets,    kind, name, label) {
    if (!(did in known)) return
    kind = key; sub(/\/.*/, "", kind)
    name = key; if (!sub(/^[^\/]*\//, "", name)) name = ""
    if (did == "return" && kind != "nat") return
    if (kind in item) {
        if (!(key in seen)) { seen[key] = 1; items++ }
        if (items > MOST_ITEMS) { if (seen[key] == 1) { left++; seen[key] = 2 } if (seen[key] == 2) return }
        seen[key] = 3
        label = "kind=\"" kind "\",item=\"" name "\",action=\"" did "\""
        if (!(label in passed)) at[++items_seen] = label
        passed[label] += packets; through[label] += octets
    } else if (kind == "lookup") {
        return
    } else if (did == "drop" || did == "reject" || (kind == "guard" && did == "masquerade")) {
        label = "reason=\"" kind "\",link=\"" name "\""
        if (!(label in stopped)) place[++stops] = label
        stopped[label] += packets; kept[label] += octets
    }
}
BEGIN {
    split("accept drop reject dnat snat masquerade netmap return helper", words)
    for (each in words) known[words[each]] = 1
    split("answers lan nat port_forward outbound multicast input_allow helper", words)
    for (each in words) item[words[each]] = 1
    mine = "comment \"?ipmasq:" instance "/"
}
$1 == "counter" && $3 == "{" && $2 ~ /^port_forward\/./ { object[++objects] = $2; next }
$1 == "packets" && objects > told { told = objects; packets_of[told] = $2; octets_of[told] = $4; next }
$0 ~ mine {
    key = $0
    sub(".*" mine, "", key)
    sub(/[" ].*/, "", key)
    if ($0 ~ /^\[/) {
        split(substr($1, 2), n, /[]:]/)
        did = $0; sub(/.* -j /, "", did); sub(/ .*/, "", did); did = tolower(did)
        if (did == "ct") did = "helper"
        count(key, did, n[1], n[2])
    } else if (match($0, /counter packets [0-9]+ bytes [0-9]+ /)) {
        split(substr($0, RSTART, RLENGTH), n, " ")
        did = substr($0, RSTART + RLENGTH); sub(/ .*/, "", did)
        if (did == "ct") did = "helper"
        count(key, did, n[3], n[5])
    }
}
END {
    # The counters of many port forwards are listed before all rules, but there may be more than MOST_ITEMS of them.
    for (i = 1; i <= objects; i++) {
        did = object[i]; sub(/.*\//, "", did)
        key = object[i]; sub(/\/[^\/]*$/, "", key)
        count(key, did, packets_of[i], octets_of[i])
    }
    for (i = 1; i <= items_seen; i++) printf "item_packets_total %s %.0f\n", at[i], passed[at[i]]
    for (i = 1; i <= items_seen; i++) printf "item_bytes_total %s %.0f\n", at[i], through[at[i]]
    printf "items_left_out  %d\n", left
    for (i = 1; i <= stops; i++) printf "stopped_packets_total %s %.0f\n", place[i], stopped[place[i]]
    for (i = 1; i <= stops; i++) printf "stopped_bytes_total %s %.0f\n", place[i], kept[place[i]]
}
"""

#: What of iptables-save is ours: our chains, jumps to them, and the rule before a jump that may decide first.
OURS = r"""
BEGIN { prefix = instance == "default" ? "^IPMASQ-[A-Z]" : "^IPMASQ-" instance "-" }
/^\*/ { print; split("", above); next }
/^\[/ {
    sub(/^\[[0-9:]+\] /, "")
    target = $0; sub(/.* -j /, "", target); sub(/ .*/, "", target)
    if ($2 ~ prefix) { print; next }
    if (target ~ prefix) { print above[$2] $0; above[$2] = ""; next }
    if (/ -g [^ ]+$/) target = "RETURN"
    if (target ~ /^(ACCEPT|DROP|REJECT|RETURN|QUEUE|NFQUEUE)$/) above[$2] = $0 "; "
    if (target ~ /^(MASQUERADE|SNAT|DNAT|NETMAP|REDIRECT|TPROXY|SYNPROXY|TARPIT)$/) above[$2] = $0 "; "
}
"""

#: Different ports of each address in replies. conntrack(8) and /proc write the same.
PORTS = r"""
FNR == NR { if ($1 == "address") { at[++count] = $2; known[$2] = 1 } next }
{
    protocol = $0 ~ /(^| )tcp / ? "tcp" : $0 ~ /(^| )udp / ? "udp" : ""
    if (protocol == "") next
    address = port = ""
    for (i = 1; i <= NF; i++) {
        if ($i ~ /^dst=/) address = substr($i, 5)
        if ($i ~ /^dport=/) port = substr($i, 7)
    }
    if (address in known && !seen[address, protocol, port]++) used[address, protocol]++
}
END {
    for (i = 1; i <= count; i++) {
        printf "nat_ports_used address=\"%s\",protocol=\"tcp\" %d\n", at[i], used[at[i], "tcp"]
        printf "nat_ports_used address=\"%s\",protocol=\"udp\" %d\n", at[i], used[at[i], "udp"]
    }
}
"""

#: Leases that have not ended, by range. dnsmasq writes when each ends; 0: never.
LEASES = r"""
function number(address, part) {
    split(address, part, ".")
    return ((part[1] * 256 + part[2]) * 256 + part[3]) * 256 + part[4]
}
FNR == NR {
    if ($1 != "range") next
    label[++count] = "lan=\"" $2 "\",range=\"" $3 "\""
    split($3, ends, "-")
    first[count] = number(ends[1])
    last[count] = number(ends[2] == "" ? ends[1] : ends[2])
    next
}
$1 == "duid" { exit }
$3 ~ /^[0-9.]+$/ && ($1 == 0 || $1 > now) {
    for (i = 1; i <= count; i++) if (number($3) >= first[i] && number($3) <= last[i]) leases[i]++
}
END {
    for (i = 1; i <= count; i++) printf "dhcp_leases %s %d\n", label[i], leases[i]
    for (i = 1; i <= count; i++) printf "dhcp_addresses %s %.0f\n", label[i], last[i] - first[i] + 1
}
"""

#: The last proof, which is JSON in one line. A label may contain no other escapes than these two.
PROOF = r"""
{
    text = $0
    split("holds broken unmeasurable", words)
    for (i = 1; i <= 3; i++) {
        count = 0
        if (match(text, "\"" words[i] "\": [0-9]+")) {
            count = substr(text, RSTART, RLENGTH)
            sub(/.*: /, "", count)
        }
        printf "proof_promises outcome=\"%s\" %d\n", words[i], count
    }
    if (!match(text, /"broken": \[/)) next
    text = substr(text, RSTART + RLENGTH)
    while (broken++ < MOST_BROKEN && match(text, /^[ ,]*"([^"\\]|\\.)*"/)) {
        name = substr(text, 1, RLENGTH)
        text = substr(text, RLENGTH + 1)
        sub(/^[ ,]*"/, "", name)
        sub(/"$/, "", name)
        sub(/ is broken: .*/, "", name)
        gsub(/\\\\/, "?", name)
        gsub(/\\u[0-9a-f][0-9a-f][0-9a-f][0-9a-f]/, "?", name)
        gsub(/\\[^"]/, "?", name)
        gsub(/ /, "\001", name)
        if (!(name in named)) printf "proof_broken promise=\"%s\" 1\n", name
        named[name] = 1
    }
}
"""

#: Lines of "name labels value" as Prometheus reads them: those of one metric together, with its type.
SHAPE = r"""
BEGIN {
    while ((getline line < help) > 0) {
        split(line, part, "\t")
        at[++count] = part[1]
        head[part[1]] = "# HELP ipmasq_" part[1] " " part[3] "\n# TYPE ipmasq_" part[1] " " part[2] "\n"
    }
}
{
    labels = NF > 2 ? "," $2 : ""
    gsub("\001", " ", labels)
    lines[$1] = lines[$1] "ipmasq_" $1 "{gateway=\"" instance "\"" labels "} " $NF "\n"
}
END { for (i = 1; i <= count; i++) if (lines[at[i]] != "") printf "%s%s", head[at[i]], lines[at[i]] }
"""
