# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Build the site: the reference of every module, role and plugin, and the guides. Any warning is an error.

python tools/docs.py            writes .cache/docs/site/html/index.html
python tools/docs.py --links    also asks whether every link still leads somewhere
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / ".cache/docs"
SOURCE = BUILD / "source"
REQUIREMENTS = ROOT / "docs/docsite/requirements.txt"
REPOSITORY = "https://github.com/ipmasq/linux/blob/main/"
#: Folders with the pictures of the guides. The site has them, too.
PICTURES = ("docs/images", "docs/performance")
LINK = re.compile(r"(?<=\]\()(?!https?://|#|mailto:)([^)#\s]+)")
#: The front page is the README.
INDEX = """\
.. include:: README.md
   :parser: myst_parser.sphinx_

.. toctree::
   :hidden:
   :maxdepth: 1
   :caption: Guides

{guides}

.. toctree::
   :hidden:
   :maxdepth: 2
   :caption: Reference

   collections/ipmasq/linux/index
   ansible
"""
#: Pages link to the README as well, which is in no list of pages.
ORPHAN = "---\norphan: true\n---\n"
#: Pages of Ansible's own site that the reference refers to by name.
ELSEWHERE = {
    "action_plugins": ("Action plugins", "plugins/action.html"),
    "ansible_configuration_settings": ("Configuration settings", "reference_appendices/config.html"),
    "common_return_values": ("Return values of every module", "reference_appendices/common_return_values.html"),
}
ANSIBLE = "https://docs.ansible.com/ansible/latest/"


def main(arguments: list[str]) -> int:
    environment = make_environment()
    shutil.rmtree(SOURCE, ignore_errors=True)
    SOURCE.mkdir(parents=True, mode=0o700)
    readme, *guides = pages()
    for page in [readme, *guides]:
        place = SOURCE / page.relative_to(ROOT)
        place.parent.mkdir(exist_ok=True)
        place.write_text((ORPHAN if page == readme else "") + with_links(page), "utf-8")
    for folder in PICTURES:
        shutil.copytree(ROOT / folder, SOURCE / folder)
    lines = "\n".join(f"   docs/{page.stem}" for page in guides)
    (SOURCE / "index.rst").write_text(INDEX.format(guides=lines), "utf-8")
    (SOURCE / "ansible.rst").write_text(ansible_page(), "utf-8")
    collection = ["antsibull-docs", "collection", "--use-current", "--fail-on-error", "--cleanup", "everything"]
    run(environment, *collection, "--dest-dir", str(SOURCE), "ipmasq.linux")
    for name in ("html", "linkcheck") if arguments == ["--links"] else ("html",):
        site = str(BUILD / "site" / name)
        run(
            environment, "sphinx-build", "-b", name, "-W", "--keep-going", "-q", "-c", "docs/docsite", str(SOURCE), site
        )
    print(BUILD / "site/html/index.html")
    return 0


def pages() -> list[Path]:
    """The pages of the site, besides the reference: the README, the index of the guides, and these in its order."""
    index = ROOT / "docs/README.md"
    listed = index.read_text("utf-8")
    guides = sorted((ROOT / "docs").glob("*.md"), key=lambda page: listed.find(f"({page.name})"))
    return [ROOT / "README.md", index, *(page for page in guides if page != index)]


def ansible_page() -> str:
    parts = ["On Ansible's own site\n=====================\n"]
    for label, (title, place) in ELSEWHERE.items():
        parts.append(f".. _{label}:\n\n{title}\n{'-' * len(title)}\n\n`<{ANSIBLE}{place}>`__\n")
    return "\n".join(parts)


def make_environment() -> Path:
    """Programs of a virtual environment that has what the site needs."""
    programs, known = BUILD / "venv/bin", BUILD / "venv/.ipmasq"
    if not known.exists() or known.read_text("utf-8") != REQUIREMENTS.read_text("utf-8"):
        print("docs: making a virtual environment in .cache/docs")
        venv.create(BUILD / "venv", with_pip=True, clear=True)
        subprocess.run([programs / "python", "-m", "pip", "install", "--quiet", "-r", REQUIREMENTS], check=True)
        known.write_text(REQUIREMENTS.read_text("utf-8"), "utf-8")
    return programs


def with_links(page: Path) -> str:
    return LINK.sub(lambda found: rewritten(page, found.group()), page.read_text("utf-8"))


def rewritten(page: Path, target: str) -> str:
    """A link to another page of the site, or to a picture, stays; one to any other file leads to the repository."""
    found = (page.parent / target).resolve()
    name = str(found.relative_to(ROOT))
    return target if found in pages() or name.startswith(tuple(f"{each}/" for each in PICTURES)) else REPOSITORY + name


def run(programs: Path, *command: str) -> None:
    env = dict(os.environ, PATH=f"{programs}:{os.environ['PATH']}")
    env["ANSIBLE_COLLECTIONS_PATH"] = str(ROOT / ".cache/collections")
    subprocess.run(command, cwd=ROOT, env=env, check=True)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except subprocess.CalledProcessError as error:
        sys.exit(f"docs: {Path(str(error.cmd[0])).name} failed, see above")
