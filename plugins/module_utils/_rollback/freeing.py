# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Before a change is kept: whether its files can be put into their places, and others removed."""

from __future__ import annotations

import shlex
import typing as t

#: A file that is immutable (chattr +i) or a mount cannot be replaced; check that in advance. It cannot have a second
#: name either, and one process tries that for all files of our own folder. The second name of any other file is there,
#: too, where the loader removes it if the power goes, unless it is on another file system.
#: What is in an immutable folder, or in one to which files may only be added (chattr +a), may have a second name and
#: yet stays where it is. rmdir(2) asks for the same permission as unlink(2) and rename(2), and does nothing to a file,
#: or to a folder that is not empty.
FREE_TEXT = """\
give_up() {{
    [ $# = 0 ] || echo "$1 cannot be replaced" >&2
    rm -rf {begun}
    put_back
    exit 1
}}
put_back() {{
    {put_back}
}}
free() {{
    [ -e "$1" ] || return 0
    [ ! -d "$1" ] || return 1
    if ln -f "$1" {second}/one 2> /dev/null; then
        return 0
    elif ln "$1" "$1{old}" 2> /dev/null; then
        rm -f "$1{old}"
    else
        mv -f "$1" "$1{old}" && mv -f "$1{old}" "$1" && return 0
        [ ! -e "$1" ] || rm -f "$1{old}"
        return 1
    fi
}}
free_ours() {{
    for path do
        shift
        [ ! -e "$path" ] || set -- "$@" "$path"
    done
    [ $# != 0 ] && ! ln "$@" {second} 2> /dev/null || return 0
    for path do
        free "$path" || give_up "$path"
    done
}}
removable() {{
    for path do
        shift
        [ ! -e "$path" ] && [ ! -L "$path" ] || set -- "$@" "$path"
    done
    [ $# = 0 ] || ! is_refused "$@" || for path do
        ! is_refused "$path" || give_up "$path"
    done
}}
is_refused() {{
    ! LC_ALL=C rmdir "$@" 2>&1 | while IFS= read -r said; do
        case "$said" in
        *': Operation not permitted'* | *': Permission denied'* | *': Read-only file system'*) exit 1 ;;
        esac
    done
}}
"""
OLD = ".ipmasq-old"


def put_back(files: t.Iterable[str], stale: t.Iterable[str]) -> t.List[str]:
    """Undo what ``free`` has left if it was killed: a second name of a file, or a file under that name alone."""
    olds = quoted(path + OLD for path in [*files, *stale])
    one = '[ ! -e "$old" ] || { [ -e "${old%.*}" ] && rm -f "$old"; } || mv -f "$old" "${old%.*}"'
    return ["for old in {0}; do {1}; done".format(olds, one)] if olds else []


def quoted(values: t.Iterable[str]) -> str:
    return " ".join(shlex.quote(value) for value in values)
