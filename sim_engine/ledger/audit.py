"""Check what a ledger says of itself: its rows by turn, its hash chain and its sums.

Nothing here knows the rules; ``ledger.replay`` plays them again. A difference names the table, the
key, what is stored and what should be.
"""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

import orjson

from sim_engine.ledger import tables
from sim_engine.ledger.file import DamagedLedger, ForeignDatabase, using
from sim_engine.ledger.journal import HISTORY
from sim_engine.ledger.pages import Pages, open_pages
from sim_engine.ledger.report import Broken, Difference, Progress, Report
from sim_engine.ledger.rows import Row, Values, to_json
from sim_engine.ledger.seal import digest_rows, seal
from sim_engine.ledger.structure import find_change

GENESIS_PARTS: Final = ("config", "entries", "blocks", "agents", "cores", "turns")
TURN_PARTS: Final = (*HISTORY, "agents", "cores", "contracts", "turns")
HASHED_ONLY: Final = tuple(name for name in HISTORY if name != "entries")
"""The tables of history that are not added up."""

STORED_TYPES: Final = frozenset({int, str, type(None)})
"""What an engine stores in the tables that a seal covers."""

GENESIS_TABLES: Final = ("config", "agents", "turns")
"""Tables that hold nothing only where there is no world."""

DIFFERENCES_MAX: Final = 20
"""How many differences are named before the search is over."""

ACCOUNTS_MIN: Final = 250
"""How many accounts are kept before those that hold nothing are forgotten."""

YOUNG_OBJECTS: Final = 2_000_000
"""How many objects may be made before the garbage collector looks at them: a turn leaves none."""


@contextmanager
def noting(path: Path, report: Report) -> Iterator[None]:
    """Take what ends a verification into its report: a difference, or a file that is damaged.

    Raises LedgerUnavailable if it is the machine that keeps the file from being read.

    Meanwhile the garbage collector runs rarely: it would take a third of the time, to find nothing.
    """
    thresholds = gc.get_threshold()
    gc.set_threshold(YOUNG_OBJECTS)
    try:
        with using(path):
            yield
    except Broken as broken:
        report.differences.append(broken.difference)
    except DamagedLedger as damaged:
        report.differences.append(Difference(path.name, "file", damaged.reason, "a readable file"))
    finally:
        gc.set_threshold(*thresholds)


def verify_hashes(path: Path, progress: Progress) -> Report:
    """Check the hash chain, the history under it and the sums, without playing the rules.

    Memory does not grow with the length of the history. Raises ForeignDatabase if the file is no
    ledger of this schema version.
    """
    report = Report()
    with noting(path, report), open_pages(path) as pages:
        check_structure(pages)
        sums = _check_chain(pages, report, progress)
        check_totals(pages, report)
        check_sums(pages, report, sums)
        report.turn_hash = pages.last_turn_hash()
    return report


def compare(report: Report, table: str, stored: Sequence[Row], expected: Sequence[Row]) -> None:
    """Compare rows in order. Raises Broken with the first that differs."""
    report.counts[table] += len(stored)
    if stored == expected and _types(stored) == _types(expected):
        return
    for mine, right in zip_longest(stored, expected):
        if mine != right or _types([mine]) != _types([right]):
            raise Broken(Difference(table, key_of(table, mine or right), mine, right))


def _types(found: Sequence[Row]) -> list[list[type]]:
    """List the types of values: to Python 1.0 is 1."""
    return [[*map(type, row)] for row in found]


def key_of(table: str, row: Values) -> str:
    """Write the key of a row as ``column=value``."""
    named = dict(zip(_names(table), row, strict=True))
    key = tables.METADATA.tables[table].primary_key
    return ", ".join(shown_in_key(column.name, named[column.name]) for column in key)


def shown_in_key(column: str, value: Any) -> str:
    """Write a value of a key as ``column=value``, in one line whatever it is."""
    plain = isinstance(value, str) and value.isprintable()
    return f"{column}={value if plain else repr(value)}"


def _names(table: str) -> list[str]:
    return tables.METADATA.tables[table].columns.keys()


def digest(table: str, found: Sequence[Row]) -> str:
    """Hash the rows of a table. Raises Broken for a value that no engine would have stored."""
    for row in found:
        if not {type(value) for value in row} <= STORED_TYPES:
            raise Broken(Difference(table, key_of(table, row), row, "integers and texts"))
    try:
        return digest_rows(found)
    except TypeError:
        for row in found:
            try:
                digest_rows([row])
            except TypeError:
                raise Broken(
                    Difference(table, key_of(table, row), row, "numbers and valid text")
                ) from None
        raise


def check_digests(turn: int, stored: Mapping[str, str], found: Mapping[str, str]) -> None:
    """Compare digests of a turn's parts. Raises Broken with the part that was not sealed so."""
    for name in sorted(stored.keys() | found.keys()):
        if stored.get(name) != found.get(name):
            raise Broken(
                Difference(
                    name,
                    f"turn={turn}",
                    f"rows that hash to {found.get(name)}",
                    f"the rows that were sealed, which hash to {stored.get(name)}",
                )
            )


def check_structure(pages: Pages) -> None:
    """Check that the tables are as they were made, and that there is a world. Raises Broken.

    Raises ForeignDatabase for a ledger that no world was made in yet.
    """
    change = find_change(pages.select)
    if change is not None:
        raise Broken(change)
    # NOT INDEXED does for count(*), which would otherwise read the smallest index.
    counts = [f'SELECT count(*) FROM "{name}" NOT INDEXED' for name in GENESIS_TABLES]
    if not any(map(pages.number, counts)):
        raise ForeignDatabase("this ledger holds no world yet: POST /init makes one")


def check_totals(pages: Pages, report: Report) -> None:
    """Look for rows of history that belong to no turn. Raises Broken.

    Every turn has been looked at: there are no other rows if there are as many as were counted.
    """
    last = pages.number("SELECT max(turn) FROM turns NOT INDEXED")
    for table in HISTORY:
        found = pages.number(f'SELECT count(*) FROM "{table}" NOT INDEXED')
        if found != report.counts[table]:
            _blame_a_turn(pages, table, last)
            raise Broken(Difference(table, "number of rows", found, report.counts[table]))
    _blame_a_turn(pages, "turns", last)
    lost = "typeof(turn) <> 'integer' OR turn NOT BETWEEN 1 AND ?"
    for key, turn in pages.select(
        f"SELECT * FROM {tables.itself('turn_keys')} WHERE {lost} LIMIT 1", last
    ):
        key = shown_in_key("idempotency_key", key)
        raise Broken(Difference("turn_keys", key, turn, f"1 … {last}"))


def _blame_a_turn(pages: Pages, table: str, last: int) -> None:
    """Find a row under a turn that was not looked at. Raises Broken for it, or for that turn."""
    first = 0 if table in GENESIS_PARTS else 1
    outside = pages.select(
        f"SELECT * FROM {tables.itself(table)}"
        " WHERE typeof(turn) <> 'integer' OR turn < ? OR turn > ? ORDER BY turn LIMIT 1",
        *(first, last),
    )
    for row in outside:
        turn = dict(zip(_names(table), row, strict=True))["turn"]
        played = turn == last + 1 and table not in ("turns", "turn_metrics")
        if played and pages.number(
            "SELECT count(*) FROM turn_metrics NOT INDEXED WHERE turn = ?", turn
        ):
            # More than a row too many: there was such a turn, and its own row is gone.
            raise Broken(Difference("turns", f"turn={turn}", None, "a sealed turn"))
        raise Broken(Difference(table, key_of(table, row), row, None))


def check_sums(pages: Pages, report: Report, sums: Mapping[str, int]) -> None:
    """Check that every balance is the sum of its entries, and that all of them add up to 0."""
    stored = _stored_balances(pages)
    for account in sorted(stored.keys() | sums.keys()):
        held = stored.get(account, 0)
        if held != sums.get(account, 0) or type(held) is not int:
            table, _, key = account.rpartition(":")
            report.differences.append(
                Difference(
                    {"": "turns", "contract": "contracts"}.get(table, "agents"),
                    f"balance of {account}" if key else account,
                    held,
                    sums.get(account, 0),
                )
            )
            if len(report.differences) >= DIFFERENCES_MAX:
                return
    if report.sound and sum(stored.values()) != 0:
        report.differences.append(
            Difference("agents", "sum of all accounts", sum(stored.values()), 0)
        )


class Sums:
    """The sums of the entries of each account, by its name."""

    def __init__(self) -> None:
        """Begin with nothing moved."""
        self.by_account: defaultdict[str, int] = defaultdict(int)
        self._roomy = ACCOUNTS_MIN

    def add(self, entries: Sequence[Values]) -> None:
        """Add the entries of a turn."""
        by_account = self.by_account
        for _, _, source, target, amount, _, _ in entries:
            by_account[source] -= amount
            by_account[target] += amount
        if len(by_account) > self._roomy:
            # Contracts end with nothing: if they stayed, the sums would grow with the history.
            for account in [account for account, held in by_account.items() if held == 0]:
                del by_account[account]
            self._roomy = max(ACCOUNTS_MIN, 2 * len(by_account))


def read_json(table: str, key: str, text: Any) -> Any:
    """Read a JSON value of a row. Raises Broken where the text is none."""
    try:
        if isinstance(text, str):
            return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    raise Broken(Difference(table, key, text, "JSON"))


def check_seal(turn: int, previous: str, row: Row) -> dict[str, str]:
    """Check that a row of ``turns`` hashes to its ``turn_hash``; returns the digests under it.

    ``previous`` is the ``turn_hash`` of the turn before. Raises Broken.
    """
    _, turn_hash, *_, digests_text = row
    digests = read_json("turns", f"turn={turn}", digests_text)
    wanted = sorted(GENESIS_PARTS if turn == 0 else TURN_PARTS)
    # The text itself is not hashed, what it says is: it must be the one way of saying it.
    if (
        not isinstance(digests, dict)
        or sorted(digests) != wanted
        or to_json(digests) != digests_text
    ):
        raise Broken(Difference("turns", f"turn={turn}", digests_text, f"digests of {wanted}"))
    expected = seal(turn, previous, digests)
    if turn_hash != expected:
        raise Broken(Difference("turns", f"turn={turn}", turn_hash, expected))
    return digests


def _check_chain(pages: Pages, report: Report, progress: Progress) -> Mapping[str, int]:
    """Hash every turn's rows again, and the chain over them; returns the sums of all accounts."""
    sums = Sums()
    last = pages.number("SELECT max(turn) FROM turns NOT INDEXED")
    previous = ""
    for turn in range(last + 1):
        row = sealed_turn(pages, turn)
        sealed = check_seal(turn, previous, row)
        check_digests(turn, {"turns": sealed["turns"]}, {"turns": digest_rows([row[2:-1]])})
        report.counts["turns"] += 1
        if turn == 0:
            config = pages.select(f"SELECT * FROM {tables.itself('config')} ORDER BY key")
            report.counts["config"] = len(config)
            check_digests(0, {"config": sealed["config"]}, {"config": digest("config", config)})
        for name in ("blocks",) if turn == 0 else HASHED_ONLY:
            count, found = pages.digest_of_turn(name, turn)
            _check_part(pages, turn, name, found, sealed)
            report.counts[name] += count
        entries, found = pages.values_of_turn("entries", turn)
        _check_part(pages, turn, "entries", found, sealed)
        report.counts["entries"] += len(entries)
        sums.add(entries)
        previous = row[1]
        progress(turn, last)
    report.counts["turns"] -= 1
    return sums.by_account


def _check_part(pages: Pages, turn: int, name: str, found: str, sealed: Mapping[str, str]) -> None:
    """Check the digest of a part; if it is another, read its rows to say which one is wrong."""
    if found != sealed[name]:
        found = digest(name, pages.of_turn(name, turn))
        check_digests(turn, {name: sealed[name]}, {name: found})


def sealed_turn(pages: Pages, turn: int) -> Row:
    """Read a row of ``turns``. Raises Broken if it is missing, or no engine would store it."""
    found = pages.of_turn("turns", turn)
    if not found:
        raise Broken(Difference("turns", f"turn={turn}", None, "a sealed turn"))
    digest("turns", found)
    return found[0]


def _sum_of_lots(agent_id: str, text: Any) -> int:
    lots = read_json("agents", f"agent_id={agent_id}", text)
    try:
        return sum(amount for amount, _ in lots)
    except (TypeError, ValueError):
        expected = "[[amount, release_turn], …]"
        raise Broken(Difference("agents", f"unbonding of {agent_id}", text, expected)) from None


def _stored_balances(pages: Pages) -> dict[str, int]:
    """Read every balance that the ledger keeps: of agents, contracts and the system."""
    balances: dict[str, int] = {}
    for agent_id, balance, staked, lots in pages.select(
        "SELECT agent_id, balance, staked, unbonding FROM agents NOT INDEXED"
    ):
        balances[f"agent:{agent_id}"] = balance
        balances[f"stake:{agent_id}"] = staked
        balances[f"unbonding:{agent_id}"] = _sum_of_lots(agent_id, lots)
    for contract_id, escrow in pages.select(
        "SELECT contract_id, escrow FROM contracts NOT INDEXED WHERE escrow IS NOT 0"
    ):
        balances[f"contract:{contract_id}"] = escrow
    (system,) = pages.select(
        "SELECT issuance, destroyed, fees, cores FROM turns NOT INDEXED ORDER BY turn DESC LIMIT 1"
    )
    return balances | dict(zip(("issuance", "destroyed", "fees", "cores"), system, strict=True))
