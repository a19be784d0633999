"""Verify a ledger by playing its world again from genesis and comparing every row.

What a turn took in stands in ``submissions``, ``actions`` and ``inference``. From these the rules
make everything else again; each row that is stored must be the row that they make. A row of what
was taken in can not be made from anything: the seal of its turn covers it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from sim_engine.ledger import rows, tables, taken_in
from sim_engine.ledger.audit import (
    Sums,
    check_digests,
    check_seal,
    check_structure,
    check_sums,
    check_totals,
    compare,
    digest,
    noting,
    sealed_turn,
)
from sim_engine.ledger.file import check_protocol
from sim_engine.ledger.journal import HISTORY, SealedTurn, write_up, write_up_genesis
from sim_engine.ledger.pages import Pages, open_pages
from sim_engine.ledger.pool_check import check_pool
from sim_engine.ledger.report import Broken, Difference, Progress, Report
from sim_engine.ledger.rows import Row
from sim_engine.ledger.seal import digest_rows
from sim_engine.ledger.taken_in import TakenIn
from sim_engine.rules.genesis import create_world
from sim_engine.rules.in_hand import Turn
from sim_engine.rules.rejections import InvariantViolation
from sim_engine.rules.state import Contract, World
from sim_engine.rules.turn import process
from sim_engine.types.config import Config
from sim_engine.types.fields import AGENT_ID_PATTERN

NUMBER_PATTERN: Final = r"[0-9]{1,20}"
"""A number of the config, as it is stored."""

CONTRACT: Final = "SELECT * FROM contracts NOT INDEXED WHERE number = ?"
CONTRACT_COLUMNS: Final = tuple(column.name for column in tables.contracts.columns)


def verify(path: Path, progress: Progress) -> Report:
    """Replay a ledger from genesis and compare every row of history and state.

    Memory does not grow with the length of the history. Raises ForeignDatabase if the file is no
    ledger of this schema version, or its world none of these rules.
    """
    report = Report()
    with noting(path, report), open_pages(path) as pages:
        check_structure(pages)
        replay = _Replay(path, pages, report)
        sums = replay.run(progress)
        check_totals(pages, report)
        replay.compare_state()
        check_sums(pages, report, sums)
        report.turn_hash = pages.last_turn_hash()
    return report


class _Replay:
    """A world that is played again beside the ledger that it came from."""

    def __init__(self, path: Path, pages: Pages, report: Report) -> None:
        self._path = path
        self._pages = pages
        self._report = report
        self._world: World
        self._taken_in: TakenIn
        self._sums = Sums()
        self._expected: Mapping[str, str] = {}
        """Digests of what the rules made of the turn in hand, once they have."""

    def run(self, progress: Progress) -> Mapping[str, int]:
        """Play every turn; returns the sums of accounts. Raises Broken at the first difference."""
        last = self._pages.number("SELECT max(turn) FROM turns NOT INDEXED")
        self._genesis()
        self._sums.add(self._world.books.entries)
        progress(0, last)
        for number in range(1, last + 1):
            self._turn(number)
            self._sums.add(self._world.books.entries)
            progress(number, last)
        return self._sums.by_account

    def compare_state(self) -> None:
        """Compare the newest state: agents, cores, open contracts. Raises Broken."""
        world = self._world
        initial: dict[str, int] = dict(
            self._pages.select("SELECT agent_id, initial_balance FROM agents NOT INDEXED")
        )
        agents = [
            (agent.agent_id, *state, initial.get(agent.agent_id), position)
            for agent in world.roster
            for *state, position in [rows.agent_row(agent)]
        ]
        self._compare_all("agents", "position", agents)
        cores = [(core.core_id, core.owner and core.owner.agent_id) for core in world.cores]
        self._compare_all("cores", "core_id", cores)
        for contract in world.open_contracts.values():
            self._compare_contract(contract)
        unknown = self._pages.select(
            "SELECT * FROM contracts NOT INDEXED WHERE number < 1 OR number > ?",
            world.last_contract,
        )
        compare(self._report, "contracts", unknown, [])
        last_queued = self._taken_in.last_queued
        check_pool(self._pages, world.agents, last_turn=world.turn, last_queued=last_queued)

    def _genesis(self) -> None:
        stored = self._pages.select(f"SELECT * FROM {tables.itself('config')} ORDER BY key")
        self._report.counts["config"] = len(stored)
        found = digest("config", stored)
        values: dict[Any, Any] = dict(stored)
        if check_seal(0, "", sealed_turn(self._pages, 0))["config"] == found:
            check_protocol(values.get("protocol_version"), self._path)
        seed, config = _read_config(values)
        balances: dict[str, int] = dict(
            self._pages.select(
                "SELECT agent_id, initial_balance FROM agents NOT INDEXED ORDER BY position"
            )
        )
        for agent_id, balance in balances.items():
            if not isinstance(agent_id, str) or not re.fullmatch(AGENT_ID_PATTERN, agent_id):
                raise Broken(Difference("agents", f"agent_id={agent_id}", agent_id, "an id"))
            if type(balance) is not int or balance < 0:
                raise Broken(
                    Difference("agents", f"agent_id={agent_id}", balance, "an initial balance")
                )
        world = create_world(seed, balances, config)
        world.find_ended = self._find_ended
        self._world = world
        self._taken_in = TakenIn(self._pages, world.agents)
        try:
            self._compare_history(write_up_genesis(world, stored), ("entries", "blocks"))
        except (Broken, TypeError):
            self._blame_what_began(stored, balances)
            raise

    def _turn(self, number: int) -> None:
        previous = self._world.turn_hash
        self._expected = {}
        try:
            self._play(number)
        except (Broken, InvariantViolation, TypeError) as failure:
            self._blame_what_was_taken_in(number, previous, failure)
            if isinstance(failure, InvariantViolation):
                raise Broken(
                    Difference("turns", f"turn={number}", "a sealed turn", f"none: {failure}")
                ) from None
            raise

    def _play(self, number: int) -> None:
        """Play a turn and compare all that it made."""
        intake = self._taken_in.of_turn(number)
        turn = process(self._world, intake.submitted)
        self._compare_history(write_up(turn, intake), HISTORY)
        self._compare_ended(turn)

    def _blame_what_began(self, config_rows: list[Row], balances: dict[str, int]) -> None:
        """Find out why genesis differs: by its config, its entries, or the roster.

        Raises Broken with a part that is not as it was sealed; the roster is what is left when all
        of those are. Returns if the rows of the differing table are the ones to name.
        """
        begun = sealed_turn(self._pages, 0)
        sealed = check_seal(0, "", begun)
        check_digests(0, {"config": sealed["config"]}, {"config": digest("config", config_rows)})
        stored = {name: self._pages.of_turn(name, 0) for name in ("entries", "blocks")}
        again = {name: digest(name, found) for name, found in stored.items()}
        again["turns"] = digest_rows([begun[2:-1]])
        if any(again[name] != sealed[name] for name in again):
            return
        paid = {target: amount for _, _, _, target, amount, _, _ in stored["entries"]}
        for agent_id, balance in balances.items():
            found = paid.get(f"agent:{agent_id}", 0)
            if found != balance:
                raise Broken(Difference("agents", f"agent_id={agent_id}", balance, found))
        raise Broken(Difference("agents", "turn=0", "another order", "the order of genesis"))

    def _blame_what_was_taken_in(self, turn: int, previous: str, failure: Exception) -> None:
        """Find out why a turn differs: what it took in is known to be wrong by its digest alone.

        Raises Broken with what is not as it was sealed; returns if all of that is, or if the
        failure names the very row, as the rows that were expected are those that were sealed.
        """
        sealed = check_seal(turn, previous, sealed_turn(self._pages, turn))
        for name in taken_in.TABLES:
            found = digest(name, self._pages.of_turn(name, turn))
            if found == sealed[name]:
                continue
            if isinstance(failure, Broken) and self._expected.get(name) == sealed[name]:
                return
            check_digests(turn, {name: sealed[name]}, {name: found})

    def _compare_history(self, sealed: SealedTurn, names: tuple[str, ...]) -> None:
        """Compare what a turn appended, then its seal.

        Rows that hash to the digest of the expected ones are those; others are compared one by one.
        """
        self._expected = sealed.digests
        for name in names:
            hashed = self._taken_in.hashed.get(name)
            count, found = hashed or self._pages.digest_of_turn(name, sealed.turn)
            if found == sealed.digests[name]:
                self._report.counts[name] += count
            else:
                stored = self._pages.of_turn(name, sealed.turn)
                compare(self._report, name, stored, sealed.appended[name])
        stored = self._pages.of_turn("turns", sealed.turn)
        compare(self._report, "turns", stored, sealed.appended["turns"])
        if sealed.turn == 0:
            self._report.counts["turns"] = 0

    def _compare_ended(self, turn: Turn) -> None:
        """Compare the contracts that ended in the turn: they never change again."""
        for _, contract in sorted(turn.changed_contracts.items()):
            if not contract.is_open:
                self._compare_contract(contract)

    def _compare_contract(self, contract: Contract) -> None:
        stored = self._pages.select(CONTRACT, contract.number)
        compare(self._report, "contracts", stored, [rows.contract_row(contract)])

    def _compare_all(self, table: str, key: str, expected: list[Row]) -> None:
        stored = self._pages.select(f'SELECT * FROM {tables.itself(table)} ORDER BY "{key}"')
        compare(self._report, table, stored, expected)

    def _find_ended(self, number: int) -> Contract | None:
        """Read a contract that ended earlier: its row was compared when it did."""
        found = self._pages.select(CONTRACT, number)
        if not found:
            raise Broken(Difference("contracts", f"number={number}", None, "a contract"))
        return rows.read_contract(
            dict(zip(CONTRACT_COLUMNS, found[0], strict=True)), self._world.agents
        )


def _read_config(stored: dict[Any, Any]) -> tuple[str, Config]:
    """Read seed and config. Raises Broken where a key is missing or its value can not be."""
    numbers = {}
    for name in Config.__slots__:
        text = stored.get(name)
        if not isinstance(text, str) or not re.fullmatch(NUMBER_PATTERN, text):
            raise Broken(Difference("config", f"key={name}", text, "a number"))
        numbers[name] = int(text)
    try:
        config = Config(**numbers)
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        raise Broken(
            Difference("config", f"key={name}", numbers.get(name), "a value in its bounds")
        ) from None
    seed = stored.get("seed")
    if not isinstance(seed, str):
        raise Broken(Difference("config", "key=seed", seed, "a text"))
    return seed, config
