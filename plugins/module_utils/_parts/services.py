# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The services of the LANs: one dnsmasq of our own for each instance.

A change writes its configuration below ``/run``, where the unit reads it, and reloads it; leases are in a file and
outlive that. Once the change is kept, ``/etc/ipmasq`` has the configuration for the next boot, when the loader starts
the unit.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, replace

from .._base.errors import GatewayError, MissingProgram, first_lines, printable
from .._facts.holders import ANY, holders
from .._init.serving import PATHS, serving
from .._services.discover import servers
from .._services.dnsmasq import HOST, LEASES, RUN, as_options, beside, config, reread, started_with
from . import door
from .part import NOTHING, Delta, Part, Shell

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host, Sight
    from .._init.service import Init
    from .._init.serving import Serving
    from .._resolve.resolved import Resolved
    from .part import Scene

ENDING = ".dnsmasq"
#: The earlier configuration, in the folder of a change.
BEFORE = "services"


@dataclass(frozen=True)
class Services:
    text: str = ""  # for dnsmasq; empty: no LAN has services
    dhcp: t.Tuple[str, ...] = ()  # links on which it gives out addresses: names and patterns
    dns: t.Tuple[str, ...] = ()  # and those on which it answers questions


@dataclass(frozen=True)
class Doing:
    """What a change does, and where nobody else may do the same: links with the gateway's addresses."""

    text: str
    dhcp: t.Tuple[t.Tuple[str, t.Tuple[str, ...]], ...] = ()  # of links on which it is new
    dns: t.Tuple[str, ...] = ()  # addresses
    reload: bool = False  # instead of a restart


def conf_of(instance: str) -> str:
    return "{0}/{1}.conf".format(RUN, instance)


def check_servable(gateway: Resolved, init: t.Optional[Init], sight: Sight) -> None:
    """Raises GatewayError if nothing here can serve a LAN."""
    if not any(lan.services for lan in gateway.lans):
        return
    if not sight.which("dnsmasq"):
        raise MissingProgram(
            "dnsmasq", "dnsmasq is not installed, and LANs have dhcp, ra or dns; install the package dnsmasq-base"
        )
    if init is None or (init.name == "systemd" and not sight.exists("/run/systemd/system")):
        raise GatewayError(
            "lans: no service manager runs on this host, so dhcp, ra and dns are not possible; leave them out, and "
            "serve the LANs by other means"
        )


def runs(instance: str, sight: Sight) -> bool:
    """Whether the process that the unit has started lives."""
    pid = (sight.read("{0}/{1}.pid".format(RUN, instance)) or "").strip()
    return pid.isdigit() and conf_of(instance) in _cmdline(pid, sight)


def _cmdline(pid: str, sight: Sight) -> str:
    """Empty if there is no such process."""
    return sight.read("/proc/{0}/cmdline".format(pid)) or ""


class _ServicesPart(Part[Services]):
    """After the rules, which keep it from WANs, and after the switches: nothing else depends on it."""

    endings = (ENDING,)
    opens = True

    def places(self, instance: str) -> t.Tuple[str, ...]:
        return PATHS

    def want(
        self, gateway: Resolved, was: Services, scene: Scene, sight: Sight
    ) -> t.Tuple[Services, t.Tuple[str, ...]]:
        known = any(line.startswith("dnsmasq:") for line in (sight.read("/etc/passwd") or "").splitlines())
        dhcp = tuple(name for lan in gateway.lans if lan.services.dhcp for name in lan.interfaces)
        dns = tuple(name for lan in gateway.lans if lan.services.dns for name in lan.interfaces)
        return Services(config(gateway, "dnsmasq" if known else "nobody"), dhcp, dns), ()

    def salvage(self, instance: str, sight: Sight) -> Services:
        return Services(sight.read("/etc/ipmasq/{0}{1}".format(instance, ENDING)) or "")

    def plan(self, was: Services, want: Services, scene: Scene, sight: Sight) -> Delta:
        live = sight.read(conf_of(scene.instance)) or ""
        if live != want.text:
            line = (
                "+ services: dnsmasq {0}" if not live else "~ services: dnsmasq {0}" if want.text else "- services: {0}"
            )
            new = [name for name in want.dhcp if name not in was.dhcp or not was.text]
            told: t.Tuple[str, ...] = (line.format(_links(want.text) or "dnsmasq"),)
            drifted = bool(live) and was == want
            doing = replace(_doing(want, new, scene), reload=_reloads(scene, sight))
            if doing.reload and started_with(live) == started_with(want.text):
                told = _reserved(live, want.text)
            return Delta(told, doing, cuts=True, drifted=drifted)
        if want.text and not runs(scene.instance, sight):
            return Delta(("~ services: dnsmasq runs again",), _doing(want, (), scene), drifted=True)
        differing = _differing(want, scene, sight)
        if differing:
            lines = tuple("~ services: {0}".format(path) for path in differing)
            return Delta(lines, replace(_doing(want, (), scene), reload=_reloads(scene, sight)), drifted=True)
        return NOTHING

    def check(self, delta: Delta, sight: Sight) -> None:
        if not delta.do or not delta.do.text:
            return
        tried = sight.ask(["dnsmasq", "--test", "--conf-file=-"], stdin=as_options(delta.do.text))
        if tried.rc != 0:
            raise GatewayError("lans: dnsmasq refuses its configuration: " + _refused(tried.err, delta.do.text))
        problems = _held(delta.do, sight) + _served_by_others(delta.do, sight)
        if problems:
            raise GatewayError(*problems)

    def apply(self, delta: Delta, want: Services, scene: Scene, host: Host) -> t.Tuple[str, ...]:
        if delta.do is None:
            return ()
        instance, by = scene.instance, serving(scene.init)
        if not want.text:
            # First, as whether anything was done is seen by it.
            host.remove(conf_of(instance))
            if host.run(by.stop.format(instance).split()).rc != 0 and runs(instance, host):
                raise GatewayError("dnsmasq for LANs does not stop ({0})".format(by.status.format(instance)))
            return ()
        host.write(conf_of(instance), want.text, 0o600)
        if not by.reread or not host.exists(by.path):
            host.write(by.pending, by.text, by.mode)
        if by.reread and not host.exists(by.path):
            host.run(by.reread.split())
        done = host.run((by.reload if delta.do.reload else by.restart).format(instance).split())
        if done.rc != 0:
            said = _why(host.run(by.log.format(instance).split()).out)
            said += _in_use(host) if "in use" in said else ""
            told = "dnsmasq for LANs does not start: {0} ({1})"
            raise GatewayError(told.format(said, by.status.format(instance)))
        return ()

    def restore(self, delta: Delta, was: Services, want: Services, scene: Scene, sight: Sight) -> Shell:
        if delta.do is None:
            return Shell()
        path, by = conf_of(scene.instance), serving(scene.init)
        before = sight.read(path)
        if before:
            # One that is about to start, because the change has broken it, cannot be reloaded.
            again = "{{{{ {0} || {1}; }}}}".format(by.reload, by.restart) if delta.do.reload else by.restart
            lines = ["cp {0} {1} && chmod 600 {1}".format(BEFORE, path), again.format(scene.instance)]
            return Shell(tuple(lines), {BEFORE: before})
        lines = [by.stopped.format(scene.instance), "rm -f {0}".format(path)]
        if by.reread and not sight.exists(by.path):
            lines.append(_unpend(by))
        return Shell(tuple(lines))

    def warnings(self, want: Services, scene: Scene, sight: Sight) -> t.Tuple[str, ...]:
        """Our rules cannot accept what firewalld rejects in its own table."""
        if not want.text or not door.runs(sight):
            return ()
        needed = {
            name: [word for word in ("dhcp", "dns") if name in getattr(want, word)] for name in want.dhcp + want.dns
        }
        return tuple(said for name, words in needed.items() for said in _kept_out(name, words, sight))

    def settle(self, was: Services, want: Services, scene: Scene) -> t.Tuple[str, ...]:
        by = serving(scene.init)
        if want.text and by.reread:
            # An earlier version's unit may have started it, before this one's was in its place.
            started = "[ -e {0}/{1}.started ] || {2}".format(RUN, scene.instance, by.restart.format(scene.instance))
            return (_unpend(by), started)
        if want.text:
            return ()
        if not was.text:
            return ()
        return (
            "rm -f {0}/{1}.leases {2}/{1}.pid {2}/{1}.log {2}/{1}.hosts {2}/{1}.names {2}/{1}.started".format(
                LEASES, scene.instance, RUN
            ),
            "{{ ls {0}/*.conf > /dev/null 2>&1 || rm -rf {0}; }}".format(RUN),
            "{{ rmdir {0} 2> /dev/null || true; }}".format(LEASES),
        )

    def boot(self, want: Services, scene: Scene) -> t.Mapping[str, str]:
        return {ENDING: want.text} if want.text else {}

    def boot_lines(self, want: Services, scene: Scene) -> t.Tuple[str, ...]:
        """Without it, the host is still a gateway."""
        return (serving(scene.init).boot.format(scene.instance),) if want.text else ()

    def files(self, want: Services, scene: Scene) -> t.Mapping[str, t.Tuple[str, int]]:
        by = serving(scene.init)
        return {by.path: (by.text, by.mode)} if want.text else {}

    def drift(self, known: Services, scene: Scene, sight: Sight) -> t.List[str]:
        path = conf_of(scene.instance)
        found = []
        if (sight.read(path) or "") != known.text:
            found.append("~ services: {0} is not what was applied".format(path))
        else:
            differing = _differing(known, scene, sight)
            found += ["~ services: {0} is not what was applied".format(each) for each in differing]
        if known.text and not runs(scene.instance, sight):
            status = serving(scene.init).status.format(scene.instance)
            found.append("- services: dnsmasq does not run ({0})".format(status))
        return found


def _reloads(scene: Scene, sight: Sight) -> bool:
    """Whether there is somebody to take a reload, by our unit: another version's or a user's may do less."""
    return _is_ours(serving(scene.init), sight) and runs(scene.instance, sight)


def _is_ours(by: Serving, sight: Sight) -> bool:
    """The unit; or the script that has started what runs, whose loop starts dnsmasq again."""
    return (sight.read(by.path if by.reread else by.pending) or by.text) == by.text


def _differing(want: Services, scene: Scene, sight: Sight) -> t.List[str]:
    """What dnsmasq and its script read beside its configuration, if that is not what was applied.

    And whatever others than root can write: dnsmasq reads it as root, before it becomes a user of its own.
    """
    if not want.text:
        return []
    by, path = serving(scene.init), conf_of(scene.instance)
    texts = {"{0}/{1}{2}".format(RUN, scene.instance, end): text for end, text in beside(want.text).items()}
    texts.update({} if by.reread else {by.pending: by.text})
    if by.reread and not _is_ours(by, sight):
        # It is replaced by this run, and its dnsmasq started again then (settle).
        texts = {each: text for each, text in texts.items() if not each.endswith(".started")}
    found = [each for each, text in texts.items() if (sight.read(each) or "") != text]
    return found + [each for each in (path, *texts) if each not in found and _open(each, sight)]


def _open(path: str, sight: Sight) -> bool:
    return sight.exists(path) and bool(sight.mode(path) & 0o022)


def _kept_out(name: str, words: t.Sequence[str], sight: Sight) -> t.List[str]:
    """What the default zone lacks, for a link that is assigned to no zone; those of others have our policy."""
    if sight.ask([door.CMD, "--get-zone-of-interface=" + name.replace("*", "+")]).out.strip():
        return []
    zone = sight.ask([door.CMD, "--get-default-zone"]).out.strip()
    told = sight.ask([door.CMD, "--info-zone=" + zone]).out
    there = re.search(r"^ *services: (.*)$", told, re.M)
    missing = [word for word in words if word not in (there.group(1).split() if there else ())]
    if not missing or re.search(r"^ *target: ACCEPT$", told, re.M):
        return []
    said = "firewalld: {0} is assigned to no zone, and the default zone, {1}, does not let in {2}: {3}"
    option = "firewall-cmd --permanent --zone=ZONE --add-interface={0} && firewall-cmd --reload".format(name)
    return [said.format(name, zone, " and ".join(missing), "assign it to one, and run again ({0})".format(option))]


def _reserved(live: str, text: str) -> t.Tuple[str, ...]:
    """What a reload brings, for people."""
    before, after = reread(live), reread(text)
    return (
        *(
            "- services: reserved {0}".format(line[len(HOST) :])
            for line in before
            if line not in after and HOST in line
        ),
        *(
            "+ services: reserved {0}".format(line[len(HOST) :])
            for line in after
            if line not in before and HOST in line
        ),
    ) or ("~ services: reservations",)


def _unpend(by: Serving) -> str:
    """A unit is no longer pending. If there is none, this starts nothing."""
    return "{{ [ ! -e {0} ] || {{ rm -f {0} && {1}; }}; }}".format(by.pending, by.reread)


def _doing(want: Services, new: t.Collection[str], scene: Scene) -> Doing:
    if not scene.facts:
        return Doing(want.text)
    dhcp = {link.name: link.addresses for name in new for link in scene.facts.meant_by(name)}
    dns = [address for name in want.dns for link in scene.facts.meant_by(name) for address in link.addresses]
    return Doing(want.text, tuple(sorted(dhcp.items())), tuple(dns))


def _held(doing: Doing, sight: Sight) -> t.Tuple[str, ...]:
    """Who keeps dnsmasq from answering questions."""
    said = "lans: port 53 of {0} is held by {1}; let it listen at other addresses only, stop it, or set dns to false"
    return tuple(
        said.format("every address" if each.address in ANY else each.address, printable(str(each)))
        for each in (holders(53, doing.dns, sight) if doing.dns else ())
        if not ours(each.pid, sight)
    )


def ours(pid: str, sight: Sight) -> bool:
    """Whether this process is the dnsmasq of an instance."""
    return bool(pid) and RUN + "/" in _cmdline(pid, sight)


def _served_by_others(doing: Doing, sight: Sight) -> t.Tuple[str, ...]:
    """Two servers give out the same addresses, and clients take the answer that comes first."""
    host = sight.acting()
    said = "lans: another DHCP server answers on {0} ({1}); turn it off there, or leave dhcp out"
    found = servers(dict(doing.dhcp), host) if host and doing.dhcp else {}
    return tuple(said.format(link, ", ".join(addresses)) for link, addresses in sorted(found.items()))


def _in_use(sight: Sight) -> str:
    """Who may have kept dnsmasq from its port for DHCP.

    Not asked before: a DHCP server that is bound to its own link (libvirt's) holds the same port, and does no harm.
    """
    there = [str(each) for each in holders(67, ANY[:1], sight) if not ours(each.pid, sight)]
    return "; port 67 is held by {0}".format(printable(", ".join(there))) if there else ""


def _refused(said: str, text: str) -> str:
    """What dnsmasq says about a file that nobody has, with the line that it means."""
    place = re.search(r"at line ([0-9]+) of stdin", said)
    lines = dict(enumerate(as_options(text).splitlines(), 1))
    line = lines.get(int(place.group(1)), "") if place else ""
    return printable(": ".join(filter(None, (first_lines(said), line))))


def _links(text: str) -> str:
    """The links that a configuration names, for people."""
    named = [line.partition("=")[2] for line in text.splitlines() if line.startswith("interface=")]
    return "on " + ", ".join(named) if named else ""


def _why(said: str) -> str:
    """dnsmasq's last words."""
    words = [line.partition("dnsmasq: ")[2].strip() for line in said.splitlines() if line.startswith("dnsmasq: ")]
    return printable(words[-1]) if words else "no message"


SERVICES = _ServicesPart("services", Services())
