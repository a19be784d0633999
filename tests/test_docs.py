"""The documents say what the code does: config keys with bounds, rejection codes, actions, options.

docs/ledger.md names all of ``sim.db`` and nothing else, and its queries find what it says.
"""

import re
import sqlite3
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, get_args

import pytest

from sim_engine.ledger import tables
from sim_engine.ledger.views import VIEWS
from sim_engine.rules.books import Reason
from sim_engine.types.conditions import ActionType
from sim_engine.types.config import Config
from sim_engine.types.fields import BlockKind, ContractStatus, ContractType
from sim_engine.types.rejection_codes import RejectionCode
from sim_engine.types.requests import INIT_ADAPTER
from sim_orchestrator.options import MIND_KINDS, OPTIONS
from tests.engine import defaults, harness
from tests.test_readme import Session, blocks, do_what_is_shown
from tests.trust import everything

DOCS = Path(__file__).parents[1] / "docs"
RULES = (DOCS / "rules.md").read_text(encoding="utf-8")


def number(text: str) -> int:
    return 2**53 - 1 if text == "2⁵³ − 1" else int(text.replace(",", ""))


def documented_config() -> dict[str, tuple[int, int, int]]:
    section = RULES[RULES.index("## 14.") :]
    cells = re.findall(r"\| `(\w+)` \| ([\d,]+) \| ([\d,]+) … ([\d,]+|2⁵³ − 1) (?=\|)", section)
    # Two keys stand in a row of the table, so that a cell's last border is the first of the next.
    return {key: (number(default), number(low), number(high)) for key, default, low, high in cells}


def test_the_config_table_has_every_key_with_its_default_and_its_bounds():
    schema = INIT_ADAPTER.json_schema()["$defs"]["Config"]["properties"]
    known = {key: (one["default"], one["minimum"], one["maximum"]) for key, one in schema.items()}
    assert documented_config() == known


@pytest.mark.parametrize("code", list(RejectionCode))
def test_every_rejection_code_is_in_the_rules(code):
    section = RULES[RULES.index("## 6.") : RULES.index("## 7.")]
    assert f"`{code.value}`" in section


@pytest.mark.parametrize("action", get_args(ActionType))
def test_every_action_is_in_the_rules(action):
    section = RULES[RULES.index("## 6.") : RULES.index("## 7.")]
    assert f"| `{action}` |" in section


def test_every_option_of_a_run_is_in_its_document_with_its_default():
    text = (DOCS / "orchestrator.md").read_text(encoding="utf-8")
    found = dict(re.findall(r"^\| `(\w+)` \| (.+?) \| .+ \|$", text, re.MULTILINE))
    expected = {
        option.name: option.unset
        if option.default is None
        else str(option.default).lower()
        if option.kind is bool
        else f"`{option.default}`"
        for option in OPTIONS
    }
    minds = set(MIND_KINDS)  # a table of their own
    assert {name: default for name, default in found.items() if name not in minds} == expected


# -- docs/ledger.md -------------------------------------------------------------------------------

LEDGER = (DOCS / "ledger.md").read_text("utf-8")

REFERENCES = {
    "action": r"action:\d+",
    "block": r"[0-9a-f]{64}",
    "contract": r"c\d+",
    "core": r"core:\d+",
    "empty": "",
}
SIGNS = {
    "both": {-1, 1},
    "cost": {-1},
    "credit": {1},
    "income": {1},
    "none": set(),
    "own": set(),
    "start": {1},
}
"""What ``v_income`` has of a reason, by what the last column says of it; a deposit has either."""


def section(heading: str, text: str = LEDGER) -> str:
    """The text below a heading, up to the next of the same or a higher level."""
    level = heading.partition(" ")[0]
    below = text.partition(f"\n{heading}\n")[2]
    assert below, f"there is no {heading}"
    return re.split(rf"\n#{{1,{len(level)}}} ", below)[0]


def rows(text: str) -> list[list[str]]:
    """The cells of the rows whose first cell is one name."""
    found = re.findall(r"^\| `(\w+)` \| (.*) \|$", text, re.MULTILINE)
    return [[name, *re.split(r" \| ", cells)] for name, cells in found]


def codes(text: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", text))


def documented_columns(text: str = LEDGER) -> dict[str, list[str]]:
    """The columns of everything that has a heading of its own, in their order."""
    names = re.findall(r"^### `(\w+)`$", text, re.MULTILINE)
    return {name: [row[0] for row in rows(section(f"### `{name}`", text))] for name in names}


def documented_reasons() -> dict[str, list[str]]:
    return {name: cells for name, *cells in rows(section("## Reasons of entries"))}


def query(path: Path, sql: str, *parameters: Any) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql, parameters).fetchall()


@pytest.fixture(scope="module")
def ledgers(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two ledgers with an entry of every reason between all accounts that it can move."""
    folder = tmp_path_factory.mktemp("ledgers")
    everything.make(folder / "everything.db")
    with harness.open_world(folder / "broken.db", defaults.AGENTS, defaults.CONFIG) as world:
        defaults.play(world)
    return [folder / "everything.db", folder / "broken.db"]


# -- names -----------------------------------------------------------------------------------------


def test_every_table_and_view_is_described_with_every_column(ledgers: list[Path]):
    names = query(
        ledgers[0],
        "SELECT name FROM sqlite_master"
        " WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%'",
    )
    assert documented_columns() == {
        name: [row[1] for row in query(ledgers[0], f"PRAGMA table_xinfo({name})")]
        for (name,) in names
    }
    assert {name for (name,) in names} == {*tables.METADATA.tables, *VIEWS.tables}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("| `moved` |", "| `mooved` |"),
        ("### `turn_keys`", "### `turn_key`"),
        ("| `sold` |", "| `gone` |"),
    ],
)
def test_a_wrong_name_would_be_found(old: str, new: str):
    text = f"{LEDGER}\n### `v_new`\n\n| `sold` | tokens | |\n"
    assert documented_columns(text.replace(old, new)) != documented_columns(text)


def test_columns_that_may_be_null_say_so():
    for name, table in tables.METADATA.tables.items():
        meaning = {column: " ".join(cells) for column, *cells in rows(section(f"### `{name}`"))}
        for column in table.columns:
            assert ("NULL" in meaning[column.name]) == bool(column.nullable), (name, column.name)


def test_columns_of_json_say_so():
    for name, table in tables.METADATA.tables.items():
        units = {column: cells[0] for column, *cells in rows(section(f"### `{name}`"))}
        for column in table.columns:
            assert (units[column.name] == "JSON") == ("JSON" in (column.comment or "")), column


def test_every_status_and_kind_is_named():
    contracts, of_blocks = section("### `contracts`"), section("### `blocks`")
    assert set(get_args(ContractStatus)) | set(get_args(ContractType)) <= codes(contracts)
    assert {"genesis", "canonical", "orphaned", *get_args(BlockKind)} <= codes(of_blocks)
    assert {"applied", "rejected"} <= codes(section("### `actions`"))


def test_every_key_of_the_config_is_known(ledgers: list[Path]):
    stored = {key for (key,) in query(ledgers[0], "SELECT key FROM config")}
    assert stored - set(Config.__slots__) < codes(section("### `config`"))


# -- reasons ---------------------------------------------------------------------------------------


def test_every_reason_is_described_once():
    known = sorted(value for name, value in vars(Reason).items() if name.isupper())
    assert sorted(row[0] for row in rows(section("## Reasons of entries"))) == known


def test_reasons_move_tokens_between_the_accounts_that_are_named(ledgers: list[Path]):
    found: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    for ledger in ledgers:
        for reason, *accounts in query(ledger, "SELECT reason, source, target FROM entries"):
            source, target = (account.partition(":")[0] for account in accounts)
            found[reason].add((source, target))
    for reason, (payer, payee, *_) in documented_reasons().items():
        assert {source for source, _ in found[reason]} == codes(payer), reason
        assert {target for _, target in found[reason]} == codes(payee), reason


def test_references_of_reasons_are_as_described(ledgers: list[Path]):
    described = {reason: REFERENCES[cells[2]] for reason, cells in documented_reasons().items()}
    for ledger in ledgers:
        for reason, reference in query(ledger, "SELECT reason, reference FROM entries"):
            assert re.fullmatch(described[reason], reference), (reason, reference)


def test_reasons_are_to_agents_what_is_said(ledgers: list[Path]):
    found: defaultdict[str, set[int]] = defaultdict(set)
    for ledger in ledgers:
        for reason, sign in query(ledger, "SELECT DISTINCT reason, SIGN(amount) FROM v_income"):
            found[reason].add(int(sign))
    for reason, (*_, said) in documented_reasons().items():
        if said == "deposit":
            assert found[reason] == ({-1} if reason == "escrow" else {1}), reason
        else:
            assert found[reason] == SIGNS[said], reason


def test_sections_of_the_rules_are_named_for_each_reason():
    headings = re.findall(r"^## (\d+)\.", RULES, re.M)
    for reason, (_, _, _, when, _) in documented_reasons().items():
        (number,) = re.findall(r"\(§(\d+)\)$", when)
        assert number in headings, reason


# -- commands --------------------------------------------------------------------------------------


@pytest.mark.timeout(300)
def test_commands_do_what_the_ledger_s_document_shows(tmp_path: Path):
    run = [block for block in blocks(LEDGER) if block.not_run is None]
    assert len(run) >= 9
    do_what_is_shown("docs/ledger.md", run, tmp_path)


def scripts(heading: str) -> list[str]:
    return [block.text for block in blocks(section(heading)) if block.language == "bash"]


def documented_query(heading: str) -> str:
    """The query below a heading, to be asked of another ledger."""
    (script,) = scripts(heading)
    found = re.search(r'"\n(.*)"', script, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_query_of_inequality_finds_what_was_measured(ledgers: list[Path]):
    for ledger in ledgers:
        found = query(ledger, documented_query("### How unequal is wealth, over time?"))
        measured = query(ledger, "SELECT turn, gini_bps FROM turn_metrics ORDER BY turn")
        assert [(turn, again) for turn, *_, again in found] == measured
        assert [(turn, gini) for turn, gini, *_ in found] == measured


def test_the_query_of_trades_finds_all_that_contracts_and_transfers_have_moved(ledgers: list[Path]):
    broken = ledgers[1]
    assert query(broken, "SELECT SUM(escrow) FROM contracts") == [(0,)]
    gained: defaultdict[str, int] = defaultdict(int)
    trades = query(broken, documented_query("### Who trades with whom?"))
    for payer, payee, _, tokens in trades:
        assert payer != payee
        gained[payer] -= tokens
        gained[payee] += tokens
    slashed = "SELECT amount FROM v_contract_payments WHERE reason = 'slash' AND payee IS NULL"
    ((destroyed,),) = query(broken, slashed)
    gained["p"] -= destroyed  # out of the collateral of c6
    expected = query(
        broken,
        "SELECT agent_id, SUM(amount) FROM v_income WHERE reference GLOB 'c[0-9]*'"
        " OR reason = 'transfer' GROUP BY agent_id",
    )
    assert {agent_id: amount for agent_id, amount in gained.items() if amount} == {
        agent_id: amount for agent_id, amount in expected if amount
    }


def test_an_arbitrator_that_was_silent_is_a_payer_in_the_query_of_trades(ledgers: list[Path]):
    found = query(ledgers[0], documented_query("### Who trades with whom?"))
    assert {("z", "a"), ("z", "b")} <= {(payer, payee) for payer, payee, *_ in found}


def test_the_queries_of_costs_and_cores_agree_with_the_tables(ledgers: list[Path]):
    costs = query(ledgers[0], documented_query("### What does inference cost, against income?"))
    used = "SELECT agent_id, SUM(fee), SUM(output_tokens) FROM inference GROUP BY agent_id"
    assert [(agent, fees or 0, tokens) for agent, _, fees, tokens in costs] == sorted(
        query(ledgers[0], used)
    )
    paid = "SELECT substr(target, 7), SUM(amount) FROM entries WHERE reason = 'dividend' GROUP BY 1"
    earned = dict(query(ledgers[0], paid))
    cores = query(ledgers[0], documented_query("### Which agents earn from cores?"))
    assert {agent: dividends for agent, dividends, *_ in cores if dividends} == earned
    assert {agent: price for agent, _, _, price in cores if price} == {"a": 61, "b": -61}


@pytest.fixture
def session(tmp_path: Path, ledgers: list[Path]) -> Iterator[Session]:
    """A folder with a ledger that was made before the newer views."""
    found = Session(tmp_path)
    (tmp_path / "runs/scripted").mkdir(parents=True)
    ledger = tmp_path / "runs/scripted/sim.db"
    ledger.write_bytes(ledgers[0].read_bytes())
    with closing(sqlite3.connect(ledger)) as connection:
        for name in re.findall(r"`(v_\w+)`", section("## A ledger that lacks views")):
            connection.execute(f"DROP VIEW {name}")
    yield found
    found.stop()


def test_views_are_added_by_one_command(session: Session, ledgers: list[Path]):
    ledger = session.folder / "runs/scripted/sim.db"
    made = "SELECT name, sql FROM sqlite_master ORDER BY name"
    assert len(query(ledger, made)) == len(query(ledgers[0], made)) - 4
    (command,) = scripts("## A ledger that lacks views")
    for _ in range(2):
        session.run(command)
        assert query(ledger, made) == query(ledgers[0], made)
    verified = subprocess.run(
        ["sim-engine", "verify", str(ledger)], env=session.environment, capture_output=True
    )
    assert verified.returncode == 0
