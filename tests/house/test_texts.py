# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Licences, links and private data in every file, and texts that must agree with each other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from project import ROOT, files_of_project

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

FILES = files_of_project()
TEXTS = [path for path in FILES if path.name != "LICENSE" and path.parent.name != "LICENSES"]
LICENCE = "SPDX-License-" + "Identifier: GPL-3.0-or-later"  # in one piece, it would be a header of this line
COPYRIGHT = "Copyright (c) 2026, ipmasq.linux contributors"
ANNOTATED = tomllib.loads((ROOT / "REUSE.toml").read_text(encoding="utf-8"))["annotations"][0]["path"]

#: Paths of the machine on which this was written are private, and would not work elsewhere.
PRIVATE = re.compile(
    r"/home/[a-z]+/|/root/\.|(?<![\w.])/work/|\.pyenv/versions|/opt/(?:wheels|pypi)|(?<!noreply\.)@gmail"
)
LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#\s]+)")

HUB_TAGS = {
    "application",
    "cloud",
    "database",
    "infrastructure",
    "linux",
    "monitoring",
    "networking",
    "security",
    "storage",
}
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def load(name: str):
    return yaml.safe_load(read(ROOT / name))


def annotated(path: Path) -> bool:
    """Whether REUSE.toml speaks for this file. Its ``**`` crosses folders, its ``*`` does not."""
    for pattern in ANNOTATED:
        parts = re.split(r"(\*\*/|\*\*|\*)", pattern)
        as_re = "".join({"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*"}.get(part) or re.escape(part) for part in parts)
        if re.fullmatch(as_re, short(path)):
            return True
    return False


def test_all_files_are_seen() -> None:
    assert {ROOT / "README.md", ROOT / "Makefile", Path(__file__)} <= set(TEXTS)


def has_header(path: Path) -> bool:
    head = read(path)[:600]
    return LICENCE in head and COPYRIGHT in head


def test_every_file_tells_its_licence() -> None:
    """In an SPDX header, or through REUSE.toml."""
    assert [short(path) for path in TEXTS if not annotated(path) and not has_header(path)] == []


def test_licence_is_told_where_it_is_looked_for() -> None:
    """REUSE wants it in LICENSES, GitHub and Galaxy want LICENSE."""
    assert read(ROOT / "LICENSE") == read(ROOT / "LICENSES" / "GPL-3.0-or-later.txt")
    assert load("galaxy.yml")["license_file"] == "LICENSE"


@pytest.mark.parametrize("pattern", ANNOTATED)
def test_every_annotation_is_needed(pattern: str) -> None:
    if pattern in ("CHANGELOG.md", "changelogs/fragments/**"):
        return  # a release writes one from the other
    assert list(ROOT.glob(pattern)), "names no file any more"


def test_nothing_private() -> None:
    texts = [path for path in TEXTS if path.suffix != ".png" and path != Path(__file__)]
    found = {short(path): PRIVATE.findall(read(path)) for path in texts}
    assert {name: hits for name, hits in found.items() if hits} == {}


def test_links_lead_somewhere() -> None:
    documents = [path for path in TEXTS if path.suffix == ".md"]
    assert documents
    links = [(path, target) for path in documents for target in LINK.findall(read(path))]
    assert [f"{short(path)}: {target}" for path, target in links if not (path.parent / target).exists()] == []


def test_galaxy_accepts_the_metadata() -> None:
    galaxy = load("galaxy.yml")
    assert re.fullmatch(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?", galaxy["version"])
    assert len(galaxy["tags"]) <= 20
    assert HUB_TAGS & set(galaxy["tags"])
    assert not [tag for tag in galaxy["tags"] if not re.fullmatch(r"[a-z0-9]+", tag)]


def test_a_gateway_needs_no_other_collection() -> None:
    """The lab's connection plugins do not matter to a user who installs without Galaxy, or pins community.docker."""
    assert load("galaxy.yml")["dependencies"] == {}
    # An example may show json_query; nothing of ours runs it.
    used = re.compile(r"\b(containers\.podman|community\.\w+|ansible\.posix)\.(?!json_query)\w+")
    files = [path for part in ("plugins", "playbooks", "roles/gateway", "roles/lan_client") for path in within(part)]
    assert len(files) > 50
    assert [short(path) for path in files if used.search(read(path))] == []


def within(folder: str) -> list[Path]:
    return [path for path in FILES if path.is_relative_to(ROOT / folder)]


def test_connections_of_the_lab_have_a_lower_bound_from_1_0_0() -> None:
    entries = load("requirements.yml")["collections"]
    assert entries
    for entry in entries:
        assert re.fullmatch(r">=[1-9]\d*\.\d+\.\d+", entry["version"]), entry["name"]


def test_controller_requirements_are_lower_bounds_and_never_ansible() -> None:
    lines = [line for line in read(ROOT / "requirements.txt").splitlines() if line and not line.startswith("#")]
    assert lines
    for line in lines:
        assert re.fullmatch(r"[a-z0-9_-]+(>=[\d.]+)?", line)
        assert not line.startswith("ansible")


def test_oldest_ansible_is_the_same_everywhere() -> None:
    floor = re.fullmatch(r">=(2\.\d+)\.0", load("meta/runtime.yml")["requires_ansible"]).group(1)
    for role in ROLES:
        assert load(f"roles/{role}/meta/main.yml")["galaxy_info"]["min_ansible_version"] == floor
    assert f"ansible-core {floor} or later" in read(ROOT / "README.md")


@pytest.mark.parametrize("role", ROLES)
def test_role_defaults_are_the_documented_ones(role: str) -> None:
    """Every variable is described, carries the role's name, and its default is the documented one."""
    (spec,) = load(f"roles/{role}/meta/argument_specs.yml")["argument_specs"].values()
    options = spec["options"]
    defaults = load(f"roles/{role}/defaults/main.yml")
    assert set(defaults) <= set(options)
    for name, option in options.items():
        assert name.startswith(f"{role}_")
        if "default" in option:
            assert defaults.get(name, option["default"]) == option["default"], name


def test_the_role_hands_over_every_option_that_is_not_empty() -> None:
    """An empty option is left out, because templates of ansible-core before 2.19 turn it into text."""
    task = load("roles/gateway/tasks/apply.yml")[0]["ipmasq.linux.gateway"]
    options = load("roles/gateway/meta/argument_specs.yml")["argument_specs"]["apply"]["options"]
    long = {"lans", "nat", "port_forwards", "outbound"}  # the action plugin takes these by itself
    assert set(task) == {name[len("gateway_") :] for name in options} - long - {"install"}
    for name, value in task.items():
        assert value == f"{{{{ omit if gateway_{name} is none else gateway_{name} }}}}"
    task = load("roles/lan_client/tasks/apply.yml")[0]["ipmasq.linux.lan_client"]
    assert task.pop("gateways") == "{{ lan_client__candidates }}"
    for name, value in task.items():
        assert value == f"{{{{ omit if lan_client_{name} is none else lan_client_{name} }}}}"


def test_the_page_of_options_names_every_variable_of_the_gateway() -> None:
    options = load("roles/gateway/meta/argument_specs.yml")["argument_specs"]["apply"]["options"]
    _before, _heading, table = read(ROOT / "docs/options.md").partition("## Variables of the role `gateway`")
    described = set(re.findall(r"^\| `(gateway_\w+)` \|", table, flags=re.MULTILINE))
    assert described == set(options)


def test_readme_can_be_read_in_one_go() -> None:
    assert len(read(ROOT / "README.md").splitlines()) <= 150


def test_what_the_code_says_is_written_where_people_read_it() -> None:
    """The role's options are the module's, and the table of backends is what the backends declare."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "generate.py"), "--check"],
        env=dict(os.environ, PYTHONPATH=str(ROOT / ".cache" / "collections")),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def released() -> bool:
    return load("galaxy.yml")["version"] in load("changelogs/changelog.yaml")["releases"]


def test_changes_since_the_last_release_have_a_changelog_fragment() -> None:
    """At least one: most changes of the code are nothing that a user may notice, and reviewers know which are."""
    last = subprocess.run(
        ["git", "describe", "--tags", "--abbrev=0"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    changed = ["git", "diff", "--name-only", last or "4b825dc642cb6eb9a060e54bf8d69288fbee4904", "--"]
    names = subprocess.run(
        [*changed, "plugins", "roles", "playbooks"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    if names and not released():
        assert list((ROOT / "changelogs" / "fragments").glob("*.yml"))


@pytest.mark.parametrize("path", sorted((ROOT / "changelogs" / "fragments").glob("*.y*ml")), ids=short)
def test_fragment_says_what_the_user_sees(path: Path) -> None:
    """``name - what the user sees``; antsibull-changelog checks the rest."""
    sections = {name for name, _title in load("changelogs/config.yaml")["sections"]} - {"major_changes"}
    for section, entries in yaml.safe_load(read(path)).items():
        if section in sections:
            assert not [entry for entry in entries if not re.match(r"[a-z_, ]+ - ", entry)]


def test_every_stage_has_its_target() -> None:
    stages = re.search(r"^STAGES := (.*)$", read(ROOT / "Makefile"), flags=re.MULTILINE).group(1).split()
    known = re.findall(r'^    "(\w+)": \w+,$', read(ROOT / "tools" / "test.py"), flags=re.MULTILINE)
    # Stages that make test does not run have their own targets.
    assert [*stages, "neighbours", "vm", "bare"] == known
    for folder in sorted(path.name for path in (ROOT / "tests").iterdir() if list(path.glob("test_*.py"))):
        assert f'"tests/{folder}"' in read(ROOT / "tools" / "test.py"), "no stage runs this folder"


def test_ci_runs_what_the_readme_says() -> None:
    assert re.search(r"^make test$", read(ROOT / ".ci" / "run"), flags=re.MULTILINE)
    assert "bash .ci/run" in read(ROOT / ".github" / "workflows" / "ci.yml")
    assert "$ make test" in read(ROOT / "README.md")


def test_make_help_names_every_target() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    (phony,) = re.findall(r"^\.PHONY: (.*)$", read(ROOT / "Makefile"), flags=re.MULTILINE)
    stages = re.search(r"^STAGES := (.*)$", read(ROOT / "Makefile"), flags=re.MULTILINE).group(1)
    for target in phony.replace("$(STAGES)", stages).split():
        if target not in ("help", "setup"):
            assert re.search(rf"\b{target}\b", shown), target
