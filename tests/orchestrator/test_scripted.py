"""The archetypes on a real engine: together they show the whole economy."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import get_args

import pytest

from sim_engine.types.conditions import ActionType
from sim_engine.types.requests import ACTIONS_ADAPTER
from sim_orchestrator.__main__ import main
from sim_orchestrator.minds.scripted import ARCHETYPES, archetype
from sim_orchestrator.minds.scripted.desk import Desk
from tests.orchestrator.observations import observation

ARGUMENTS = ["run", "--minds", "scripted", "--own-engine", "--plain"]


def column(db: Path, query: str) -> set[str]:
    with sqlite3.connect(db) as connection:
        return {row[0] for row in connection.execute(query)}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("scripted")
    run = [*ARGUMENTS, "--turns", "50", "--seed", "archetypes", "--run-dir", str(directory)]
    assert main([*run, "--name", "x"]) == 0
    return directory / "x" / "sim.db"


def test_all_fifteen_actions_are_applied(world):
    applied = column(world, "SELECT DISTINCT type FROM actions WHERE status = 'applied'")
    assert applied == set(get_args(ActionType))


def test_all_six_contract_types_come_to_an_end(world):
    ended = column(world, "SELECT DISTINCT contract_type FROM contracts WHERE status = 'settled'")
    assert ended == {"loan", "forward", "service", "insurance", "information_sale", "pool"}


def test_contracts_are_settled_by_themselves_confirmed_disputed_ruled_and_defaulted(world):
    assert {"settled", "ruled", "defaulted"} <= column(world, "SELECT status FROM contracts")
    how = column(
        world,
        "SELECT DISTINCT settlement FROM contracts WHERE status = 'settled'",
    )
    assert how == {"automatic", "attested"}
    told = column(world, "SELECT DISTINCT type FROM actions WHERE status = 'applied'")
    assert {"confirm_delivery", "dispute_delivery", "arbitrator_ruling"} <= told


def test_simulated_tokens_say_that_they_are(world):
    assert column(world, "SELECT DISTINCT model FROM inference") == {"scripted"}
    with sqlite3.connect(world) as connection:
        least, most = connection.execute(
            "SELECT min(output_tokens), max(output_tokens) FROM inference"
        ).fetchone()
    assert least >= 150
    assert least < most <= 600


def test_few_actions_are_rejected(world):
    with sqlite3.connect(world) as connection:
        counts = dict(connection.execute("SELECT status, count(*) FROM actions GROUP BY status"))
    assert counts["applied"] > 900
    assert counts.get("rejected", 0) < counts["applied"] // 20


@pytest.mark.parametrize("roster", [1, 2, 3])
def test_a_small_roster_plays_too(roster):
    assert main([*ARGUMENTS, "--agents", str(roster), "--turns", "12", "--name", "x"]) == 0
    rejected = column(
        Path("runs/x/sim.db"), "SELECT DISTINCT code FROM actions WHERE code IS NOT NULL"
    )
    assert "unknown_agent" not in rejected
    assert "self_dealing" not in rejected


@pytest.mark.parametrize("role", list(ARCHETYPES))
def test_the_same_seed_gives_the_same_actions_and_all_are_well_formed(role):
    for turn in range(1, 40):
        desks = [Desk(observation(turn=turn), "seed") for _ in range(2)]
        for desk in desks:
            ARCHETYPES[role](desk)
        assert desks[0].actions == desks[1].actions
        ACTIONS_ADAPTER.validate_python(desks[0].actions)
        assert desks[0].points >= 0
        assert desks[0].funds >= 0


def test_archetypes_are_given_out_in_turn():
    assert [archetype(i) for i in range(9)] == [*ARCHETYPES, "worker"]
