# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Points of the community package's checklist (docs/releasing.md) that no tool checks for us."""

from __future__ import annotations

import ast
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from project import ROOT

from ansible_collections.ipmasq.linux.plugins.module_utils._intent.argspec import MODULES

if TYPE_CHECKING:
    from pathlib import Path

    from project import Installed

PAGE = (ROOT / "docs/releasing.md").read_text()
#: What ansible-core loads plugins from, or lets them share.
RECOGNISED = {
    "action", "become", "cache", "callback", "cliconf", "connection", "doc_fragments", "filter", "httpapi", "inventory",
    "lookup", "module_utils", "modules", "netconf", "plugin_utils", "shell", "strategy", "terminal", "test", "vars",
}  # fmt: skip


def test_rows_name_what_exists() -> None:
    paths = re.findall(r"`((?:\.github|tests|tools|meta|docs|changelogs|roles)/[\w./-]*|\w+\.yml)`", PAGE)
    assert len(paths) > 15
    assert [path for path in paths if not (ROOT / path).exists()] == []
    open_points = [row for row in PAGE.splitlines() if row.startswith("|") and "**open" in row]
    assert len(open_points) == 1, "only the release itself is open"


@pytest.mark.parametrize(
    "wanted",
    [
        r"\]\(https://docs\.ansible\.com/.*code_of_conduct\.html\)",
        r"\]\(https://forum\.ansible\.com/.*\), tags `\w+` and `\w+`",
        r"\]\(https://semver\.org/?\)",
        r"Python 3\.7 or later",
        r"\]\(changelogs/changelog\.yaml\)",
        # What single lines do not do, and where a guarantee has an exception.
        r"without `closed: true` they leave a forwarding host open",
        r"\(on iptables, except for\s+\[[^]]*\]\(docs/backends\.md#the-guard-on-iptables\)",
        r"\(\[limits\]\(docs/backends\.md#the-fence\)\)",
        r"`jmespath` is needed only for queries:\s+\[`verify_expect`\]",
    ],
)
def test_readme_says(wanted: str) -> None:
    assert re.search(wanted, (ROOT / "README.md").read_text())


def test_only_folders_that_ansible_recognises() -> None:
    found = {path.name for path in (ROOT / "plugins").iterdir() if path.name != "__pycache__"}
    assert found <= RECOGNISED


@pytest.mark.parametrize("folder", ["module_utils", "plugin_utils"])
def test_what_is_shared_is_private(folder: str) -> None:
    files = [path for path in (ROOT / "plugins" / folder).rglob("*.py") if path.read_text()]
    assert files
    for path in files:
        assert path.name.startswith("_") or "# PRIVATE: part of ipmasq.linux" in path.read_text(), path


def test_four_folders_are_enough(installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = tmp_path / "ansible_collections/ipmasq/linux"
    for folder in ("meta", "plugins", "roles", "playbooks"):
        shutil.copytree(installed.path / folder, bare / folder)
    monkeypatch.setitem(installed.env, "ANSIBLE_COLLECTIONS_PATH", str(tmp_path))
    (installed.folder / "nobody.ini").write_text("[gateways]\n[lan_clients]\n")
    installed.run("ansible-playbook", "-i", "nobody.ini", "ipmasq.linux.site")
    here = (
        "localhost ansible_connection=local ansible_become=false ansible_python_interpreter={{ansible_playbook_python}}"
    )
    (installed.folder / "here.ini").write_text(f"[gateways]\n{here}\n")
    refused = "no gateway to ask"
    for playbook, inventory, told in (
        ("drift", "nobody.ini", refused),
        ("confirm", "nobody.ini", refused),
        ("drift", "here.ini", "nothing was applied here"),
    ):
        done = installed.try_to_run("ansible-playbook", "-i", inventory, f"ipmasq.linux.{playbook}")
        assert done.returncode != 0 and told in done.stdout, done.stdout + done.stderr
    shown = installed.run("ansible-doc", "--json", *[f"ipmasq.linux.{name}" for name in MODULES])
    assert shown.count(str(bare / "plugins/modules")) >= len(MODULES)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_applies_or_ends_in_info(name: str) -> None:
    """A question is a module of its own."""
    state: dict[str, Any] = MODULES[name].get("state", {})
    assert set(state.get("choices", ())) <= {"present", "absent", "confirmed", "reverted"}
    tree = ast.parse((ROOT / f"plugins/modules/{name}.py").read_text())
    asked = [node.keywords for node in ast.walk(tree) if isinstance(node, ast.Call) and _is_module(node)]
    (keywords,) = asked
    assert {word.arg: ast.unparse(word.value) for word in keywords}["supports_check_mode"] == "True"


def _is_module(node: ast.Call) -> bool:
    return isinstance(node.func, ast.Name) and node.func.id == "AnsibleModule"


def test_sanity_runs_on_every_core_and_ignores_shebangs_only() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    assert {"pull_request", "schedule"} <= set(workflow["on"])
    assert re.fullmatch(r"\d+ \d+ \* \* \d", workflow["on"]["schedule"][0]["cron"]), "weekly"
    cores = [core.removeprefix("stable-") for core in workflow["jobs"]["sanity"]["strategy"]["matrix"]["core"]]
    floor = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())["requires_ansible"]
    assert cores[0] == re.fullmatch(r">=(2\.\d+)\.0", floor).group(1)
    assert cores[-1] == "devel"
    files = sorted((ROOT / "tests/sanity").glob("ignore-*.txt"))
    # devel has the number after the newest.
    assert len(files) == len(cores)
    for path in files:
        for line in path.read_text().splitlines():
            assert re.fullmatch(r"\S+ shebang # .+", line)
