"""The engine against the auditor's books: random worlds, and proof that the auditor can object."""

import copy
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.simulation import simulate
from tests.simulation.auditor import Auditor, Difference, Port, compare
from tests.simulation.port import EnginePort
from tests.simulation.reference.actions import CHECKS_IN_ORDER, POINTS
from tests.simulation.simulate import (
    Failure,
    audit,
    engine_in_a_new_directory,
    main,
    run_world,
    step,
)
from tests.simulation.workload import Workload

SEEDS = range(60, 76)
TURNS = 28
RICH_SEED = 6  # a world in which everything happens that a lie can be about

ENDS = {
    "loan (automatic)": ("settled", "defaulted", "expired"),
    "forward (automatic)": ("settled", "defaulted", "expired"),
    "service (automatic)": ("settled", "defaulted", "expired"),
    "service (attested)": ("settled", "defaulted", "ruled", "lapsed", "expired"),
    "insurance (automatic)": ("settled", "expired"),
    "insurance (attested)": ("settled", "ruled", "lapsed", "expired"),
    "information_sale (automatic)": ("settled", "expired"),
    "information_sale (attested)": ("settled", "defaulted", "ruled", "lapsed", "expired"),
    "pool (automatic)": ("settled", "expired"),
}


@pytest.fixture(scope="module")
def coverage() -> Counter[str]:
    """What a fixed set of worlds covers, each audited turn by turn."""
    total: Counter[str] = Counter()
    for seed in SEEDS:
        total += audit(seed, TURNS)
    return total


def test_the_engine_agrees_with_the_rules_in_every_turn(coverage):
    assert coverage["turns"] == len(SEEDS) * TURNS


@pytest.mark.parametrize("code", ["applied", *CHECKS_IN_ORDER])
def test_every_verdict_is_reached(coverage, code):
    assert coverage[f"verdict {code}"] > 0


@pytest.mark.parametrize("action", POINTS)
def test_every_action_is_applied(coverage, action):
    assert coverage[f"action {action}: applied"] > 0


@pytest.mark.parametrize(
    ("contract", "end"), [(contract, end) for contract, ends in ENDS.items() for end in ends]
)
def test_every_type_of_contract_meets_every_end_it_can_have(coverage, contract, end):
    assert coverage[f"contract {contract}: {end}"] > 0


def test_contracts_meet_no_other_end(coverage):
    under_way = ("proposed", "active", "disputed")
    met = {
        tuple(key.removeprefix("contract ").split(": "))
        for key in coverage
        if key.startswith("contract ") and not key.endswith(under_way)
    }
    assert met == {(contract, end) for contract, ends in ENDS.items() for end in ends}


@pytest.mark.parametrize("kind", ["mine", "stake", "burn"])
def test_blocks_of_every_kind_win_lose_and_fork(coverage, kind):
    assert coverage[f"block {kind}: canonical"] > 0
    assert coverage[f"block {kind}: orphaned"] > 0
    assert coverage[f"fork of {kind} blocks"] > 0


@pytest.mark.parametrize(
    "what", ["malformed", "queued", "repeated", "restarted", "inference billed", "dividends"]
)
def test_the_workload_does_what_clients_do(coverage, what):
    assert coverage[what] > 0


# -- the auditor can object ----------------------------------------------------------------------


class Tampering:
    """An engine that lies in one kind of answer, as soon as the lie is possible."""

    def __init__(self, port: Port, where: str, lie: Callable[[Any], bool]) -> None:
        self.port = port
        self.operator_key = port.operator_key
        self.where = where
        self.lie = lie
        self.lies_told = 0

    def tamper(self, where: str, answer: Any) -> Any:
        if where.startswith(self.where):
            answer = copy.deepcopy(answer)
            self.lies_told += bool(self.lie(answer))
        return answer

    def post(self, path: str, body: Any, key: str | None = None) -> tuple[int, Any, dict[str, str]]:
        status, answer, headers = self.port.post(path, body, key)
        return status, self.tamper(path, answer) if status == 200 else answer, headers

    def get(self, path: str, key: str | None = None) -> Any:
        return self.tamper(path, self.port.get(path, key))

    def restart(self) -> None:
        self.port.restart()

    def rows(self, query: str, *parameters: int | str) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = self.tamper(query, self.port.rows(query, *parameters))
        return rows


def add(key: str, amount: int = 1) -> Callable[[dict[str, Any]], bool]:
    def lie(record: dict[str, Any]) -> bool:
        record[key] += amount
        return True

    return lie


def put(key: str, value: Any) -> Callable[[dict[str, Any]], bool]:
    def lie(record: dict[str, Any]) -> bool:
        changed = bool(record.get(key) != value)
        record[key] = value
        return changed

    return lie


def under(*path: str, last: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Lie about a part of an answer; of a list, about one item that can be lied about."""

    def lie(answer: Any, path: tuple[str, ...] = path) -> bool:
        if isinstance(answer, list):
            return any(lie(item, path) for item in answer)
        return lie(answer[path[0]], path[1:]) if path else last(answer)

    return lie


def drop(*path: str) -> Callable[[Any], bool]:
    """Leave out the last item of a list."""

    def lie(answer: Any) -> bool:
        for key in path:
            answer = answer[key]
        return bool(answer and answer.pop())

    return lie


def change_row(column: int, change: Callable[[Any], Any]) -> Callable[[list[Any]], bool]:
    """Change one column of the last row."""

    def lie(rows: list[Any]) -> bool:
        if rows:
            row = list(rows[-1])
            row[column] = change(row[column])
            rows[-1] = tuple(row)
        return bool(rows)

    return lie


def repeat_row(rows: list[Any]) -> bool:
    rows += rows[-1:]
    return bool(rows)


ENTRIES, TURN, STATE, AGENT = "SELECT seq, source", "/turn", "/state", "/agent/"

LIES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "a receipt's status": (TURN, under("receipts", last=put("status", "pending"))),
    "a receipt's code": (TURN, under("receipts", last=put("code", "unlucky"))),
    "a receipt is missing": (TURN, drop("receipts")),
    "a block's reward": (TURN, under("blocks", last=add("reward"))),
    "a block's producer": (TURN, under("blocks", last=put("producer", "somebody"))),
    "a block is missing": (TURN, drop("blocks")),
    "the bill": (TURN, under("billing", last=add("fees"))),
    "a dividend": (TURN, under("billing", "dividends", last=add("amount"))),
    "a dividend is missing": (TURN, drop("billing", "dividends")),
    "what was issued": (TURN, under("supply", last=add("issued"))),
    "what circulates": (STATE, under("supply", last=add("circulating", -1))),
    "a balance": (STATE, under("agents", last=add("balance"))),
    "a stake": (STATE, under("agents", last=add("staked"))),
    "a burn score": (STATE, under("agents", last=add("burn_score"))),
    "progress in study": (STATE, under("agents", last=add("study_progress"))),
    "suspension": (STATE, under("agents", last=put("suspended", None))),
    "an unbonding lot": (STATE, under("agents", "unbonding", last=add("amount"))),
    "a core's owner": (STATE, under("cores", last=put("owner", "somebody"))),
    "the difficulty": (STATE, under("chain", last=add("mine_difficulty"))),
    "the tip": (STATE, under("chain", last=put("tip_hash", "0" * 64))),
    "pending fees": (STATE, add("fees")),
    "the labour fund": (STATE, lambda answer: answer["turn"] > 0 and add("job_fund")(answer)),
    "an escrow": (STATE, under("contracts", last=add("escrow"))),
    "a contract's status": (STATE, under("contracts", last=put("status", "settled"))),
    "an open contract is missing": (STATE, drop("contracts")),
    "an ended contract's collateral": ("/contract/", add("proposer_collateral")),
    "an ended contract's end": ("/contract/", put("ended_turn", 0)),
    "a speaker": ("/speech/", under("messages", last=put("agent_id", "somebody"))),
    "speech is missing": ("/speech/", drop("messages")),
    "an agent's own balance": (AGENT, add("balance")),
    "an insight": (AGENT, under("private", "insights", last=add("job_fund"))),
    "an insight is missing": (AGENT, drop("private", "insights")),
    "bought information": (AGENT, under("private", "information", last=put("content", "?"))),
    "an entry's amount": (ENTRIES, change_row(3, lambda amount: amount + 1)),
    "an entry's source": (ENTRIES, change_row(1, lambda account: "agent:somebody")),
    "an entry's target": (ENTRIES, change_row(2, lambda account: "issuance")),
    "an entry is missing": (ENTRIES, drop()),
    "an entry too many": (ENTRIES, repeat_row),
    "a stored balance": ("SELECT agent_id", change_row(1, lambda balance: balance + 1)),
    "a stored owner": ("SELECT core_id", change_row(1, lambda owner: "somebody")),
    "a stored status": ("SELECT contract_id", change_row(1, lambda status: "settling")),
    "a stored block": ("SELECT hash", change_row(5, lambda status: "pending")),
}


@pytest.fixture
def port() -> Iterator[Port]:
    with engine_in_a_new_directory() as engine:
        yield engine


@pytest.mark.parametrize("name", LIES)
def test_the_auditor_finds_a_lie(port, name):
    where, lie = LIES[name]
    liar = Tampering(port, where, lie)
    with pytest.raises(Failure) as found:
        run_world(RICH_SEED, TURNS, liar)
    assert liar.lies_told >= 1
    assert isinstance(found.value.__cause__, Difference)
    assert f"--seed {RICH_SEED} --worlds 1 --turns" in str(found.value)


def test_without_a_lie_there_is_no_complaint(port):
    honest = Tampering(port, "/", lambda answer: False)
    assert run_world(RICH_SEED, TURNS, honest)["turns"] == TURNS


@pytest.mark.parametrize(
    "body",
    [
        {"agents": []},
        {"agents": ["a", "a"]},
        {"agents": ["a", {"agent_id": "a"}]},
        {"agents": ["a b"]},
        {"agents": ["a" * 65]},
        {"agents": [{"agent_id": "a", "balance": -1}]},
        {"agents": [{"agent_id": "a", "balance": 1.0}]},
        {"agents": ["a", {"agent_id": "b", "balance": 2**53 - 1}]},
        {"agents": ["a"], "config": {"mine_pow": 1}},
        {"agents": ["a"], "config": {"mine_power": True}},
        {"agents": ["a"], "config": {"mine_slots": 0}},
        {"agents": ["a"], "config": {"trust_stake": 0}},
        {"agents": ["a"], "config": {"slash_bps": 10_001}},
        {"agents": ["a"], "config": {"tuition": -1}},
        {"agents": ["a"], "config": {"tuition": None}},
        {"agents": ["a"], "world": 1},
        {},
    ],
)
def test_a_world_that_the_rules_forbid_is_not_made(port, body):
    assert port.post("/init", body)[0] == 422
    assert port.post("/init", {"agents": ["a", "b"], "seed": "s"})[0] == 201


def test_the_same_seed_makes_the_same_world():
    hashes = []
    for _ in range(2):
        with engine_in_a_new_directory() as engine:
            workload = Workload(7)
            auditor = Auditor(engine, workload.init_body)
            auditor.start()
            for _ in range(5):
                step(workload, auditor, Counter())
            hashes.append(auditor.world.turn_hash)
    assert hashes[0] == hashes[1]


def test_true_is_not_one():
    with pytest.raises(Difference, match="balance"):
        compare("balance", 1, True)


def test_the_command_reports_what_it_ran(capsys):
    assert main(["--seed", "3", "--turns", "4", "--worlds", "2", "--coverage"]) == 0
    printed = capsys.readouterr().out
    assert "2 worlds, 8 turns" in printed
    assert "verdict applied" in printed


def test_the_command_fails_with_the_line_that_reproduces_it(port, capsys, monkeypatch):
    where, lie = LIES["a balance"]
    liar = Tampering(port, where, lie)
    monkeypatch.setattr(simulate, "audit", lambda seed, turns: run_world(seed, turns, liar))
    assert main(["--seed", "5", "--turns", "4", "--worlds", "2"]) == 1
    printed = capsys.readouterr().err
    assert "seed 5, turn" in printed
    assert "python -m tests.simulation.simulate --seed 5 --worlds 1 --turns" in printed


def test_a_ledger_that_is_not_what_the_engine_wrote_fails_the_world(monkeypatch):
    def run_and_change(seed: int, turns: int, port: EnginePort) -> Counter[str]:
        coverage = run_world(seed, turns, port)
        with closing(sqlite3.connect(port.db_path)) as connection, connection:
            connection.execute("UPDATE entries SET amount = amount + 1 WHERE turn = 2 AND seq = 0")
        return coverage

    monkeypatch.setattr(simulate, "run_world", run_and_change)
    with pytest.raises(Failure, match=r"seed 3, turn 4: verify: entries \[turn=2, seq=0\]"):
        audit(3, 4)
