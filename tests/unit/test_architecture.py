# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules of the code base that a machine can check: which file imports which, which may touch the host, and more."""

from __future__ import annotations

import ast
import contextlib
import importlib
import os
import pathlib
import re
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLUGINS = ROOT / "plugins"
UTILS = PLUGINS / "module_utils"
HEADER = (
    "# Copyright (c) 2026, ipmasq.linux contributors\n"
    "# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)\n"
    "# SPDX-License-" + "Identifier: GPL-3.0-or-later\n"  # in one piece, it would be a header of this line
)
MODULES = sorted(path.stem for path in (PLUGINS / "modules").glob("*.py"))

#: What each file of module_utils may import at run time, beside the standard library. Type hints may name more.
MAY_IMPORT = {
    "_once": set(),
    "_resolve/resolved": {
        "forward", "gateway", "helper", "input", "multicast", "nat", "outbound", "sides", "timers", "wording",
    },
    "_resolve/stored": {
        "_codec", "forward", "helper", "items", "multicast", "nat", "neighbour", "outbound", "resolved", "traffic",
    },
    "_errors": set(),
    "_rules": set(),
    "_words": set(),
    "_part": {"_errors", "_plan"},
    "_plan": {"_once"},
    "_codec": set(),
    "_values": {"_errors", "_rules"},
    "_prefix": set(),
    "_conflicts": {"_helpers", "_once", "_rules", "_values"},
    "_intent/__init__": set(),
    "_intent/forward": {"_rules", "_values", "timers", "traffic", "wording"},
    "_intent/forwarding": {"_errors", "_values"},
    "_intent/gateway": {"forward", "helper", "input", "multicast", "nat", "outbound", "sides", "timers", "wording"},
    "_intent/helper": {"wording"},
    "_intent/input": {"_rules", "_values", "traffic"},
    "_intent/items": {"_errors", "_rules", "_values", "_words", "forward", "traffic", "wording"},
    "_intent/multicast": {"_rules", "_values", "traffic", "wording"},
    "_intent/nat": {"_rules", "_values", "timers", "traffic", "wording"},
    "_intent/neighbour": set(),
    "_intent/outbound": {"_values", "traffic"},
    "_intent/read": {
        "_conflicts", "_errors", "_values", "_words", "forward", "gateway", "helper", "input", "multicast", "nat",
        "outbound", "sides", "timers",
    },
    "_intent/sides": {"_values", "wording"},
    "_intent/timers": {"wording"},
    "_intent/traffic": {"_values", "_words", "wording"},
    "_intent/wording": set(),
    "_argspec": {"_words"},
    "_facts": {"_errors", "_rules"},
    "_choice": {"_conflicts", "_facts", "_rules", "_values", "sides"},
    "_remarks": {"_choice", "_facts", "_rules", "_values"},
    "_resolve/__init__": set(),
    "_resolve/added": {"_values"},
    "_resolve/check_forwards": {"_conflicts", "_rules", "_values", "check_nat", "inside"},
    "_resolve/check_nat": {"_rules", "_values", "added", "inside", "missed", "nat"},
    "_resolve/inside": {"_once", "_rules", "_values"},
    "_resolve/missed": {"_rules"},
    "_resolve/names": {"_errors", "_values", "nat", "traffic"},
    "_resolve/resolve": {
        "_around", "_choice", "_conflicts", "_errors", "_pairs", "_remarks", "_rules", "_values", "added",
        "check_forwards", "check_nat", "inside", "missed", "names", "resolved",
    },
    "_around": {"_facts", "_rules", "_values", "gateway", "resolved"},
    "_helpers": {"_errors"},
    "_modules": {"_helpers", "_part"},
    "_loaded": {"_errors", "_part", "_plan", "iptables", "nftables", "select", "steps"},
    "_switches": {"_conntrack", "_errors", "_facts", "_part", "_sysctl", "inside"},
    "_rfc": {"_prefix"},
    "_netlink": set(),
    "_conntrack": {"_netlink", "_sockets", "_words", "flow"},
    "_flows/__init__": set(),
    "_flows/flow": {"_netlink"},
    "_flows/index": {"_rules"},
    "_flows/judge": {"_rules", "_values", "index"},
    "_flows/judges": {"_rules", "_values", "flow", "judge"},
    "_groups": {"_rules", "_values", "_words", "flow", "index", "judge"},
    "_forgetting": {
        "_codec", "_compile", "_conntrack", "_errors", "_facts", "_groups", "_resolve", "_rollback", "_rules",
        "_values", "gateway", "items", "judge", "judges", "resolved", "sides", "stored",
    },
    "_controller": {"_errors"},
    "_origin": {"_errors"},
    "_chains": {"_rules"},
    "_pairs": {"_conflicts", "_facts", "_rules", "_values"},
    "_claims": {"_conflicts", "_once", "_rules", "_values", "inside"},
    "_compile_nat": {"_chains", "_claims", "_conflicts", "_prefix", "_rules", "_values", "_words", "added", "inside"},
    "_compile_errors": {"_around", "_chains", "_claims", "_conflicts", "_rules"},
    "_compile_around": {
        "_around", "_chains", "_compile_errors", "_compile_nat", "_conflicts", "_rules", "_values", "inside",
    },
    "_compile_input": {"_chains", "_compile_nat", "_facts", "_rules"},
    "_compile_follow": {"_chains", "_compile_nat", "_rules", "_values", "inside"},
    "_compile": {
        "_around", "_chains", "_claims", "_compile_around", "_compile_errors", "_compile_follow", "_compile_input",
        "_compile_late", "_compile_nat", "_helpers", "_rules", "_values", "inside", "items",
    },
    "_compile_late": {"_chains", "_compile_nat", "_rules", "inside"},
    "_addresses": {"_errors", "_facts", "_part", "_values", "added"},
    "_flowtable": {"_facts", "_part", "_rules", "_values", "nftables"},
    "_features": {"_errors"},
    "_backend/__init__": set(),
    "_backend/base": set(),
    "_backend/steps": {"_errors"},
    "_backend/foreign": set(),
    "_backend/nftables/__init__": set(),
    "_backend/blocks": set(),
    "_backend/nftables/expressions": {"_plan"},
    "_backend/nftables/text": {"expressions"},
    "_backend/nftables/lookup": {"_rules", "blocks"},
    "_backend/nftables/match": {"_rules", "blocks", "expressions"},
    "_backend/nftables/flowtable": {"_errors", "expressions"},
    "_backend/nftables/action": {"_values", "expressions", "flowtable"},
    "_backend/nftables/render": {"_plan", "_rules", "action", "expressions", "flowtable", "lookup", "match"},
    "_backend/nftables/listing": {"_plan", "_rules", "expressions"},
    "_backend/nftables/script": {"expressions", "flowtable", "steps", "text"},
    "_backend/nftables/fence": {"render", "text"},
    "_backend/nftables/backend": {"_errors", "base", "expressions", "listing", "render", "script", "steps", "text"},
    "_backend/iptables/__init__": set(),
    "_backend/iptables/quoting": set(),
    "_backend/iptables/ipset": {"_errors", "_plan", "_rules", "steps"},
    "_backend/iptables/lookup": {"_rules", "blocks"},
    "_backend/iptables/names": {"_plan", "_rules", "quoting"},
    "_backend/iptables/match": {"_rules", "_words"},
    "_backend/iptables/target": {"match"},
    "_backend/iptables/rule": {"_rules", "match", "names", "quoting", "target"},
    "_backend/iptables/render": {"_plan", "_rules", "ipset", "iptables", "lookup", "names", "rule"},
    "_backend/iptables/listing": {"_plan", "ipset", "names", "quoting"},
    "_backend/iptables/base_chains": {"listing", "names"},
    "_backend/iptables/script": {
        "_errors", "_plan", "_rules", "ipset", "iptables", "match", "names", "quoting", "steps",
    },
    "_backend/iptables/backend": {
        "_errors", "base", "ipset", "iptables", "listing", "names", "render", "script", "steps",
    },
    "_backend/select": {"_errors", "backend"},
    "_journal": set(),
    "_host": {"_errors", "_sockets"},
    "_sockets": set(),
    "_sysctl": {"_errors"},
    "_firewalld": {"_errors", "_part", "_rules", "inside"},
    "_units": set(),
    "_init_scripts": set(),
    "_drop_ins": {"_units"},
    "_service": {"_drop_ins", "_init_scripts", "_units"},
    "_shut": set(),
    "_compile_fence": {
        "_around", "_chains", "_compile", "_compile_around", "_compile_follow", "_compile_input", "_compile_nat",
        "_conflicts", "_rules",
    },
    "_fence": {"_compile_fence", "_part", "fence"},
    "_lock": set(),
    "_declaration": {"_choice", "_part", "neighbour"},
    "_parts": {"_addresses", "_fence", "_firewalld", "_flowtable", "_loaded", "_modules", "_switches"},
    "_state": {"_codec", "_declaration", "_errors", "_firewalld", "_loaded", "_origin", "_part", "_parts"},
    "_persist": {"_declaration", "_fence", "_journal", "_lock", "_origin", "_part", "_service", "_shut", "_state"},
    "_rollback_scripts": {"_journal", "_lock"},
    "_rollback_timer": {"_errors"},
    "_rollback": {"_codec", "_errors", "_host", "_origin", "_rollback_scripts", "_rollback_timer"},
    "_confirm": {"_errors", "_host", "_rollback", "_values"},
    "_repeat": {"_controller", "_errors", "_host"},
    "_change": {"_facts", "_part", "_persist", "_plan", "_service", "_state"},
    "_telling": {"_declaration", "_rfc", "wording"},
    "_carrying": {
        "_change", "_errors", "_journal", "_origin", "_part", "_persist", "_proving", "_rollback", "_service", "_shut",
        "_telling",
    },
    "_connections": {"_addresses", "_carrying", "_conntrack", "_forgetting", "_groups", "_proving"},
    "_confirming": {"_errors", "_rollback"},
    "_earlier": {"_errors", "_host", "_loaded", "_part", "_persist", "_rollback", "_switches"},
    "_wanting": {
        "_choice", "_compile", "_controller", "_declaration", "_earlier", "_errors", "_facts", "_features",
        "_forgetting", "_loaded", "_part", "_plan", "_service", "_state", "foreign", "gateway", "inside", "neighbour",
        "resolve", "resolved", "select",
    },
    "_engine": {
        "_change", "_confirming", "_connections", "_declaration", "_earlier", "_errors", "_forgetting", "_parts",
        "_proving", "_telling", "_wanting",
    },
    "_items": {
        "_carrying", "_change", "_compile", "_confirming", "_connections", "_declaration", "_earlier", "_errors",
        "_facts", "_features", "_forgetting", "_loaded", "_part", "_parts", "_plan", "_service", "_state", "_switches",
        "_sysctl", "_telling", "_wanting", "foreign", "items", "names", "select",
    },
    "_removing": {
        "_addresses", "_change", "_confirming", "_connections", "_declaration", "_earlier", "_errors", "_facts",
        "_forgetting", "_host", "_loaded", "_part", "_parts", "_persist", "_plan", "_service", "_switches", "_sysctl",
        "_telling", "_values", "iptables", "select",
    },
    "_proving": {
        "_declaration", "_declared", "_errors", "_facts", "_origin", "_persist", "_rollback", "model", "prove",
    },
    "_declared": {"_resolve", "gateway", "items", "resolved", "stored"},
    "_proof/__init__": set(),
    "_proof/packets": set(),
    "_proof/model": {"_rules"},
    "_proof/oracle": {"_prefix", "_rules", "_values", "inside", "model"},
    "_proof/places": {"_rules", "model", "packets"},
    "_proof/leaving": {"_rules", "model", "oracle", "places"},
    "_proof/entering": {"_conflicts", "_rules", "_values", "inside", "model", "places"},
    "_proof/staying": {"model", "packets", "places"},
    "_proof/borders": {"_facts", "_rules", "_values", "model", "places"},
    "_proof/promises": {"borders", "entering", "leaving", "places", "staying"},
    "_proof/judge": {"model", "packets"},
    "_proof/ground": {"_rules", "_values", "model", "places"},
    "_proof/setting": {"_facts", "packets"},
    "_proof/flows": {"_netlink", "packets"},
    "_proof/loop": {"_errors", "flows", "packets", "setting", "trace"},
    "_proof/trace": {"_netlink", "packets", "setting"},
    "_proof/rules": set(),
    "_proof/counters": {"_rules"},
    "_proof/routing": {"_rules", "ground"},
    "_proof/watch": {"counters", "ground", "setting", "trace"},
    "_proof/blame": {"counters", "model", "routing", "rules"},
    "_proof/exchange": {"judge", "model"},
    "_proof/inquest": {"blame", "exchange", "judge", "model", "setting", "watch"},
    "_proof/prove": {"borders", "exchange", "ground", "inquest", "judge", "loop", "model", "oracle", "promises"},
    "_explain/__init__": set(),
    "_explain/question": {"_values"},
    "_explain/trip": {"_rules", "_values", "inside", "model", "places"},
    "_explain/aims": {"_conflicts", "_prefix", "_rules", "_values", "model", "oracle", "places"},
    "_explain/verdict": {"_conflicts", "_rules", "_values", "aims", "model", "oracle", "places", "trip"},
    "_explain/answer": {"_rules", "judge", "model", "packets", "trip"},
    "_explain/trial": {"_facts", "_proof", "answer", "judge", "loop", "model", "packets", "places", "trip", "watch"},
    "_explaining": {
        "_declaration", "_declared", "_errors", "_explain", "_facts", "_host", "_persist", "_proof", "_rollback",
        "_values", "trial", "trip", "verdict",
    },
    "_client/__init__": set(),
    "_client/stun": set(),
    "_client/dns": set(),
    "_client/wire": {"stun"},
    "_client/wanted": {"_errors", "_values"},
    "_client/talk": {"_client", "stun", "wire"},
    "_client/nat": {"stun", "talk", "wire"},
    "_client/path": {"stun", "talk"},
    "_client/promise": {"nat", "wanted"},
    "_client/probe": {"dns", "nat", "path", "promise", "stun", "talk", "wanted", "wire"},
    "_managers/__init__": set(),
    "_managers/manager": set(),
    "_managers/networkd": {"_errors", "manager"},
    "_managers/ifupdown": {"manager"},
    "_managers/network_manager": {"_errors", "manager"},
    "_managers/netplan": {"_errors", "manager", "networkd"},
    "_managers/dhcpcd": {"_errors", "manager"},
    "_managers/select": {"dhcpcd", "ifupdown", "netplan", "network_manager", "networkd"},
    "_lan_client/__init__": set(),
    "_lan_client/seen": {"_errors"},
    "_lan_client/choice": {"seen"},
    "_lan_client/routes": {"_errors", "_part", "choice", "manager", "seen"},
    "_lan_client/resolver": {"_part", "manager"},
    "_lan_client/state": {"_codec", "_errors", "_origin", "_part", "resolver", "routes"},
    "_lan_client/change": {
        "_confirming", "_errors", "_host", "_journal", "_origin", "_part", "_rollback", "choice", "manager", "resolver",
        "routes", "seen", "select", "state",
    },
    "_probe": {
        "_declaration", "_declared", "_errors", "_facts", "_host", "_info", "_persist", "_proving", "_rollback",
        "_values", "blame", "model", "prove",
    },
    "_info": {
        "_change", "_conntrack", "_declaration", "_declared", "_errors", "_facts", "_fence", "_forgetting", "_host",
        "_loaded", "_part", "_parts", "_persist", "_plan", "_rollback", "_service", "_shut", "_state", "_switches",
        "_sysctl", "_values", "foreign", "select",
    },
}  # fmt: skip
#: Standard library that does I/O: only the seam may have it.
OUTSIDE = {
    "os", "subprocess", "socket", "tempfile", "glob", "shutil", "pathlib", "io", "fcntl", "ctypes", "urllib", "syslog"
}  # fmt: skip
#: The files that touch the outside: the seam and its sockets, and two that need packets: the loop of a proof, and
#: nat_probe.
IO = {"_host", "_sockets", "_proof/loop", "_client/wire"}
MODULE_IMPORTS = {
    "_argspec", "_confirm", "_confirming", "_engine", "_explaining", "_host", "_info", "_items", "_probe", "_removing",
    "_repeat", "change", "forwarding", "items", "probe", "read",
}  # fmt: skip

UTIL_FILES = {str(path.relative_to(UTILS))[:-3]: path for path in sorted(UTILS.rglob("*.py"))}
#: Code that runs on managed hosts; filters, action plugins and their helpers run on the controller's Python.
MANAGED = [path for folder in ("modules", "module_utils") for path in sorted((PLUGINS / folder).rglob("*.py"))]
PYTHON = [
    path
    for folder in ("plugins", "tests/unit")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "__pycache__" not in path.parts
]


def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports_of(path):
    """Names imported at run time: what follows ``if t.TYPE_CHECKING`` is for type checkers."""
    found = []

    def visit(node):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        if isinstance(node, ast.Import):
            found.extend(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or "").split(".")
            if node.level and not node.module:
                found.extend("." + alias.name for alias in node.names)
            elif node.level:
                found.append("." + module[-1])
            elif module[0] == "ansible_collections":
                found.extend("." + (alias.name if module[-1] == "module_utils" else module[-1]) for alias in node.names)
            else:
                found.append(module[0])
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree_of(path))
    return found


def test_every_file_has_its_line_in_the_table():
    assert set(UTIL_FILES) == set(MAY_IMPORT)


@pytest.mark.parametrize("name", sorted(UTIL_FILES))
def test_imports(name):
    siblings = {each[1:] for each in imports_of(UTIL_FILES[name]) if each.startswith(".")}
    assert siblings <= MAY_IMPORT[name]
    absolute = {each for each in imports_of(UTIL_FILES[name]) if not each.startswith(".")}
    if name not in IO:
        assert not absolute & OUTSIDE, "only these files touch the outside"
    if hasattr(sys, "stdlib_module_names"):
        assert absolute <= set(sys.stdlib_module_names), "the managed node has the standard library only"


def files_named_in(path):
    """The files of module_utils that a file imports, also for type checkers only."""
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom) and node.level:
            folder = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            named = [folder] if node.module else []
            named += [folder / alias.name for alias in node.names]
            found.update(str(each.relative_to(UTILS)) for each in named if UTILS in each.parents)
    return found & set(UTIL_FILES)


def circles(arrows):
    """The groups of names that lead back to each other."""

    def reached(start):
        seen, left = set(), [start]
        while left:
            new = arrows[left.pop()] - seen
            seen |= new
            left += new
        return seen

    beyond = {name: reached(name) for name in arrows}
    return {frozenset(other for other in beyond[name] if name in beyond[other]) for name in arrows} - {frozenset()}


def test_circles_are_seen():
    arrows = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"d"}, "e": {"a"}}
    assert circles(arrows) == {frozenset("bc"), frozenset("d")}


def test_no_file_depends_on_itself():
    """Not by types either: what has to be read before a file can be understood ends somewhere."""
    arrows = {name: files_named_in(path) for name, path in UTIL_FILES.items()}
    assert arrows["_parts"] >= {"_addresses", "_part"} and arrows["_backend/nftables/backend"] >= {"_host", "_plan"}
    assert circles(arrows) == set()


def test_the_engine_is_short():
    """Its one function names the stages; a change says what it is in five fields."""
    engine, change = tree_of(UTIL_FILES["_engine"]), tree_of(UTIL_FILES["_change"])
    (pipeline,) = [node for node in engine.body if getattr(node, "name", "") == "apply_gateway"]
    (value,) = [node for node in change.body if getattr(node, "name", "") == "Change"]
    end = min(node.lineno for node in engine.body if node.lineno > pipeline.lineno)
    assert end - pipeline.lineno <= 52
    assert len([node for node in value.body if isinstance(node, ast.AnnAssign)]) <= 5
    assert len(UTIL_FILES["_engine"].read_text(encoding="utf-8").splitlines()) <= 200


@pytest.mark.parametrize("name", MODULES)
def test_modules_wire_and_exit(name):
    siblings = {each[1:] for each in imports_of(PLUGINS / "modules" / (name + ".py")) if each.startswith(".")}
    assert siblings <= MODULE_IMPORTS


def test_ansible_lives_in_the_modules_only():
    """_host.py names AnsibleModule in type hints."""
    for name, path in UTIL_FILES.items():
        assert "ansible" not in imports_of(path), name
        if name != "_host":
            assert "AnsibleModule" not in path.read_text(encoding="utf-8"), name


@pytest.mark.parametrize("path", MANAGED, ids=lambda path: str(path.relative_to(PLUGINS)))
def test_no_process_but_through_the_host(path):
    for node in ast.walk(tree_of(path)):
        name = ""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            name = node.func.id
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            name = "{0}.{1}".format(owner.id if isinstance(owner, ast.Name) else "?", node.func.attr)
        banned = ("os.system", "os.popen", "exec", "eval", "__import__", "print")
        assert name not in banned
        assert not name.startswith(("subprocess.", "os.exec", "os.spawn"))
        if name == "open":
            assert path.name == "_host.py"


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: str(path.relative_to(ROOT)))
def test_file(path):
    text = path.read_text(encoding="utf-8")
    if not text and path.name == "__init__.py":
        return  # ansible-test wants it empty
    body = text[len("#!/usr/bin/python\n") :] if text.startswith("#!") else text
    assert body.startswith(HEADER)
    if path in MANAGED or ROOT / "tests" in path.parents or sys.version_info >= (3, 10):
        compile(text, str(path), "exec")
    if re.search(r"^(from|import) ", text, re.MULTILINE):
        assert "from __future__ import annotations" in text
    assert max(len(line) for line in text.splitlines()) <= 160


@pytest.mark.parametrize("name", sorted(UTIL_FILES))
def test_private_files_say_so(name):
    assert "# PRIVATE: part of ipmasq.linux" in UTIL_FILES[name].read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(name for name in UTIL_FILES if name.endswith("__init__")))
def test_a_folder_says_what_goes_in_and_what_comes_out(name):
    said = ast.get_docstring(tree_of(UTIL_FILES[name]))
    assert re.match(r"[A-Z][^.]* go(es)? in; [^.]* comes? out\.\Z", said.replace("\n", " ")), said


def test_every_folder_has_its_sentence():
    folders = {path.parent for path in UTILS.rglob("*.py")} - {UTILS}
    assert folders == {path.parent for path in UTILS.rglob("__init__.py")}


@pytest.mark.parametrize("path", MANAGED, ids=lambda path: str(path.relative_to(PLUGINS)))
def test_python_3_7(path):
    """compile() shows it on 3.7 itself; here the nodes that 3.7 lacks, and what it lacks in the standard library."""
    text = path.read_text(encoding="utf-8")
    newer = tuple(getattr(ast, name) for name in ("NamedExpr", "Match", "TryStar") if hasattr(ast, name))
    for node in ast.walk(tree_of(path)):
        assert not isinstance(node, newer)
        if isinstance(node, (ast.FunctionDef, ast.Lambda)):
            assert not getattr(node.args, "posonlyargs", [])
    assert not re.search(r"\.remove(prefix|suffix)\(|functools\.cache\b|slots=True|math\.prod|shlex\.join", text)


@pytest.mark.parametrize("name", sorted(UTIL_FILES))
def test_nobody_has_to_scroll_or_to_count_arguments(name):
    assert len(UTIL_FILES[name].read_text(encoding="utf-8").splitlines()) <= 400
    for node in ast.walk(tree_of(UTIL_FILES[name])):
        if isinstance(node, (ast.FunctionDef, ast.Lambda)):
            given = [each.arg for each in node.args.args if each.arg not in ("self", "cls")]
            assert len(given) <= 5, (getattr(node, "name", "lambda"), given)


def test_mirrored():
    """Every layer has its test, at the same place."""
    missing = []
    for name in UTIL_FILES:
        folder, _slash, file = name.rpartition("/")
        if file not in ("__init__", "base", "_host"):
            path = ROOT / "tests/unit/plugins/module_utils" / folder / "test_{0}.py".format(file)
            missing += [] if path.exists() else [str(path)]
    assert missing == []


# Documentation and argument spec


def document(text):
    yaml = pytest.importorskip("yaml", reason="documentation is YAML, and this Python has no PyYAML")
    return yaml.safe_load(text)


def constants_of(path):
    found = {}
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            with contextlib.suppress(ValueError):
                found[node.targets[0].id] = ast.literal_eval(node.value)
    return found


def documentation_of(name):
    """DOCUMENTATION with the options of its fragments."""
    doc = document(constants_of(PLUGINS / "modules" / (name + ".py"))["DOCUMENTATION"])
    options = dict(doc.get("options") or {})
    for fragment in doc["extends_documentation_fragment"]:
        parts = fragment.split(".")
        assert parts[:2] == ["ipmasq", "linux"]
        constants = constants_of(PLUGINS / "doc_fragments" / (parts[2] + ".py"))
        extra = document(constants[parts[3].upper() if len(parts) > 3 else "DOCUMENTATION"])
        assert not set(options) & set(extra.get("options") or {})
        options.update(extra.get("options") or {})
    return doc, options


def spec_of(name):
    """The argument spec that main() hands to AnsibleModule, which is stopped there."""
    basic = pytest.importorskip("ansible.module_utils.basic", reason="no ansible-core on this Python")
    module = importlib.import_module("ansible_collections.ipmasq.linux.plugins.modules." + name)
    caught = {}

    class Stop(Exception):  # noqa: N818 - it is not an error
        pass

    class Catch:
        def __init__(self, argument_spec, **more):
            caught.update(argument_spec=argument_spec, **more)
            raise Stop

    assert module.AnsibleModule is basic.AnsibleModule
    module.AnsibleModule = Catch
    try:
        with pytest.raises(Stop):
            module.main()
    finally:
        module.AnsibleModule = basic.AnsibleModule
    return caught


def agree(spec, options, where):
    assert set(spec) == set(options), where
    for name, declared in spec.items():
        written = options[name]
        for key in ("type", "default", "elements"):
            assert written.get(key) == declared.get(key), (where, name, key)
        assert bool(written.get("required")) == bool(declared.get("required")), (where, name)
        assert list(written.get("choices") or []) == list(declared.get("choices") or []), (where, name)
        assert written["description"], (where, name)
        agree(declared.get("options") or {}, written.get("suboptions") or {}, where + "." + name)


@pytest.mark.parametrize("name", MODULES)
def test_documentation_says_what_the_spec_says(name):
    doc, options = documentation_of(name)
    caught = spec_of(name)
    agree(caught["argument_spec"], options, name)
    assert caught["supports_check_mode"] is True
    assert doc["module"] == name
    assert re.match(r"\d+\.\d+\.\d+\Z", str(doc["version_added"]))


@pytest.mark.parametrize("name", MODULES)
def test_examples_and_return_values(name):
    constants = constants_of(PLUGINS / "modules" / (name + ".py"))
    _doc, options = documentation_of(name)
    tasks = document(constants["EXAMPLES"])
    own = 0
    for task in tasks:
        for key, values in task.items():
            if key.startswith("ipmasq.linux."):
                other = key.split(".")[2]
                known = options if other == name else documentation_of(other)[1]
                assert set(values or {}) <= set(known), key
                own += other == name
    assert own, "no example of the module itself"
    for key, value in document(constants["RETURN"]).items():
        assert all(value.get(part) for part in ("description", "returned", "type")), key


def test_action_group_lists_exactly_the_modules():
    path = ROOT / "meta" / "runtime.yml"
    runtime = document(path.read_text(encoding="utf-8"))
    assert runtime["requires_ansible"] == ">=2.17.0"
    groups = runtime["action_groups"]
    listed = [name for names in groups.values() for name in names if isinstance(name, str)]
    assert sorted(listed) == MODULES


def test_nothing_here_needs_the_folder_it_runs_in():
    assert os.path.isabs(str(ROOT))


# docs/architecture.md

MAP = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
#: `_engine`, `_backend/base` or `_engine.Change`: a file of module_utils, and what is in it.
NAMED = re.findall(r"`(_[a-z_]+(?:/[a-z_]+)*)((?:\.\w+)*)`", MAP)


def test_the_map_names_every_file():
    assert {name for name, _inner in NAMED} >= {name for name in UTIL_FILES if not name.endswith("__init__")}


@pytest.mark.parametrize("name, inner", sorted(set(NAMED)))
def test_what_the_map_names_is_there(name, inner):
    body = tree_of(UTIL_FILES[name]).body
    for part in inner.split(".")[1:]:
        found = {}
        for node in body:
            targets = getattr(node, "targets", None) or [getattr(node, "target", None)]
            for each in [node.name] if hasattr(node, "name") else [getattr(target, "id", "") for target in targets]:
                found[each] = node
        assert part in found
        body = getattr(found[part], "body", [])


def test_paths_of_the_map_are_there():
    paths = re.findall(r"`((?:plugins|tests|tools|roles|molecule|docs)(?:/[\w./]+)?)`", MAP)
    assert len(paths) > 10
    assert [path for path in paths if not (ROOT / path).exists()] == []
