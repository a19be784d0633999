"""What is left for those who have to find out why an invariant failed."""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import orjson

from sim_engine.rules.state import World


def write_evidence(
    db_path: Path, reason: str, request: Any, broken: World, sealed: World | None
) -> Path:
    """Write the request, the entries of the failed turn and all changed balances beside the ledger.

    ``broken`` is the world as the failed turn left it in memory, ``sealed`` the world of the
    ledger; the file holds private texts of the request, as the ledger does, and is its owner's to
    read. Returns its path. Raises OSError.
    """
    before = {} if sealed is None else _balances(sealed)
    after = _balances(broken)
    changed = {
        name: [before.get(name, 0), after.get(name, 0)]
        for name in sorted(before.keys() | after.keys())
        if before.get(name, 0) != after.get(name, 0)
    }
    found = {
        "reason": reason,
        "turn": broken.turn,
        "request": request,
        "entries": broken.books.entries,
        "changed_balances": changed,
        "sum_of_all_accounts": sum(after.values()),
    }
    content = orjson.dumps(found, option=orjson.OPT_INDENT_2)
    for number in count(1):
        # A halt that comes again after a restart leaves the evidence of the first one alone.
        again = f"-{number}" if number > 1 else ""
        path = db_path.with_name(f"{db_path.name}.halted-{broken.turn}{again}.json")
        with suppress(FileExistsError), open(path, "xb", opener=_owner_only) as file:
            file.write(content)
            break
    return path


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)


def _balances(world: World) -> dict[str, int]:
    accounts = [
        account
        for agent in world.roster
        for account in (agent.liquid, agent.stake, agent.unbonding, agent.bid)
    ]
    accounts += [contract.account for contract in world.open_contracts.values()]
    accounts += [contract.account for contract in world.just_ended.values()]
    return {account.name: account.balance for account in [*accounts, *world.books.system]}
