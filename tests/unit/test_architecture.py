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
PACKAGE = ["ansible_collections", "ipmasq", "linux", "plugins", "module_utils"]
MODULES = sorted(path.stem for path in (PLUGINS / "modules").glob("*.py"))

#: The stages of module_utils, in their turn. A file imports from its own folder and from those before it.
FOLDERS = (
    "_base", "_facts", "_intent", "_resolve", "_rules", "_backend", "_flows", "_init", "_services", "_rollback",
    "_parts", "_proof", "_explain", "_change", "_managers", "_lan_client", "_client",
)  # fmt: skip
#: Standard library that does I/O: only the seam may have it.
OUTSIDE = {
    "os", "subprocess", "socket", "tempfile", "glob", "shutil", "pathlib", "io", "fcntl", "ctypes", "urllib", "syslog"
}  # fmt: skip
#: The files that touch the outside: the seam, the same without Ansible, its sockets, our own code as files, and two
#: that need packets: the loop of a proof, and nat_probe.
IO = {"_base/host", "_base/local", "_base/sockets", "_base/pack", "_proof/loop", "_client/wire"}
MODULE_IMPORTS = {
    "_base/host", "_change/asked", "_change/confirming", "_change/engine", "_change/explaining", "_change/info",
    "_change/items", "_change/probe", "_change/removing", "_change/repeat", "_change/task", "_client/probe",
    "_intent/argspec", "_intent/forwarding", "_intent/items", "_intent/read", "_lan_client/change", "_rollback/confirm",
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


def test_every_folder_has_its_turn():
    assert {name.split("/")[0] for name in UTIL_FILES} == set(FOLDERS)


@pytest.mark.parametrize("name", sorted(UTIL_FILES))
def test_imports(name):
    before = FOLDERS[: FOLDERS.index(name.split("/")[0]) + 1]
    later = {each for each in files_named_in(UTIL_FILES[name]) if each.split("/")[0] not in before}
    assert not later, "these come later, also for types"
    absolute = {each for each in imports_of(UTIL_FILES[name]) if not each.startswith(".")}
    if name not in IO:
        assert not absolute & OUTSIDE, "only these files touch the outside"
    if hasattr(sys, "stdlib_module_names"):
        assert absolute <= set(sys.stdlib_module_names), "the managed node has the standard library only"


def files_named_in(path):
    """The files of module_utils that a file imports, also for type checkers only."""
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom):
            words = (node.module or "").split(".")
            if node.level:
                folder = path.parents[node.level - 1].joinpath(*words)
            elif words[: len(PACKAGE)] == PACKAGE:
                folder = UTILS.joinpath(*words[len(PACKAGE) :])
            else:
                continue
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
    assert arrows["_parts/order"] >= {"_parts/addresses", "_parts/part"}
    assert arrows["_backend/nftables/backend"] >= {"_base/host", "_rules/rows"}
    assert circles(arrows) == set()


def test_the_engine_is_short():
    """Its one function names the stages; a change says what it is in five fields."""
    engine, change = tree_of(UTIL_FILES["_change/engine"]), tree_of(UTIL_FILES["_change/change"])
    (pipeline,) = [node for node in engine.body if getattr(node, "name", "") == "apply_gateway"]
    (value,) = [node for node in change.body if getattr(node, "name", "") == "Change"]
    end = min(node.lineno for node in engine.body if node.lineno > pipeline.lineno)
    assert end - pipeline.lineno <= 52
    assert len([node for node in value.body if isinstance(node, ast.AnnAssign)]) <= 5
    assert len(UTIL_FILES["_change/engine"].read_text(encoding="utf-8").splitlines()) <= 200


@pytest.mark.parametrize("name", MODULES)
def test_modules_wire_and_exit(name):
    named = files_named_in(PLUGINS / "modules" / (name + ".py"))
    assert named and named <= MODULE_IMPORTS


def test_ansible_lives_in_the_modules_only():
    """_base/host.py names AnsibleModule in type hints."""
    for name, path in UTIL_FILES.items():
        assert "ansible" not in imports_of(path), name
        if name != "_base/host":
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
        assert not name.startswith(("os.exec", "os.spawn"))
        if name.startswith("subprocess."):
            assert path.name == "local.py", "it is the host, where there is no Ansible"
        if name == "open":
            assert path.name == "host.py"


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
        if file not in ("__init__", "base", "host"):
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


def test_events_and_units_are_explained():
    """Nobody can guess what is logged for a word, or whether a rate knows days."""
    _doc, options = documentation_of("gateway")
    words = " ".join(options["log"]["description"])
    assert [event for event in options["log"]["choices"] if "V({0})".format(event) not in words] == []
    for rate in (options["log_rate"], options["outbound"]["suboptions"]["rate"]):
        words = " ".join(rate["description"])
        assert [unit for unit in ("second", "minute", "hour", "day") if "V({0})".format(unit) not in words] == []


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
#: `_backend/base` or `_change/change.Change`: a file of module_utils, and what is in it.
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
