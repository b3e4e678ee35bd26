# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The task of the module gateway, however its code has come to the host."""

from __future__ import annotations

import typing as t

from .asked import tell
from .repeat import forget, repeated

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Sight
    from .asked import Json


def perform(params: t.Mapping[str, t.Any], host: Sight, verbose: bool) -> Json:
    """The result. Raises GatewayError."""

    def step(host: Sight) -> Json:
        # A repeated run ends before this import, which takes 0.2 s of processor time (measured, Python 3.11).
        from .._intent.read import read_gateway  # noqa: PLC0415
        from . import confirming, engine, removing  # noqa: PLC0415

        confirmation = confirming.waiting(params, host)
        if params["state"] == "absent":
            gone = removing.remove_instance(params["instance"], host, confirmation)
            forget(params["instance"], host)
            return gone.to_dict(verbose)
        gateway, problems = read_gateway(params)
        result = engine.apply_gateway(
            gateway,
            params["backend"],
            host,
            problems,
            confirmation=confirmation,
            foreign=params["foreign_drops"],
            proof=params["proof"],
        )
        return result.to_dict(verbose)

    # Removal does not depend on the other options.
    result = step(host) if params["state"] == "absent" else repeated(params, host, step)
    return tell(result, params["instance"], host)
