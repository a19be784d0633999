"""The views of ``sim.db``, against the same sums made by hand over the journal."""

from __future__ import annotations

import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine

from sim_engine.ledger import tables
from sim_engine.ledger.metrics import gini_bps
from sim_engine.ledger.views import VIEWS
from tests.engine import defaults, harness
from tests.trust import everything

OWN_ACCOUNTS = ("agent", "stake", "unbonding", "bid")
BIG_WORLD_SECONDS = 10.0
"""The views take a tenth of this; a join that reads the journal once a turn takes minutes."""


def query(path: Path, sql: str, *parameters: Any) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql, parameters).fetchall()


def entries(path: Path) -> list[Any]:
    return query(path, "SELECT * FROM entries ORDER BY turn, seq")


def owner(account: str) -> str | None:
    """The agent that an account belongs to."""
    kind, _, agent_id = account.partition(":")
    return agent_id if agent_id and kind in OWN_ACCOUNTS else None


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger in which contracts of every type are broken."""
    path = tmp_path_factory.mktemp("broken") / "sim.db"
    with harness.open_world(path, defaults.AGENTS, defaults.CONFIG) as world:
        defaults.play(world)
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger in which everything has happened."""
    path = tmp_path_factory.mktemp("whole") / "sim.db"
    everything.make(path)
    return path


@pytest.fixture(params=["broken", "whole"])
def ledger(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


def test_views_have_the_columns_that_they_are_said_to_have(whole: Path):
    found = query(whole, "SELECT name FROM sqlite_master WHERE type = 'view'")
    assert {name for (name,) in found} == set(VIEWS.tables)
    for name, view in VIEWS.tables.items():
        columns = [row[1] for row in query(whole, f"PRAGMA table_xinfo({name})")]
        assert view.columns.keys() == columns
        for row in query(whole, f"SELECT * FROM {name}"):
            for column, value in zip(view.columns, row, strict=True):
                assert value is None or type(value) is column.type.python_type, (name, column)


# -- v_income and v_wealth_by_turn -----------------------------------------------------------------


def test_income_is_every_entry_that_makes_an_agent_richer_or_poorer(ledger: Path):
    expected: list[Any] = []
    for turn, _, source, target, amount, reason, reference in entries(ledger):
        payer, payee = owner(source), owner(target)
        if payer != payee:
            expected += [(turn, payer, reason, -amount, reference)] if payer else []
            expected += [(turn, payee, reason, amount, reference)] if payee else []
    found = query(ledger, "SELECT turn, agent_id, reason, amount, reference FROM v_income")
    assert sorted(found) == sorted(expected)
    assert [row[0] for row in found] == sorted(row[0] for row in expected)


def wealth_by_hand(path: Path) -> dict[int, dict[str, int]]:
    """What each agent has at the end of each turn, liquid, staked and unbonding."""
    agents = [agent_id for (agent_id,) in query(path, "SELECT agent_id FROM agents")]
    (last,) = query(path, "SELECT MAX(turn) FROM turns")[0]
    by_turn = {turn: list(rows) for turn, rows in groupby(entries(path), lambda row: row[0])}
    held: defaultdict[str, int] = defaultdict(int)
    found = {}
    for turn in range(last + 1):
        for _, _, source, target, amount, _, _ in by_turn.get(turn, []):
            held[source] -= amount
            held[target] += amount
        found[turn] = {
            agent_id: sum(held[f"{kind}:{agent_id}"] for kind in OWN_ACCOUNTS)
            for agent_id in agents
        }
    return found


def test_wealth_of_every_turn_is_the_sum_of_all_entries_so_far(ledger: Path):
    found: defaultdict[int, dict[str, int]] = defaultdict(dict)
    for turn, agent_id, wealth in query(ledger, "SELECT * FROM v_wealth_by_turn"):
        assert agent_id not in found[turn]
        found[turn][agent_id] = wealth
    assert found == wealth_by_hand(ledger)


def test_wealth_of_the_last_turn_is_what_the_agents_have(ledger: Path):
    latest = (
        "SELECT agent_id, wealth FROM v_wealth_by_turn WHERE turn = (SELECT MAX(turn) FROM turns)"
    )
    now = query(ledger, "SELECT agent_id, wealth FROM v_wealth")
    assert now
    assert sorted(query(ledger, latest)) == sorted(now)


def test_wealth_by_turn_has_the_gini_coefficient_that_was_measured(ledger: Path):
    measured = query(ledger, "SELECT turn, gini_bps FROM turn_metrics ORDER BY turn")
    rows = query(ledger, "SELECT turn, wealth FROM v_wealth_by_turn WHERE turn > 0 ORDER BY turn")
    assert measured == [
        (turn, gini_bps(max(wealth, 0) for _, wealth in of_turn))
        for turn, of_turn in groupby(rows, lambda row: row[0])
    ]
    assert len({gini for _, gini in measured}) > 1


def test_agents_may_be_called_as_accounts_and_contracts_are(tmp_path: Path):
    agents = ["c1", "fees", "cores", "destroyed", "issuance"]
    with harness.open_world(tmp_path / "sim.db", agents, {"commons_per_agent": 0}) as world:
        offer = harness.loan(100, 120, counterparty="fees", arbitrator="cores", duration=1)
        world.turn({"c1": [offer, harness.burn(7, fee=3)], "destroyed": [harness.burn(9)]})
        world.turn(world.signatures("c1", offer), tokens={"issuance": 11, "cores": 5})
        world.turn({"fees": [harness.transfer("c1", 13), harness.stake(50)]})
    now = dict(query(world.db_path, "SELECT agent_id, wealth FROM v_wealth"))
    earned = query(world.db_path, "SELECT agent_id, SUM(amount) FROM v_income GROUP BY agent_id")
    assert dict(earned) == now
    assert wealth_by_hand(world.db_path)[3] == now


# -- v_contract_payments and v_defaults ------------------------------------------------------------


def test_contract_payments_are_all_that_goes_through_an_escrow(ledger: Path):
    types = dict(query(ledger, "SELECT contract_id, contract_type FROM contracts"))
    expected = [
        (turn, cid, types[cid], reason, owner(source), owner(target), amount)
        for turn, _, source, target, amount, reason, _ in entries(ledger)
        for kind, _, cid in (source.partition(":"), target.partition(":"))
        if kind == "contract"
    ]
    assert query(ledger, "SELECT * FROM v_contract_payments") == expected
    in_escrow: defaultdict[str, int] = defaultdict(int)
    for _, contract_id, _, _, payer, _, amount in expected:
        in_escrow[contract_id] += amount if payer else -amount
    stored = query(ledger, "SELECT contract_id, escrow FROM contracts")
    assert {contract_id: in_escrow[contract_id] for contract_id in types} == dict(stored)


def test_an_entry_is_either_a_payment_or_one_of_a_contract(ledger: Path):
    direct = "SELECT turn, reason, payer, payee, amount FROM v_payments"
    through = "SELECT turn, reason, payer, payee, amount FROM v_contract_payments"
    expected = [
        (turn, reason, owner(source), owner(target), amount)
        for turn, _, source, target, amount, reason, _ in entries(ledger)
        if source.startswith("contract:")
        or target.startswith("contract:")
        or source.partition(":")[0] == target.partition(":")[0] == "agent"
    ]
    found = query(ledger, direct) + query(ledger, through)
    assert sorted(map(repr, found)) == sorted(map(repr, expected))


def test_defaults_name_who_broke_which_contract(broken: Path):
    found: defaultdict[str, str] = defaultdict(str)
    for turn, contract_id, contract_type, agent_id in query(broken, "SELECT * FROM v_defaults"):
        ended = query(
            broken,
            "SELECT ended_turn, contract_type FROM contracts WHERE contract_id = ?",
            contract_id,
        )
        assert ended == [(turn, contract_type)]
        found[contract_id] += agent_id
    assert found == defaults.CULPRITS


def test_defaults_are_as_many_as_each_agent_is_known_for(ledger: Path):
    counted = query(ledger, "SELECT agent_id, COUNT(*) FROM v_defaults GROUP BY agent_id")
    known = "SELECT agent_id, contracts_defaulted FROM agents WHERE contracts_defaulted > 0"
    assert sorted(counted) == sorted(query(ledger, known))
    assert counted


# -- size ------------------------------------------------------------------------------------------


@pytest.fixture
def big(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A ledger of 16 agents and 2,000 turns with ten entries for each agent in each turn."""
    database = create_engine(f"sqlite:///{tmp_path / 'big.db'}")
    with database.begin() as connection:
        tables.create_schema(connection)
    database.dispose()
    agents, turns = [f"agent_{number}" for number in range(16)], range(2_001)
    moves = [("issuance", "agent:{}", "wage"), ("agent:{}", "cores", "inference")] * 5
    with closing(sqlite3.connect(tmp_path / "big.db")) as connection:
        for place, agent_id in enumerate(agents):
            row: dict[str, int | str] = {
                column.name: 0 for column in tables.METADATA.tables["agents"].columns
            }
            row |= {"agent_id": agent_id, "position": place, "unbonding": "[]"}
            row |= {"balance": 5 * len(turns)}
            connection.execute(tables.insert_into(tables.agents), list(row.values()))
        blank = [0] * (len(tables.turns.columns) - 1)
        rows: list[tuple[Any, ...]] = [(turn, *blank) for turn in turns]
        connection.executemany(tables.insert_into(tables.turns), rows)
        rows = [
            (turn, seq, source.format(agent_id), target.format(agent_id), amount, reason, "")
            for turn in turns
            for seq, (agent_id, (source, target, reason), amount) in enumerate(
                (agent_id, move, 2 - place % 2)
                for agent_id in agents
                for place, move in enumerate(moves)
            )
        ]
        connection.executemany(tables.insert_into(tables.entries), rows)
        connection.commit()
        yield connection


def test_views_of_a_long_run_answer_soon(big: sqlite3.Connection):
    started = time.perf_counter()
    wealth = big.execute("SELECT turn, agent_id, wealth FROM v_wealth_by_turn").fetchall()
    earned = big.execute("SELECT agent_id, SUM(amount) FROM v_income GROUP BY agent_id").fetchall()
    for view in VIEWS.tables:
        big.execute(f"SELECT COUNT(*) FROM {view}").fetchone()
    assert time.perf_counter() - started < BIG_WORLD_SECONDS
    assert len(wealth) == 16 * 2_001
    assert {held for turn, _, held in wealth if turn == 1_000} == {5 * 1_001}
    assert dict(earned) == dict(big.execute("SELECT agent_id, wealth FROM v_wealth").fetchall())
