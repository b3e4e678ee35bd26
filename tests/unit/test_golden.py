# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Golden cases: a gateway as a person writes it, and the text that each tool is given for it.

``IPMASQ_UPDATE_GOLDEN=1 pytest tests/unit/test_golden.py`` rewrites them; then read the diff, you are the reviewer.
"""

from __future__ import annotations

import difflib
import os
import pathlib
import typing as t

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.features import check_supported
from ansible_collections.ipmasq.linux.plugins.module_utils._backend.iptables.backend import Iptables
from ansible_collections.ipmasq.linux.plugins.module_utils._backend.nftables.backend import Nftables
from ansible_collections.ipmasq.linux.plugins.module_utils._backend.nftables.fence import fence_text
from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._change.items import apply_item
from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import Facts, Interface, Route
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.items import (
    forward_from_params,
    masquerade_from_params,
    port_forward_from_params,
)
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.neighbour import Neighbour
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolve import resolve
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.compile import compile_gateway
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.fence import compile_fence
from ansible_collections.ipmasq.linux.plugins.module_utils._services.dnsmasq import config
from ansible_collections.ipmasq.linux.tests.unit import fakes
from ansible_collections.ipmasq.linux.tests.unit.params import (
    forward_params,
    gateway_params,
    masquerade_params,
    port_forward_params,
)

yaml = pytest.importorskip("yaml", reason="golden cases are YAML, and this Python has no PyYAML")

GOLDEN = pathlib.Path(__file__).resolve().parent / "golden"
CASES = sorted(path.parent.name for path in GOLDEN.glob("*/gateway.yml"))
FILES = {".nft": "nftables.json", ".iptables": "iptables.rules", ".ip6tables": "ip6tables.rules"}
#: In some cases only: what nft takes as text, what a backend says that cannot do it, the fence of a whole gateway, and
#: what dnsmasq reads.
SOMETIMES = {
    ".late.nft": "nftables.late", ".refused": "iptables.refused", ".fence.nft": "fence.nft", ".dnsmasq": "dnsmasq.conf",
}  # fmt: skip
MAKE = {
    "masquerade": lambda options: masquerade_from_params(masquerade_params(**options)),
    "forward": lambda options: forward_from_params(forward_params(**options)),
    "port_forward": lambda options: port_forward_from_params(port_forward_params(**options)),
}
BACKENDS = {"nftables": Nftables(), "iptables": Iptables("nft", ("ip", "ip6"))}


def load(case: str) -> dict:
    return yaml.safe_load((GOLDEN / case / "gateway.yml").read_text(encoding="utf-8"))


def rendered(case: dict) -> dict:
    """File name to text, for both backends."""
    texts = {}
    for backend in BACKENDS:
        for ending, text in (_items if "items" in case else _gateway)(case, backend).items():
            texts[dict(FILES, **SOMETIMES)[ending]] = text
    return texts


def neighbours(case: dict) -> list:
    """The other instances on the host of a case."""
    return [
        Neighbour(
            each["instance"], tuple((name, tuple(links)) for name, links in each["lans"].items()), tuple(each["wans"])
        )
        for each in case.get("neighbours", ())
    ]


def facts(case: dict) -> Facts:
    """The host of a case."""
    raw = case.get("facts", {})
    interfaces = (
        Interface(**{key: tuple(said) if isinstance(said, list) else said for key, said in each.items()})
        for each in raw.get("interfaces", ())
    )
    return Facts(tuple(interfaces), tuple(Route(name) for name in raw.get("default_routes", ())))


def _gateway(case: dict, backend: str) -> dict:
    gateway = gateway_from_params(gateway_params(**case["gateway"]))
    gateway = resolve(gateway, facts(case), neighbours=neighbours(case)).gateway
    ruleset = compile_gateway(gateway)
    try:
        check_supported(ruleset, BACKENDS[backend])
    except GatewayError as error:
        assert backend == "iptables"
        return {".refused": "".join(problem + "\n" for problem in error.problems)}
    files = BACKENDS[backend].boot(BACKENDS[backend].render(ruleset), "./x", gateway.instance).files
    served = config(gateway, "dnsmasq")
    return dict(files, **{".fence.nft": fence_text(compile_fence(gateway))}, **({".dnsmasq": served} if served else {}))


def _items(case: dict, backend: str) -> dict:
    """Items come one task after the other, so they go through the engine."""
    host = fakes.FakeHost(fakes.NFT if backend == "nftables" else fakes.IPTABLES_NFT)
    for each in case["items"]:
        ((module, options),) = each.items()
        item = MAKE[module](options)
        apply_item("default", item, True, backend, host)
    endings = [".nft"] if backend == "nftables" else [".iptables", ".ip6tables"]
    return {ending: host.files["/etc/ipmasq/default" + ending] for ending in endings}


def expected_files(names: t.Iterable[str]) -> list:
    """A backend has its own files, or its refusal."""
    return [name for name in FILES.values() if name == "nftables.json" or SOMETIMES[".refused"] not in names]


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str) -> None:
    texts = rendered(load(case))
    assert set(texts) - set(SOMETIMES.values()) == set(expected_files(texts))
    for name, text in texts.items():
        path = GOLDEN / case / name
        if os.environ.get("IPMASQ_UPDATE_GOLDEN"):
            path.write_text(text, encoding="utf-8")
        wanted = path.read_text(encoding="utf-8") if path.exists() else ""
        if text != wanted:
            diff = difflib.unified_diff(
                wanted.splitlines(), text.splitlines(), "golden/" + name, "rendered", lineterm=""
            )
            pytest.fail("{0}:\n{1}".format(path, "\n".join(diff)), pytrace=False)


def test_every_golden_folder_is_a_case() -> None:
    assert len(CASES) >= 12
    for folder in GOLDEN.iterdir():
        names = {path.name for path in folder.iterdir()}
        assert names - set(SOMETIMES.values()) == {"gateway.yml", *expected_files(names)}


def test_golden_yaml_is_fit_for_people() -> None:
    """Each case says in its first line what it shows."""
    for case in CASES:
        first = (GOLDEN / case / "gateway.yml").read_text(encoding="utf-8").splitlines()[0]
        assert first.startswith("# "), case
        assert len(first) > 20, case
