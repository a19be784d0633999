"""Read a ledger back with suspicion: its rows by turn, its hash chain and its sums.

Nothing here knows the rules; ``ledger.replay`` plays them again. A difference names the table, the
key, what is stored and what should be.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

import orjson
from sqlalchemy import Connection

from sim_engine.ledger import tables
from sim_engine.ledger.journal import HISTORY
from sim_engine.ledger.rows import Row
from sim_engine.ledger.seal import digest_rows, seal
from sim_engine.ledger.store import check_file, open_database

GENESIS_PARTS: Final = ("config", "entries", "blocks", "agents", "cores", "turns")
TURN_PARTS: Final = (*HISTORY, "agents", "cores", "contracts", "turns")
DIFFERENCES_MAX: Final = 20
"""How many differences are named before the search is over."""

Progress = Callable[[int, int], None]
"""Told (turns checked, turns in all)."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where a ledger is not what it should be."""

    table: str
    key: str
    stored: Any
    expected: Any

    def __str__(self) -> str:
        """Say it in one line."""
        return f"{self.table} [{self.key}]: stored {self.stored!r}, expected {self.expected!r}"


@dataclass(slots=True)
class Report:
    """What a verification looked at, and what it found."""

    counts: Counter[str] = field(default_factory=Counter)
    """Rows by table; ``turns`` without genesis."""
    differences: list[Difference] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Tell whether nothing is wrong."""
        return not self.differences


class Broken(Exception):
    """Checking can not go on past this difference."""

    def __init__(self, difference: Difference) -> None:
        """Carry the difference."""
        super().__init__(str(difference))
        self.difference = difference


class Pages:
    """The rows of a ledger by turn, as plain tuples in one snapshot of the file."""

    def __init__(self, connection: Connection) -> None:
        """Read through an open connection."""
        driver = connection.connection.driver_connection
        assert driver is not None
        self._driver: Any = driver
        self._by_turn = {
            name: f'SELECT * FROM "{name}" WHERE turn = ? ORDER BY turn, seq'
            for name in HISTORY
            if name != "turn_metrics"
        }
        self._by_turn["turn_metrics"] = "SELECT * FROM turn_metrics WHERE turn = ?"
        self._by_turn["turns"] = "SELECT * FROM turns WHERE turn = ?"

    def of_turn(self, table: str, turn: int) -> list[Row]:
        """Read a table's rows of a turn, in the order of the history."""
        return self.select(self._by_turn[table], turn)

    def select(self, statement: str, *parameters: Any) -> list[Row]:
        """Read all rows of a query."""
        found: list[Row] = self._driver.execute(statement, parameters).fetchall()
        return found

    def number(self, statement: str, *parameters: Any) -> int:
        """Read a single number; 0 for none."""
        return int(self.select(statement, *parameters)[0][0] or 0)


@contextmanager
def open_pages(path: Path) -> Iterator[Pages]:
    """Open a ledger for reading, in a snapshot that a running engine does not change.

    Raises ForeignDatabase if the file is no ledger, or of another schema version.
    """
    database = open_database(path, read_only=True)
    with database.connect() as connection:
        check_file(connection, path)
        connection.exec_driver_sql("BEGIN")
        yield Pages(connection)
    database.dispose()


def verify_hashes(path: Path, progress: Progress) -> Report:
    """Check the hash chain, the history under it and the sums, without playing the rules."""
    report = Report()
    with open_pages(path) as pages:
        try:
            sums = _check_chain(pages, report, progress)
            check_totals(pages, report)
            check_sums(pages, report, sums)
        except Broken as broken:
            report.differences.append(broken.difference)
    return report


def compare(report: Report, table: str, stored: Sequence[Row], expected: Sequence[Row]) -> None:
    """Compare rows in order. Raises Broken with the first that differs."""
    report.counts[table] += len(stored)
    if stored == expected:
        return
    for mine, right in zip_longest(stored, expected):
        if mine != right:
            raise Broken(Difference(table, key_of(table, mine or right), mine, right))


def key_of(table: str, row: Row) -> str:
    """Write the key of a row as ``column=value``."""
    columns = tables.METADATA.tables[table].columns
    named = dict(zip(columns.keys(), row, strict=True))
    return ", ".join(
        f"{column.name}={named[column.name]}" for column in columns if column.primary_key
    )


def check_digests(turn: int, stored: dict[str, str], found: dict[str, str]) -> None:
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


def check_totals(pages: Pages, report: Report) -> None:
    """Look for rows of history that belong to no turn. Raises Broken."""
    last = pages.number("SELECT max(turn) FROM turns")
    for table in (*HISTORY, "turns"):
        outside = pages.select(
            f'SELECT * FROM "{table}" WHERE turn < 0 OR turn > ? OR turn IS NULL LIMIT 1', last
        )
        if outside:
            raise Broken(Difference(table, key_of(table, outside[0]), outside[0], None))
    for key, turn in pages.select("SELECT * FROM turn_keys"):
        if not 0 < turn <= last:
            raise Broken(Difference("turn_keys", f"idempotency_key={key}", turn, f"1 … {last}"))


def check_sums(pages: Pages, report: Report, sums: dict[str, int]) -> None:
    """Check that every balance is the sum of its entries, and that all of them add up to 0."""
    stored = _stored_balances(pages)
    for account in sorted(stored.keys() | sums.keys()):
        if stored.get(account, 0) != sums.get(account, 0):
            table, _, key = account.rpartition(":")
            report.differences.append(
                Difference(
                    {"": "turns", "contract": "contracts"}.get(table, "agents"),
                    f"balance of {account}" if key else account,
                    stored.get(account, 0),
                    sums.get(account, 0),
                )
            )
            if len(report.differences) >= DIFFERENCES_MAX:
                return
    if report.sound and sum(stored.values()) != 0:
        report.differences.append(
            Difference("agents", "sum of all accounts", sum(stored.values()), 0)
        )


def add_entries(sums: dict[str, int], entries: Sequence[Row]) -> None:
    """Add entries to the sums of the accounts that they move between."""
    for _, _, source, target, amount, _, _ in entries:
        sums[source] -= amount
        sums[target] += amount


def read_json(table: str, key: str, text: Any) -> Any:
    """Read a JSON value of a row. Raises Broken where the text is none."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise Broken(Difference(table, key, text, "JSON")) from None


def _check_chain(pages: Pages, report: Report, progress: Progress) -> dict[str, int]:
    """Hash every turn's rows again, and the chain over them; returns the sums of all accounts."""
    sums: dict[str, int] = defaultdict(int)
    last = pages.number("SELECT max(turn) FROM turns")
    previous = ""
    for turn in range(last + 1):
        found = pages.of_turn("turns", turn)
        if not found:
            raise Broken(Difference("turns", f"turn={turn}", None, "a sealed turn"))
        _, turn_hash, *state, digests_text = found[0]
        sealed = read_json("turns", f"turn={turn}", digests_text)
        parts = _parts_of_history(pages, turn)
        parts["turns"] = [tuple(state)]
        for name, part in parts.items():
            report.counts[name] += len(part)
        again = {name: digest_rows(part) for name, part in parts.items()}
        wanted = GENESIS_PARTS if turn == 0 else TURN_PARTS
        check_digests(turn, {name: sealed.get(name) for name in again}, again)
        expected = seal(turn, previous, {name: sealed.get(name, "") for name in wanted})
        if expected != turn_hash:
            raise Broken(Difference("turns", f"turn={turn}", turn_hash, expected))
        previous = turn_hash
        add_entries(sums, parts["entries"])
        progress(turn, last)
    report.counts["turns"] -= 1
    return sums


def _parts_of_history(pages: Pages, turn: int) -> dict[str, list[Row]]:
    """Read the parts of a turn that stay in the ledger as they were sealed."""
    if turn == 0:
        return {
            "config": pages.select("SELECT * FROM config ORDER BY key"),
            "entries": pages.of_turn("entries", 0),
            "blocks": pages.of_turn("blocks", 0),
        }
    return {name: pages.of_turn(name, turn) for name in HISTORY}


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
        "SELECT agent_id, balance, staked, unbonding FROM agents"
    ):
        balances[f"agent:{agent_id}"] = balance
        balances[f"stake:{agent_id}"] = staked
        balances[f"unbonding:{agent_id}"] = _sum_of_lots(agent_id, lots)
    for contract_id, escrow in pages.select("SELECT contract_id, escrow FROM contracts"):
        balances[f"contract:{contract_id}"] = escrow
    (system,) = pages.select(
        "SELECT issuance, destroyed, fees, cores FROM turns ORDER BY turn DESC LIMIT 1"
    )
    return balances | dict(zip(("issuance", "destroyed", "fees", "cores"), system, strict=True))
