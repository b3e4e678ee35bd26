# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write what the code already says: from the module's options, the role's variables, their defaults, how the role hands
them over, and their page; from what the module returns, the table of the role's result; from the backends' features,
the table of backends.

python tools/generate.py           writes the files
tools/generate.py --check   exits 1 and names those that differ
"""

from __future__ import annotations

import importlib
import json
import pathlib
import re
import sys
import typing as t

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
SPEC = ROOT / "roles/gateway/meta/argument_specs.yml"
CLIENT_SPEC = ROOT / "roles/lan_client/meta/argument_specs.yml"
CLIENT_DEFAULTS = ROOT / "roles/lan_client/defaults/main.yml"
CLIENT_APPLY = ROOT / "roles/lan_client/tasks/apply.yml"
DEFAULTS = ROOT / "roles/gateway/defaults/main.yml"
APPLY = ROOT / "roles/gateway/tasks/apply.yml"
TABLE = ROOT / "docs/backends.md"
OPTIONS = ROOT / "docs/options.md"
PLAYBOOKS = ROOT / "docs/playbooks.md"
COLLECTION = "ansible_collections.ipmasq.linux.plugins"
BEGIN_ARGUMENTS, END_ARGUMENTS = "    # begin: arguments, written by tools/generate.py\n", "    # end: arguments\n"
BEGIN, END = "<!-- begin: features, written by tools/generate.py -->", "<!-- end: features -->"
BEGIN_OPTIONS, END_OPTIONS = "<!-- begin: options, written by tools/generate.py -->", "<!-- end: options -->"
BEGIN_RESULT, END_RESULT = "<!-- begin: result, written by tools/generate.py -->", "<!-- end: result -->"
#: Ansible's semantic markup: O(name), V(value), M(module), C(code), RV(name), and its older letters.
MARKUP = re.compile(r"\b(?:O|V|C|RV|E|M|P)\(((?:[^()\\]|\\.)*)\)")
HEADER = """\
# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Written by tools/generate.py from the documentation of the module {0}. Change that instead.
---
"""
DESCRIBED = "# meta/argument_specs.yml describes these variables. All of them are optional.\n"
DESCRIPTION = [
    "Without variables, the interfaces of default routes become WANs, and every other interface with a private address "
    "becomes a LAN. The role prints its choice as variables, and later runs keep it.",
    "The role runs one module on a host where nothing must be installed. It does not need facts.",
]
#: How a role's task hands an option over.
OMITTED = '    {1}: "{{{{ omit if {0}_{1} is none else {0}_{1} }}}}"\n'
#: Options of the role that the module does not have.
ROLE_ONLY = {
    "gateway_install": {
        "description": "Whether to install nftables (or iptables), iproute2 and conntrack if nft or ip is missing, "
        "dnsmasq if LANs have services, and tc if a change cannot be proven without it.",
        "type": "raw",
        "default": True,
    }
}
CLIENT_DESCRIPTION = [
    "Sets the default route and DNS through the gateway, at once and at every boot, under systemd-networkd, netplan, "
    "ifupdown, NetworkManager and dhcpcd. A change of a default route that cuts Ansible off is rolled back.",
    "Without variables, the gateway is the address of a host in group C(gateways) that is in a network of this host.",
    "A host under another network manager is left unchanged, and the message says what to do there.",
    "The role runs the module M(ipmasq.linux.lan_client), once where nothing has to change. It does not need facts.",
]
#: Variables of the role lan_client that are not what the option of that name is.
CLIENT_ONLY = {
    "lan_client_gateways": {
        "description": [
            "The inventory group whose hosts may be this host's gateway.",
            "Their addresses are taken from the variable C(gateway_addresses) (a list), from what the role "
            "P(ipmasq.linux.gateway#role) returned earlier in the same run of C(ansible-playbook), from facts where "
            "they were gathered, from C(lab_addresses) of the lab and from C(ansible_host). If none of these lies in a "
            "network of this host, the gateways are asked, once for all clients.",
        ],
        "type": "raw",
        "default": "gateways",
    }
}

#: What the task hands over in place of such a variable.
CLIENT_HANDED = {"lan_client_gateways": "lan_client__candidates"}


#: An option of a module or of a role, as its documentation has it.
Option = t.Dict[str, t.Any]


class Dumper(yaml.SafeDumper):
    """YAML as people write it: lists are below their key, indented."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, _data: t.Any) -> bool:
        return True


def role_options(shown: t.Callable[[Option], Option]) -> Option:
    """The variables of the role gateway: name to option, in the module's order."""
    module = importlib.import_module(COLLECTION + ".modules.gateway")
    fragment = importlib.import_module(COLLECTION + ".doc_fragments.options").ModuleDocFragment
    options = {}
    for text in (module.DOCUMENTATION, fragment.DOCUMENTATION, fragment.BACKEND, fragment.CONFIRM):
        options.update(yaml.safe_load(text)["options"])
    return dict({"gateway_" + name: shown(option) for name, option in options.items()}, **ROLE_ONLY)


def role_spec() -> str:
    module = importlib.import_module(COLLECTION + ".modules.gateway")
    main = {
        "short_description": yaml.safe_load(module.DOCUMENTATION)["short_description"],
        "description": DESCRIPTION,
        "author": ["ipmasq.linux contributors"],
        "options": role_options(variable_of),
    }
    # Not of the entry point main: Ansible would template and copy every option before a task that checks nothing.
    return HEADER.format("gateway") + dumped({"argument_specs": {"apply": main}})


def client_options(shown: t.Callable[[Option, str], Option]) -> Option:
    """The variables of the role lan_client: name to option, in the module's order."""
    module = importlib.import_module(COLLECTION + ".modules.lan_client")
    fragment = importlib.import_module(COLLECTION + ".doc_fragments.options").ModuleDocFragment
    texts = (module.DOCUMENTATION, fragment.CONFIRM_CLIENT)
    options = {name: option for text in texts for name, option in yaml.safe_load(text)["options"].items()}
    return {
        **{"lan_client_" + name: shown(option, "lan_client_") for name, option in options.items()},
        **CLIENT_ONLY,
    }


def client_spec() -> str:
    module = importlib.import_module(COLLECTION + ".modules.lan_client")
    main = {
        "short_description": yaml.safe_load(module.DOCUMENTATION)["short_description"],
        "description": CLIENT_DESCRIPTION,
        "author": ["ipmasq.linux contributors"],
        "options": client_options(variable_of),
    }
    # Not of the entry point main: Ansible's own validation would speak first, and show the whole of this.
    return HEADER.format("lan_client") + dumped({"argument_specs": {"apply": main}})


def client_defaults() -> str:
    defaults = {name: option["default"] for name, option in client_options(option_of).items()}
    return HEADER.format("lan_client") + DESCRIBED + dumped(defaults)


def client_arguments() -> str:
    """What is null is left out, as in the role gateway; what the role finds by itself is never null."""
    names = [name[len("lan_client_") :] for name in client_options(option_of)]
    handed = {name: CLIENT_HANDED.get("lan_client_" + name) for name in names}
    return "".join(
        '    {0}: "{{{{ {1} }}}}"\n'.format(name, found) if found else OMITTED.format("lan_client", name)
        for name, found in handed.items()
    )


def role_defaults() -> str:
    """A list without a default is null, because to leave it out means something of its own."""
    nothing: dict[str, t.Any] = {"dict": {}}
    defaults = {
        name: option.get("default", nothing.get(option["type"])) for name, option in role_options(option_of).items()
    }
    return HEADER.format("gateway") + DESCRIBED + dumped(defaults)


def role_arguments() -> str:
    """What is null is left out, because templates of ansible-core before 2.19 turn it into text."""
    names = [name[len("gateway_") :] for name in role_options(option_of) if name not in ROLE_ONLY]
    long = importlib.import_module(COLLECTION + ".module_utils._intent.argspec").LONG
    names = [name for name in names if name not in long]
    return "".join(OMITTED.format("gateway", name) for name in names)


def dumped(value: t.Any) -> str:
    return yaml.dump(value, Dumper=Dumper, sort_keys=False, width=88, allow_unicode=True)


def variable_of(option: Option, prefix: str = "gateway_") -> Option:
    """A variable that Ansible does not check: it names no item, reports one mistake at a time, refuses empty values.

    The task does (plugins/plugin_utils/arguments.py), with the same message however the role is called.
    """
    found = dict(option_of(option, prefix), type="raw")
    of = "dictionaries" if found.pop("elements", "") == "dict" else "words"
    words = {"bool": "V(true) or V(false).", "int": "A number.", "dict": "A dictionary."}
    words["list"] = "A list of {0}.".format(of)
    choices = ", ".join("V({0})".format(each) for each in found.pop("choices", ()))
    told = [words[option["type"]]] if option["type"] in words else []
    told += ["{0} of {1}.".format("Any" if option["type"] == "list" else "One", choices)] if choices else []
    described = found["description"]
    found["description"] = ([described] if isinstance(described, str) else described) + [" ".join(told)] * bool(told)
    return found


def option_of(option: Option, prefix: str = "gateway_") -> Option:
    """An option of the module in the form of a role's: suboptions are options, and names carry the prefix."""
    found: Option = {}
    for key, value in option.items():
        if key == "suboptions":
            found["options"] = {name: option_of(each, prefix) for name, each in value.items()}
        elif key == "description":
            many = isinstance(value, list)
            found[key] = [prefixed(text, prefix) for text in value] if many else prefixed(value, prefix)
        elif key != "version_added":
            found[key] = value
    return found


def prefixed(text: str, prefix: str) -> str:
    return re.sub(r"\bO\(", "V(" + prefix, text)


def feature_table() -> str:
    features = importlib.import_module(COLLECTION + ".module_utils._backend.features").FEATURES
    nftables = importlib.import_module(COLLECTION + ".module_utils._backend.nftables.backend").Nftables
    iptables = importlib.import_module(COLLECTION + ".module_utils._backend.iptables.backend").Iptables
    lines = ["| what you write | nftables | iptables |", "|---|---|---|"]
    for name, (words, _remedy) in features.items():
        cells = [cell(backend.features, name) for backend in (nftables, iptables)]
        lines.append("| {0} | {1} | {2} |".format(words, *cells))
    return "\n".join(lines)


def cell(features: dict[str, str], name: str) -> str:
    if name not in features:
        return "no"
    return "yes" + (": " + features[name] if features[name] else "")


def options_text() -> str:
    """Every variable of the role, and a table for each list of items."""
    options = role_options(option_of)
    parts = ["## Variables of the role `gateway`", ""] + option_table(options)
    for name, option in options.items():
        if "options" in option:
            parts += ["", "### Keys of `{0}`".format(name), ""] + option_table(option["options"])
            for key, each in option["options"].items():
                if "options" in each:
                    parts += ["", "Keys of `{0}` in it:".format(key), ""] + option_table(each["options"])
    return "\n".join(parts)


def option_table(options: Option) -> list[str]:
    lines = ["| name | type | default | meaning |", "|---|---|---|---|"]
    for name, option in options.items():
        lines.append(
            "| `{0}` | {1} | {2} | {3} |".format(name, kind_of(option), default_of(option), meaning_of(option))
        )
    return lines


def kind_of(option: Option) -> str:
    kind = option.get("type", "str")
    if kind == "list":
        return "list of {0}".format({"str": "strings", "int": "integers", "dict": "dicts"}[option["elements"]])
    return (
        "one of {0}".format(", ".join("`{0}`".format(each) for each in option["choices"]))
        if "choices" in option
        else kind
    )


def default_of(option: Option) -> str:
    if option.get("required"):
        return "*required*"
    default = option.get("default")
    return "" if default is None else "`{0}`".format(json.dumps(default).strip('"'))


def meaning_of(option: Option) -> str:
    description = option["description"]
    text = " ".join(description) if isinstance(description, list) else description
    return MARKUP.sub(plain, text).replace("|", "\\|")


def result_text() -> str:
    """Everything that the role's result contains, in the words of the role."""
    returned = yaml.safe_load(importlib.import_module(COLLECTION + ".modules.gateway").RETURN)
    lines = ["| key | type | returned | meaning |", "|---|---|---|---|"]
    return "\n".join(lines + list(result_rows(returned, "", "")))


def result_rows(keys: Option, before: str, returned: str) -> t.Iterator[str]:
    for name, value in keys.items():
        when = value.get("returned", returned)
        words = meaning_of(option_of(value)).replace("#role`", "`")
        shown = MARKUP.sub(plain, prefixed(when, "gateway_"))
        yield "| `{0}` | {1} | {2} | {3} |".format(before + name, kind_of(value), shown, words)
        many = "[]" * (value["type"] == "list")
        yield from result_rows(value.get("contains", {}), "{0}{1}{2}.".format(before, name, many), when)


def plain(found: re.Match[str]) -> str:
    return "`{0}`".format(found.group(1).replace("\\", "").replace("ignore:", ""))


def between(path: pathlib.Path, begin: str, end: str, text: str) -> str:
    """A file with the text between two marks replaced."""
    before, _begin, rest = path.read_text(encoding="utf-8").partition(begin)
    _old, _end, after = rest.partition(end)
    return before + begin + text + end + after


def main(arguments: list[str]) -> int:
    wanted = {
        SPEC: role_spec(),
        CLIENT_SPEC: client_spec(),
        CLIENT_DEFAULTS: client_defaults(),
        CLIENT_APPLY: between(CLIENT_APPLY, BEGIN_ARGUMENTS, END_ARGUMENTS, client_arguments()),
        DEFAULTS: role_defaults(),
        APPLY: between(APPLY, BEGIN_ARGUMENTS, END_ARGUMENTS, role_arguments()),
        TABLE: between(TABLE, BEGIN, END, "\n\n{0}\n\n".format(feature_table())),
        OPTIONS: between(OPTIONS, BEGIN_OPTIONS, END_OPTIONS, "\n\n{0}\n\n".format(options_text())),
        PLAYBOOKS: between(PLAYBOOKS, BEGIN_RESULT, END_RESULT, "\n\n{0}\n\n".format(result_text())),
    }
    different = [path for path, text in wanted.items() if path.read_text(encoding="utf-8") != text]
    if arguments == ["--check"]:
        for path in different:
            print("{0}: not as the code says; run tools/generate.py".format(path.relative_to(ROOT)))
        return 1 if different else 0
    for path in different:
        path.write_text(wanted[path], encoding="utf-8")
        print("{0}: written".format(path.relative_to(ROOT)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
