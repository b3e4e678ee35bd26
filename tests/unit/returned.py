# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a module returned, against what its documentation says that it returns."""

from __future__ import annotations

import importlib
import typing as t

TYPES = {"bool": bool, "int": int, "float": float, "str": str, "list": list, "dict": dict}
#: What every module returns, by Ansible's own documentation.
COMMON = {"changed", "diff", "invocation", "warnings"}
Docs = t.Mapping[str, t.Mapping[str, t.Any]]


def documented(module: str) -> Docs:
    import yaml  # noqa: PLC0415 - not beside every Python

    found = importlib.import_module("ansible_collections.ipmasq.linux.plugins.modules." + module)
    return yaml.safe_load(found.RETURN)


def gaps(docs: Docs, where: str = "", sampled: bool = False) -> t.List[str]:
    """Values without description, type or sample; one sample of a whole will do. Samples that no result could be."""
    found = []
    for key, doc in docs.items():
        name, has_sample = where + key, sampled or "sample" in doc
        if not doc.get("description") or doc.get("type") not in TYPES or ("elements" in doc) != (doc["type"] == "list"):
            found.append(name + ": description, type or elements is missing")
        if "sample" in doc:
            found += _faults(doc, doc["sample"], name + " (sample)")
        if "contains" in doc:
            found += gaps(doc["contains"], name + ".", has_sample)
        elif not has_sample:
            found.append(name + ": no sample")
    return found


def faults(docs: Docs, values: t.Mapping[str, t.Any]) -> t.List[str]:
    """Values of a result that are not documented, or not of that type; values that are always returned, and are not."""
    values = {key: value for key, value in values.items() if key not in COMMON}
    return _inside(docs, values, "")


def _inside(docs: Docs, values: t.Mapping[str, t.Any], where: str, null: bool = False) -> t.List[str]:
    found = [where + key + ": not documented" for key in values if key not in docs]
    for key, doc in docs.items():
        if key in values:
            found += _faults(doc, values[key], where + key, null)
        elif doc.get("returned", "success") == "success":
            found.append(where + key + ": not returned")
    return found


def _is(value: t.Any, kind: str) -> bool:
    """To Python, a bool is an int, too."""
    return isinstance(value, TYPES[kind]) and isinstance(value, bool) == (kind == "bool")


def _faults(doc: t.Mapping[str, t.Any], value: t.Any, name: str, null: bool = False) -> t.List[str]:
    """``null``: the whole that it is part of says that values may be null."""
    null = null or "V(null)" in str(doc["description"])
    if value is None:
        return [] if null else [name + ": is null, which is not documented"]
    if not _is(value, doc["type"]):
        return ["{0}: {1!r} is no {2}".format(name, value, doc["type"])]
    if doc["type"] == "list":
        wrong = [each for each in value if not _is(each, doc["elements"])]
        if wrong:
            return ["{0}: {1!r} is no {2}".format(name, wrong[0], doc["elements"])]
    if "contains" not in doc:
        return []
    entries = value if doc["type"] == "list" else [value]
    return [fault for entry in entries for fault in _inside(doc["contains"], entry, name + ".", null)]
