# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Check the shape of options before the module runs.

An empty value means the default, and a WAN may be given by its name alone. Errors name the option, the item and what
was probably meant; Ansible's own messages name no item and come one at a time.
"""

from __future__ import annotations

import ast
import difflib
import json
import re
import typing as t
from collections.abc import Mapping, Sequence

from ansible.module_utils.common.validation import check_type_bool, check_type_int

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import Problems
from ansible_collections.ipmasq.linux.plugins.module_utils._base.values import shorten
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.argspec import BARE, MODULES

Spec = t.Mapping[str, t.Mapping[str, t.Any]]
#: The place before the colon of a message, computed only for errors, because there may be 10,000 items.
Where = t.Callable[[], str]
#: The difflib similarity from which a word counts as a mistyped other word.
ALIKE = 0.6
#: For variables, which may be the user's own: gateway_ipv4 (0.75) does not match gateway_ipv6, gateway_lan (0.86) does.
NEARLY = 0.8
#: Other variables of each role: its result, and what lan_client reads of the role gateway.
BESIDE = {"gateway": ("install", "result", "addresses"), "lan_client": ("result",)}


def nearest(word: str, known: t.Iterable[str], alike: float = ALIKE) -> str:
    return next(iter(difflib.get_close_matches(word.lower(), sorted(known), 1, alike)), "")


def mistyped(prefix: str, known: t.Iterable[str], given: t.Iterable[str]) -> t.List[str]:
    """Warnings for variables that resemble one of the role's variables; others may be the user's own."""
    names = {name[len(prefix) :] for name in known if name.startswith(prefix)}
    own = re.compile(re.escape(prefix) + r"(?!_)\w+\Z")
    found = []
    for name in sorted(str(name) for name in given if own.match(str(name))):
        meant = "" if name[len(prefix) :] in names else nearest(name[len(prefix) :], names, NEARLY)
        if meant:
            words = "{0} is not a variable of this role and has no effect; did you mean {1}?"
            found.append(words.format(shorten(name), prefix + meant))
    return found


def variable(option: str, role: str = "gateway") -> str:
    """The role's variable for an option."""
    return "{0}_{1}".format(role, option)


#: Where a module's message names an option: at the beginning, after "set" or "once with", and with a value in brackets.
NAMED = {
    role: re.compile(
        r"(?:^|\bset |\bonce with |\((?=\w+=))(?P<option>{0})\b(?=[:=.\[ ])".format("|".join(MODULES[role]))
    )
    for role in BESIDE
}


def in_words_of_the_role(problem: str, role: str = "gateway") -> str:
    def named(found: t.Match[str]) -> str:
        return found.group()[: -len(found["option"])] + variable(found["option"], role)

    return NAMED[role].sub(named, problem)


def read(
    spec: Spec, given: t.Mapping[str, t.Any], named: t.Callable[[str], str] = str
) -> t.Tuple[t.Dict[str, t.Any], t.List[str]]:
    """The options without empty ones, and every problem. ``named`` maps an option to the user's name for it."""
    problems = Problems()
    options = _Options(spec, problems).read(given, None, named)
    return options, problems.found


class _Options:
    """The options of one kind of item. Checks only what Ansible would not convert by itself."""

    def __init__(self, spec: Spec, problems: Problems) -> None:
        self._problems = problems
        self._names = frozenset(spec)
        self._required = [name for name, option in spec.items() if option.get("required")]
        self._readers = {name: self._reader(name, option) for name, option in spec.items() if _has_shape(option)}

    def read(
        self, given: t.Mapping[str, t.Any], item: t.Optional[Where], named: t.Callable[[str], str] = str
    ) -> t.Dict[str, t.Any]:
        """``item`` is None for the module's own options, whose names may have a prefix."""
        options = {name: value for name, value in given.items() if value is not None}
        if item is None and options.get("instance") == "":
            # What a template of a variable that is not set leaves of it.
            del options["instance"]
        meant = [self._unknown(name, item, named) for name in options if name not in self._names]
        for name in self._required:
            if name not in options and name not in meant:
                self._problems.add(item() if item else named(name), name + " is missing" if item else "is missing")
        for name, reader in self._readers.items():
            if name in options:
                options[name] = reader(options[name], _at(item, named(name)))
        return options

    def _unknown(self, name: t.Any, item: t.Optional[Where], named: t.Callable[[str], str]) -> str:
        """Report an unknown name; returns the option that was probably meant."""
        meant, shown = nearest(str(name), self._names), shorten(str(name))
        known = ", ".join(sorted(self._names))
        remedy = "did you mean {0}?".format(named(meant)) if meant else "the options are {0}".format(known)
        if item:
            self._problems.add(item(), "has no option {0}; {1}".format(shown, remedy))
        else:
            self._problems.add(named(shown), "is not an option; {0}".format(remedy))
        return meant

    def _reader(self, name: str, option: t.Mapping[str, t.Any]) -> t.Callable[[t.Any, Where], t.Any]:
        kind = option["type"]
        if "options" in option:
            inside = _Options(option["options"], self._problems)
            if kind == "dict":
                return lambda value, where: self._dict(inside, value, where)
            return lambda value, where: self._items(inside, BARE.get(name, ""), value, where)
        if kind == "list":
            return lambda value, where: self._each(option, value, where)
        return lambda value, where: self._scalar(kind, option.get("choices"), value, where)

    def _dict(self, inside: _Options, value: t.Any, where: Where) -> t.Any:
        value = _parsed(value)
        if isinstance(value, Mapping):
            return inside.read(value, where)
        self._problems.add(where(), "'{0}' is not a dictionary".format(shorten(str(value))))
        return value

    def _items(self, inside: _Options, bare: str, value: t.Any, where: Where) -> t.Any:
        value = _parsed(value)
        if bare and isinstance(value, str):
            value = [each.strip() for each in value.split(",")]
        if isinstance(value, Mapping):
            self._problems.add(where(), "is a single item, but must be a list; put '- ' in front of it")
            return value
        if isinstance(value, str) or not isinstance(value, Sequence):
            self._problems.add(where(), "'{0}' is not a list; {1}".format(shorten(str(value)), inside.remedy))
            return value
        found = []
        for index, each in enumerate(value):
            item = {bare: each} if bare and isinstance(each, str) else each
            if isinstance(item, Mapping):
                found.append(inside.read(item, _item(where, index, item)))
            else:
                shown = "is empty" if each is None else "'{0}' is not an item".format(shorten(str(each)))
                self._problems.add("{0}[{1}]".format(where(), index), "{0}; {1}".format(shown, inside.remedy))
        return found

    @property
    def remedy(self) -> str:
        words = ", ".join(name + ": …" for name in self._required)
        return "write an item as {" + words + "}"

    def _each(self, option: t.Mapping[str, t.Any], value: t.Any, where: Where) -> t.Any:
        """A list of plain values, a single value, or comma-separated text (as given with ``-e``)."""
        value = _parsed(value)
        values = value.split(",") if isinstance(value, str) else value
        if isinstance(values, (Mapping, bool)):
            self._problems.add(where(), "'{0}' is not a list".format(shorten(str(value))))
            return value
        for each in values if isinstance(values, Sequence) else [values]:
            self._scalar(option["elements"], option.get("choices"), each, where)
        return value

    def _scalar(self, kind: str, choices: t.Optional[t.Sequence[str]], value: t.Any, where: Where) -> t.Any:
        shown = shorten(str(value))
        try:
            if kind == "bool":
                check_type_bool(value)
            elif kind == "int":
                check_type_int(value)
        except (TypeError, ValueError, OverflowError):  # of "x", and of .nan and .inf
            what = "neither true nor false" if kind == "bool" else "not an integer"
            self._problems.add(where(), "'{0}' is {1}".format(shown, what))
        if choices and str(value).strip() not in choices:
            meant = nearest(str(value), choices)
            remedy = "; did you mean {0}?".format(meant) if meant else ""
            self._problems.add(where(), "'{0}' is not one of {1}{2}".format(shown, ", ".join(choices), remedy))
        return value


def _has_shape(option: t.Mapping[str, t.Any]) -> bool:
    kinds = {option["type"], option.get("elements", "str")}
    return bool(option.get("choices")) or "options" in option or not kinds <= {"str", "list"}


def _at(item: t.Optional[Where], name: str) -> Where:
    return (lambda: "{0}: {1}".format(item(), name)) if item else (lambda: name)


def _item(where: Where, index: int, item: t.Mapping[str, t.Any]) -> Where:
    def words() -> str:
        name = item.get("name")
        return "{0}[{1}]{2}".format(where(), index, " '{0}'".format(shorten(str(name))) if name else "")

    return words


def _parsed(value: t.Any) -> t.Any:
    """Parse a list or dictionary given as text: ``-e gateway_wans=[…]``, or an AWX survey."""
    if isinstance(value, str) and value.strip()[:1] in ("[", "{"):
        for parse in (json.loads, ast.literal_eval):
            try:
                return parse(value)
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
    return value
