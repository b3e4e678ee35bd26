# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What survives a reboot: the state of each instance under /etc/ipmasq, and the service that loads it.

The order at boot is that of every change: rules first, forwarding last. If the rules of an instance are refused, the
loader turns forwarding off and fails: no route is better than an open one.
"""

from __future__ import annotations

import contextlib
import posixpath
import typing as t
from dataclasses import replace
from hashlib import sha256

from .._base import origin
from .._base.journal import SAY
from .._base.lock import SHELL as LOCK, UNLOCK
from .._base.values import is_instance
from .._init import drop_ins, service, shut
from .._parts import fence
from .._parts.declaration import DECLARATION
from .._parts.part import FOLDER, parts_of, stem
from .state import MISREAD, SALVAGED, State, damaged, read, to_raw, to_text

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Sight
    from .._parts.part import Part, Scene

    Parts = t.Sequence[Part[t.Any]]

LOADER = service.LOADER
#: Every file suffix of an instance, except those of parts.
ENDINGS = (".json", ".load", ".shut", ".sums")
#: Exists only between the decision to keep a change and the move of its last file.
COMMIT = ".commit"

LOADER_TEXT = (
    """\
#!/bin/sh
# Written by the Ansible collection ipmasq.linux, run by ipmasq.service at boot.
# Rules first, forwarding last. If rules are refused, this host does not forward.
PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
cd /etc/ipmasq || exit 1

"""
    + SAY
    + LOCK
    + UNLOCK
    + shut.SHELL
    + fence.SHELL
    + """
# Not somebody's copy, such as default-old.json. A flowtable has default.offload.links.
ours() {
    instance=${1##*/}
    instance=${instance%.*}
    instance=${instance%.offload}
    case "$instance" in [!a-z]* | *[!a-z0-9_]* | ???????????*) return 1 ;; esac
    [ -e "$1" ]
}

mode=$1
closed() {
    say "instance $1: $2; forwarding is off"
    shut all
    [ "$mode" != reopen ] && [ -e /run/ipmasq/.shut ] || hold_again
    rm -f /run/ipmasq/.shut
    echo 0 > /proc/sys/net/ipv4/ip_forward
    # The kernel passes a value on to the links only if it is another one.
    for each in /proc/sys/net/ipv4/conf/*/forwarding; do
        echo 0 > "$each"
    done
    [ ! -e /proc/sys/net/ipv6/conf/all/forwarding ] || echo 0 > /proc/sys/net/ipv6/conf/all/forwarding
    exit 1
}
hold_again() {
    [ ! -e /run/ipmasq/.unheld ] || { rm -f /run/ipmasq/.unheld && systemctl --no-block start ipmasq-fence.service; }
}

if [ "$1" = hold ]; then
    hold
fi
if [ "$1" = held ]; then
    held
    exit 0
fi

# Another service is about to flush and load rules. It runs this with "reopen" once that is done, unless it fails.
# Other runs in the meantime (docker's drop-in) must not open the gateway too early, nor must a late one.
if [ "$1" = close ]; then
    mkdir -p -m 700 /run/ipmasq
    echo $$ > /run/ipmasq/.shut
    shut
    if [ -d /run/systemd/system ] && saved_by_others && systemctl --quiet is-active ipmasq-fence.service; then
        : > /run/ipmasq/.unheld
        systemctl stop ipmasq-fence.service
    fi
    (sleep 5 && [ "$(cat /run/ipmasq/.shut)" = $$ ] && exec sh ./boot reopen) < /dev/null > /dev/null 2>&1 &
    exit 0
fi

# Rules that other programs saved may refer to our sets, and are refused as a whole without them.
if [ "$1" = sets ]; then
    for sets in ./*.ipset; do
        ! ours "$sets" || ipset -exist restore < "$sets"
    done
    exit 0
fi

# A link has appeared. Do not interfere with the loader, or with a change that is ending.
if [ "$1" = links ]; then
    lock || exit 1
    for links in ./*.links; do
        ! ours "$links" || sh "$links"
    done
    exit 0
fi

# A change that is not decided yet would be kept or rolled back after this has loaded what was kept last. One that waits
# is rolled back. One that is being kept has a few seconds to end; the process that keeps it may have died.
anew="a service reloaded the rules while the change was pending"
end_changes() {
    for armed in /run/ipmasq/*/armed; do
        [ ! -e "$armed" ] || { mv "$armed" "${armed%armed}reverting" && sh "${armed%armed}restore" "$anew"; }
    done
    for change in /run/ipmasq/*/; do
        waited=0
        while is_being_kept "$change" && [ $waited -lt 10 ]; do
            sleep 1
            waited=$((waited + 1))
        done
        if is_being_kept "$change" && ! sh "${change}keep" && is_being_kept "$change"; then
            mv "${change}confirming" "${change}reverting" && sh "${change}restore" "it could not be written to disk"
        fi
    done
}
is_being_kept() {
    [ -e "${1}confirming" ] && [ -e "${1}undecided" ]
}
is_any_undecided() {
    for change in /run/ipmasq/*/; do
        [ ! -e "${change}armed" ] && ! is_being_kept "$change" || return 0
    done
    return 1
}

# One at a time, and never while files are being moved. Only with the lock is it certain that no change has begun.
end_changes
lock || closed all "its lock could not be acquired"
rounds=0
while is_any_undecided; do
    [ $rounds -lt 10 ] || closed all "a change does not end"
    rounds=$((rounds + 1))
    unlock
    end_changes
    lock || closed all "its lock could not be acquired"
done

# Finish a change that was being kept during a power failure.
for commit in ./*.commit; do
    [ ! -e "$commit" ] || sh "$commit" || closed "$commit" "a change could not be finished"
done
# Remove the files of undecided changes, unless a change in progress needs them.
set -- "$1" /run/ipmasq/*/
[ -e "$2" ] || rm -rf ./*.ipmasq-new
for old in ./*.ipmasq-old; do
    [ ! -e "$old" ] || { [ -e "${old%.*}" ] && rm -f "$old"; } || mv "$old" "${old%.*}"
done

for file in ./*.json ./*.load ./*.sysctl; do
    ! ours "$file" || [ -s "./$instance.sums" ] || closed "$instance" "$instance.sums is missing or empty"
done

for sums in ./*.sums; do
    ours "$sums" || continue
    last="" missing=-1 damaged=""
    while IFS= read -r line || [ -n "$line" ]; do
        last=$line missing=$((missing + 1))
    done < "$sums"
    [ "$last" = "# complete" ] || closed "$instance" "$instance.sums is damaged"
    # sha256sum skips malformed lines, so count the good ones.
    for word in $(sed '$d' "$sums" | sha256sum -c 2> /dev/null); do
        case "$word" in
        OK) missing=$((missing - 1)) ;;
        FAILED) damaged="$damaged$file " ;;
        *) file=${word%:} ;;
        esac
    done
    [ $missing = 0 ] || closed "$instance" "damaged: ${damaged:-$instance.sums}"
    sh -e "./$instance.load" || closed "$instance" "its rules were not loaded"
done

# An earlier loader of this boot has started it.
is_late_waiting() {
    systemctl --quiet is-active ipmasq-late.service || systemctl list-jobs | grep -q ' ipmasq-late.service '
}

# Docker protects its networks only if it turns forwarding on itself; its drop-in runs this again with "late".
later=no
if [ "$1" != late ] && [ ! -e /run/docker.pid ] && [ -e /etc/systemd/system/docker.service.d/zz-ipmasq.conf ] &&
    [ "$(readlink /etc/systemd/system/docker.service)" != /dev/null ] &&
    [ "$(readlink /etc/systemd/system/docker.socket)" != /dev/null ] &&
    [ -e /etc/systemd/system/multi-user.target.wants/docker.service ]; then
    later=yes
    echo "ipmasq: forwarding is turned on after docker.service" >&2
    # Its drop-in does nothing if docker is not started at all: a failed dependency, or a condition. This waits for the
    # end of its job, whatever that is.
    systemctl reset-failed ipmasq-late.service 2> /dev/null
    systemd-run --quiet --no-block --unit=ipmasq-late --description="NAT gateway: turns on forwarding after docker" \\
        --property=After=docker.service /bin/sh /etc/ipmasq/boot late 2> /dev/null || is_late_waiting ||
        echo "ipmasq: if docker is not started, forwarding stays off: systemd-run has failed" >&2
fi

# The kernel sets every link when a global switch is written, so single links come after those of all instances.
for single in no yes; do
    for switches in ./*.sysctl; do
        ours "$switches" || continue
        while read -r key value; do
            case "$key" in
            net/ipv4/ip_forward | net/ipv[46]/conf/all/forwarding) is_single=no is_global=yes ;;
            net/ipv[46]/conf/*/forwarding) is_single=yes is_global=no ;;
            *) is_single=no is_global=no ;;
            esac
            [ $is_single = $single ] && [ "$later $is_global" != "yes yes" ] || continue
            # An interface that appears later gets the default values, which are set here, too.
            [ ! -e "/proc/sys/$key" ] || echo "$value" > "/proc/sys/$key" || closed "$switches" "$key was not set"
        done < "$switches"
    done
done
if [ "$1" = reopen ] || [ ! -e /run/ipmasq/.shut ]; then
    rm -f /run/ipmasq/.shut
    unshut
    hold_again
fi
"""
)


def salvaged(host: Sight, instance: str, parts: Parts) -> t.Optional[State]:
    """What the other files of an instance reveal if its state is damaged or lost; None if there are none."""
    if not any(host.exists(stem(instance) + ending) for ending in endings(parts)):
        return None
    return State(instance, SALVAGED, parts_of(*((part, part.salvage(instance, host)) for part in parts)))


def instances(host: Sight) -> t.List[str]:
    """By their state files. Other files there, such as somebody's copies, are not ours."""
    names = (posixpath.basename(path)[: -len(".json")] for path in host.find(FOLDER + "/*.json"))
    return [name for name in names if is_instance(name)]


def remaining(host: Sight) -> t.List[str]:
    """Instances of which there is any file, also those that have lost their state."""
    found = {posixpath.basename(path)[: -len(end)] for end in ENDINGS for path in host.find(FOLDER + "/*" + end)}
    return sorted(name for name in found if is_instance(name))


def read_state(host: Sight, instance: str) -> t.Optional[State]:
    """The state of an instance; None if it has none. A damaged file is an error."""
    return read(stem(instance) + ".json", instance, host)


def is_altered(host: Sight, instance: str) -> bool:
    """Whether a state is not the one that was written. Only the loader looks at that before anything else."""
    path = stem(instance)
    text, sums = (host.read(path + ending) for ending in (".json", ".sums"))
    own = sha256((text or "").encode("utf-8", "surrogatepass")).hexdigest()
    return text is not None and "{0}  ./{1}.json".format(own, instance) not in (sums or "").splitlines()


@contextlib.contextmanager
def reading(instance: str, host: Sight) -> t.Iterator[None]:
    """Much of a state is not looked at before it is used. Raises Damaged if an error comes from an altered one."""
    try:
        yield
    except MISREAD as error:
        if not is_altered(host, instance):
            raise
        raise damaged(stem(instance) + ".json", instance, error) from None


def signed(new: State, old: t.Optional[State], host: Sight) -> State:
    """Record who applied a change, and which version of the collection. A run without changes keeps the old record."""
    if old:
        collection = old.collection or new.collection
        kept = replace(new, applied=old.applied, collection=collection)
        if to_raw(kept) == to_raw(replace(old, collection=collection)):
            return kept
    return replace(new, applied=origin.origin(host))


def files_of(state: State, parts: Parts, scene: Scene, host: Sight) -> t.Dict[str, t.Tuple[str, int]]:
    """Every file that this state needs: path to text and mode."""
    path = stem(state.instance)
    held = [(part, part.of(state)) for part in parts]
    lines = [line for part, value in held for line in part.boot_lines(value, scene)] or ["true"]
    texts = {".json": to_text(state), ".load": "".join(line + "\n" for line in lines)}
    declared = DECLARATION.of(state)
    if declared.interfaces:
        # What comes from a link that the rules close has to stay out while there are no rules.
        texts[".shut"] = shut.text(declared.interfaces + declared.ways_out)
    for part, value in held:
        texts.update(part.boot(value, scene))
    name = posixpath.basename(path)
    # Marks the end for the loader, so that a truncated file (a full or bad disk) does not count as a shorter one.
    sums = {"./" + name + ending: sha256(text.encode()).hexdigest() for ending, text in texts.items()}
    texts[".sums"] = "".join("{0}  {1}\n".format(sums[file], file) for file in sorted(sums)) + "# complete\n"
    files = {path + ending: (text, 0o600) for ending, text in texts.items()}
    files[LOADER] = (LOADER_TEXT, 0o700)
    for part, value in held:
        files.update(part.files(value, scene))
    linked = any(ending.endswith(".links") for ending in texts)
    files.update(service.files_of(service.init_of(host), linked, ".fence.nft" in texts, host))
    return files


def endings(parts: Parts) -> t.List[str]:
    return [*ENDINGS, *(ending for part in parts for ending in part.endings)]


def stale_files(scene: Scene, parts: Parts, wanted: t.Mapping[str, object], host: Sight) -> t.List[str]:
    """Files of this instance that it no longer needs, and the common ones once no instance remains."""
    seen = [(other, replace(scene, instance=other.instance)) for other in scene.others]
    shared = {path for other, theirs in seen for part in parts for path in part.files(part.of(other), theirs)}
    paths = [stem(scene.instance) + ending for ending in endings(parts)]
    paths += [path for part in parts for path in part.places(scene.instance) if path not in shared]
    others = [name for name in remaining(host) if name != scene.instance]
    if not wanted and not others:
        paths += [LOADER, *service.ALL]
    elif wanted:
        paths += service.OLD
    if not any(host.find(stem(name) + ".*links") for name in others):
        paths += service.ALL_LINKS
    if not any(host.exists(stem(name) + ".fence.nft") for name in others):
        paths += service.ALL_FENCE
    return [path for path in paths if path not in wanted and host.exists(path) and not drop_ins.is_fixed(path, host)]


def outdated(wanted: t.Mapping[str, t.Tuple[str, int]], host: Sight) -> t.List[str]:
    """Files that are missing, differ, or are readable by more users than they should be."""
    return [path for path, (text, mode) in wanted.items() if host.read(path) != text or host.mode(path) != mode]
