"""Whatever is changed in a ledger, the verification names it; it is never silent, never raises."""

from __future__ import annotations

import gc
import random
import re
import shutil
import sqlite3
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import pytest

from sim_engine.engine import Engine
from sim_engine.ledger import tables
from sim_engine.ledger.audit import verify_hashes
from sim_engine.ledger.journal import HISTORY
from sim_engine.ledger.pages import open_pages
from sim_engine.ledger.replay import verify
from sim_engine.ledger.report import Report
from sim_engine.ledger.seal import CHUNK_ROWS
from tests.trust import everything

Row = dict[str, Any]
Change = tuple[str, Any]

NOT_COVERED = {"agent_keys", "turn_keys", "pending_actions", "pending_requests"}
"""Tables that the world does not follow from; ``docs/trust.md`` says why no check covers them."""

SEALED = ["config", *HISTORY, "turns"]
"""The tables whose every row stands under a hash: the quick verification covers all of them."""

COVERED = [*SEALED, "agents", "cores", "contracts"]

WHOLE_ROWS = [(verify, table) for table in COVERED] + [(verify_hashes, table) for table in SEALED]
"""What each verification knows all rows of; of the state, the quick one sums the balances."""


def test_the_tables_are_all_sorted_into_covered_and_not():
    assert set(COVERED) | NOT_COVERED == set(tables.METADATA.tables)


def quietly(turn: int, last: int) -> None:
    """Progress that nobody looks at."""


def _note(seen: list[tuple[int, int]], turn: int, last: int) -> None:
    seen.append((turn, last))


@pytest.fixture
def copies(sound: Path, tmp_path: Path) -> Callable[[], Path]:
    """Copies of the sound ledger, each a file of its own."""
    numbers = count()

    def copy() -> Path:
        path: Path = tmp_path / f"copy-{next(numbers)}.db"
        shutil.copyfile(sound, path)
        return path

    return copy


def columns(table: str) -> list[str]:
    return [column.name for column in tables.METADATA.tables[table].columns]


def keys(table: str) -> list[str]:
    return [c.name for c in tables.METADATA.tables[table].columns if c.primary_key]


def read(path: Path, table: str) -> list[Row]:
    order = ", ".join(f'"{key}"' for key in keys(table))
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute(f'SELECT * FROM "{table}" ORDER BY {order}').fetchall()
    return [dict(zip(columns(table), row, strict=True)) for row in found]


def some(rows: list[Row]) -> list[Row]:
    """The first row, one of the middle and the last."""
    return [rows[0], rows[len(rows) // 2], rows[-1]]


def change(path: Path, statement: str, *values: Any) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        assert connection.execute(statement, values).rowcount > 0
        connection.commit()


def set_value(path: Path, table: str, row: Row, column: str, new: Change) -> None:
    expression, value = new
    where = " AND ".join(f'"{key}" = ?' for key in keys(table))
    change(
        path,
        f'UPDATE "{table}" SET "{column}" = {expression} WHERE {where}',
        value,
        *(row[key] for key in keys(table)),
    )


def insert(path: Path, table: str, row: Row) -> None:
    marks = ", ".join("?" for _ in row)
    change(path, f'INSERT INTO "{table}" VALUES ({marks})', *row.values())


def delete(path: Path, table: str, row: Row) -> None:
    where = " AND ".join(f'"{key}" = ?' for key in keys(table))
    change(path, f'DELETE FROM "{table}" WHERE {where}', *(row[key] for key in keys(table)))


def one_character(text: str, place: int) -> str:
    return text[:place] + chr(ord(text[place]) ^ 1) + text[place + 1 :]


def other_values(value: Any) -> list[Change]:
    """Values that differ from one as little as can be, and some that no engine would store."""
    plain: list[Any] = []
    if isinstance(value, int):
        plain = [value + 1, value - 1, -value if value else 2**62]
    elif value is None:
        plain = [0, "", "x"]
    elif not value:
        plain = ["x"]
    else:
        digits = [found.start() for found in re.finditer(r"\d", value)]
        places = {0, len(value) // 2, len(value) - 1, *digits[:1], *digits[-1:]}
        plain = [one_character(value, place) for place in sorted(places)]
        plain += [value + " ", "", value.encode()]
    changes = [("?", one) for one in plain]
    if isinstance(value, str) and value:
        # One byte that ends the text being UTF-8.
        changes.append(("CAST(? AS TEXT)", b"\xff" + value.encode()[1:]))
    return changes


def key_is_named(report: Report, table: str, row: Row) -> bool:
    """Tell whether the difference leads to the row: by its key, or at least by its turn."""
    key = report.differences[0].key
    if table == "config":
        return key == "turn=0" or f"key={row['key']}" in key
    if table in ("agents", "cores", "contracts"):
        return any(str(row[name]) in key for name in [*keys(table), columns(table)[0]])
    return f"turn={row['turn']}" in key


def assert_names(report: Report, table: str, what: Any) -> None:
    assert not report.sound, what
    assert report.differences[0].table == table, (what, str(report.differences[0]))


# -- a sound ledger --------------------------------------------------------------------------------


def test_everything_has_happened_in_the_world_that_is_tampered_with(sound):
    statuses = {row["status"] for row in read(sound, "contracts")}
    ended = {"settled", "defaulted", "ruled", "lapsed", "expired"}
    assert statuses == {"proposed", "active", "disputed", *ended}
    types = {row["contract_type"] for row in read(sound, "contracts")}
    assert types == {"loan", "forward", "service", "insurance", "information_sale", "pool"}
    blocks = {(row["kind"], row["status"]) for row in read(sound, "blocks")}
    assert {("mine", "orphaned"), ("stake", "orphaned"), ("burn", "orphaned")} <= blocks
    assert {("mine", "canonical"), ("stake", "canonical"), ("burn", "canonical")} <= blocks
    actions = read(sound, "actions")
    assert {row["status"] for row in actions} == {"applied", "rejected"}
    assert any(row["queued"] is not None for row in actions)
    agents = read(sound, "agents")
    assert any(row["balance"] < 0 and row["suspended"] for row in agents)
    assert any(row["unbonding"] != "[]" for row in agents)
    assert all(read(sound, table) for table in tables.METADATA.tables)


def test_a_sound_ledger_is_found_sound_and_counted(sound):
    expected = {table: len(read(sound, table)) for table in COVERED}
    expected["turns"] -= 1
    report = verify(sound, quietly)
    assert report.sound, report.differences
    assert dict(report.counts) == expected
    quick = verify_hashes(sound, quietly)
    assert quick.sound, quick.differences
    assert dict(quick.counts) == {table: expected[table] for table in SEALED}


def test_progress_runs_from_genesis_to_the_last_turn(sound):
    for mode in (verify, verify_hashes):
        seen: list[tuple[int, int]] = []
        mode(sound, partial(_note, seen))
        assert seen == [(turn, everything.TURNS) for turn in range(everything.TURNS + 1)]


def test_a_ledger_is_verified_while_its_engine_has_it_open(tmp_path):
    engine = Engine.open(tmp_path / "sim.db")
    engine.init(orjson.dumps(everything.WORLD))
    everything.play(engine, 1, 2)
    report = verify(tmp_path / "sim.db", lambda turn, last: None)
    everything.play(engine, 3, 3)
    engine.close()
    assert report.sound
    assert report.counts["turns"] == 2


# -- a changed one ---------------------------------------------------------------------------------


@pytest.mark.parametrize("table", COVERED)
def test_a_changed_value_is_found_and_named(table, sound, copies):
    rows = read(sound, table)
    for column in columns(table):
        # A key that is taken or of another type is refused by SQLite itself.
        key = column in (*keys(table), "agent_id" if table == "agents" else "", "contract_id")
        for start, row in enumerate(some(rows)):
            for new in other_values(row[column])[start::3]:
                copy = copies()
                try:
                    set_value(copy, table, row, column, new)
                except sqlite3.IntegrityError:
                    assert key or row[column] is None, (table, column, new)
                    continue
                report = verify(copy, quietly)
                assert_names(report, table, (column, row, new))
                assert key or key_is_named(report, table, row), str(report.differences[0])


@pytest.mark.parametrize("table", SEALED)
def test_quick_finds_a_changed_value_of_history(table, sound, copies):
    for column in columns(table):
        for start, row in enumerate(some(read(sound, table))):
            for new in other_values(row[column])[start::3]:
                copy = copies()
                try:
                    set_value(copy, table, row, column, new)
                except sqlite3.IntegrityError:
                    continue
                assert_names(verify_hashes(copy, quietly), table, (column, row, new))


@pytest.mark.parametrize(
    ("table", "column"),
    [
        *(("agents", name) for name in ("agent_id", "balance", "staked", "unbonding")),
        ("contracts", "escrow"),
    ],
)
def test_quick_finds_a_balance_that_is_not_the_sum_of_its_entries(table, column, sound, copies):
    for row in some(read(sound, table)):
        for new in [("?", 1_234_567), ("?", "x"), ("?", b"\xff"), ("?", '[["9", 1]]')]:
            copy = copies()
            set_value(copy, table, row, column, new)
            assert_names(verify_hashes(copy, quietly), table, (column, row, new))


@pytest.mark.parametrize(("mode", "table"), WHOLE_ROWS)
def test_a_missing_row_is_found_and_named(table, mode, sound, copies):
    for row in some(read(sound, table)):
        copy = copies()
        delete(copy, table, row)
        if table == "turns" and row["turn"] == everything.TURNS:
            # Without its seal the turn is no turn: its rows belong to none.
            assert not mode(copy, quietly).sound
            continue
        assert_names(mode(copy, quietly), table, row)


@pytest.mark.parametrize(("mode", "table"), WHOLE_ROWS)
def test_an_added_row_is_found_and_named(table, mode, sound, copies):
    added = _further_rows(table, read(sound, table))
    for row in added:
        copy = copies()
        insert(copy, table, row)
        report = mode(copy, quietly)
        if table == "turns":
            assert not report.sound
        else:
            assert_names(report, table, row)


def _further_rows(table: str, rows: list[Row]) -> list[Row]:
    """Copies of a row under keys that no row has: before the first, in between, after the last."""
    known = {tuple(row[key] for key in keys(table)) for row in rows}
    unique = {"agents": "agent_id", "contracts": "contract_id", "blocks": "hash"}
    further = []
    for key in keys(table):
        others = ["zzz", ""] if isinstance(rows[-1][key], str) else [10**6, -1, everything.TURNS]
        for other in others:
            row = {**rows[-1], key: other}
            if table in unique:
                row[unique[table]] = "c99"
            if tuple(row[name] for name in keys(table)) not in known:
                further.append(row)
    assert further
    return further


@pytest.mark.parametrize(("mode", "table"), WHOLE_ROWS)
def test_rows_that_changed_places_are_found_and_named(table, mode, sound, copies):
    rows = read(sound, table)
    chance = random.Random(table)
    for _ in range(8):
        one, two = chance.sample(rows, 2)
        if {**one, **{key: two[key] for key in keys(table)}} == two:
            continue  # alike but for their keys: nothing changes
        copy = copies()
        for row in (one, two):
            delete(copy, table, row)
        for row, other in ((one, two), (two, one)):
            insert(copy, table, {**row, **{key: other[key] for key in keys(table)}})
        assert_names(mode(copy, quietly), table, (one, two))


def test_a_row_that_moved_to_another_turn_is_found(sound, copies):
    for table in HISTORY:
        if "seq" not in columns(table):
            continue
        row = some(read(sound, table))[1]
        for turn in (row["turn"] - 1, row["turn"] + 1):
            copy = copies()
            where = "turn = ? AND seq = ?"
            change(
                copy,
                f'UPDATE "{table}" SET turn = ?, seq = 5000 WHERE {where}',
                turn,
                row["turn"],
                row["seq"],
            )
            assert_names(verify(copy, quietly), table, row)
            assert_names(verify_hashes(copy, quietly), table, row)


def _seal_again(path: Path) -> None:
    """Recompute digests and hashes as whoever changes a history would, until they fit."""
    report = verify_hashes(path, quietly)
    while not report.sound:
        (found,) = report.differences
        turn = found.key.removeprefix("turn=")
        if found.stored.startswith("rows that hash to "):
            digest = found.stored.removeprefix("rows that hash to ")
            json_path = f"$.{found.table}"
            statement = "UPDATE turns SET digests = json_set(digests, ?, ?) WHERE turn = ?"
            change(path, statement, json_path, digest, turn)
        else:
            change(path, "UPDATE turns SET turn_hash = ? WHERE turn = ?", found.expected, turn)
        report = verify_hashes(path, quietly)


@pytest.mark.parametrize(
    ("statement", "table", "key"),
    [
        (
            "UPDATE turns SET mine_difficulty = mine_difficulty + 1 WHERE turn = 5",
            "turns",
            "turn=5",
        ),
        (
            "UPDATE submissions SET actions = actions - 1 WHERE turn = 5 AND seq = 0",
            "submissions",
            "turn=5, seq=5",
        ),
        (
            "UPDATE submissions SET actions = 900 WHERE turn = 5 AND seq = 2",
            "submissions",
            "turn=5, seq=2",
        ),
        (
            "INSERT INTO submissions VALUES (5, 6, 'a', 0)",
            "submissions",
            "turn=5, seq=6",
        ),
        (
            "UPDATE actions SET agent_id = 'b' WHERE turn = 5 AND seq = 0",
            "actions",
            "turn=5, seq=0",
        ),
        (
            "UPDATE actions SET payload = replace(payload, ':', ': ') WHERE turn = 5 AND seq = 7",
            "actions",
            "turn=5, seq=7",
        ),
        (
            # Each is no JSON; written one after the other they would be two actions.
            """UPDATE actions SET payload = CASE seq WHEN 3
            THEN '{"type":"mine"},{"type":"mine"' ELSE '"fee":0}' END
            WHERE turn = 5 AND seq IN (3, 4)""",
            "actions",
            "turn=5, seq=3",
        ),
        (
            "UPDATE inference SET agent_id = 'z' WHERE turn = 5 AND seq = 0",
            "inference",
            "turn=5, seq=1",
        ),
        (
            "DELETE FROM submissions WHERE turn = 6 AND agent_id = 'z'",
            "inference",
            "turn=6, seq=5",
        ),
    ],
)
def test_a_history_that_was_made_up_with_hashes_of_its_own_is_still_not_one_of_the_rules(
    statement, table, key, sound, copies
):
    """Whoever recomputes the hashes deceives the quick verification, and not the rules."""
    copy = copies()
    change(copy, statement)
    _seal_again(copy)
    report = verify(copy, quietly)
    assert_names(report, table, report.differences)
    assert report.differences[0].key == key


@pytest.mark.parametrize(
    ("column", "value"),
    [("status", "rejected"), ("code", "once_per_turn"), ("message", "no"), ("fee", 3)],
)
def test_a_changed_receipt_is_named_by_its_row(column, value, sound, copies):
    copy = copies()
    set_value(copy, "actions", {"turn": 5, "seq": 2}, column, ("?", value))
    (found,) = verify(copy, quietly).differences
    assert (found.table, found.key) == ("actions", "turn=5, seq=2")
    place = columns("actions").index(column)
    assert found.stored[place] == value
    assert found.expected[place] != value


@pytest.mark.parametrize("agents", [CHUNK_ROWS // 4, CHUNK_ROWS // 4 + 1])
def test_sqlite_and_the_seal_encode_the_same_rows_alike(agents, tmp_path):
    """Or every row would be read to be compared: sound all the same, and several times slower."""
    path = tmp_path / "sim.db"
    names = [f"a{place}" for place in range(agents)]
    text = "".join(map(chr, [*range(256), 0x2028, 0xFFFF, 0x1F30D])) + '\\"/\\u0041'
    speak = everything.act("speak", message=text)
    submissions = [
        {
            "agent_id": name,
            "actions": [speak] * 4,
            "inference": {"output_tokens": 5, "model": text[:200]},
        }
        for name in names
    ]
    engine = Engine.open(path)
    engine.init(orjson.dumps({"seed": text, "agents": names}))
    engine.submit_turn(orjson.dumps({"submissions": submissions}))
    engine.close()
    (row,) = [row for row in read(path, "turns") if row["turn"] == 1]
    sealed = orjson.loads(row["digests"])
    with open_pages(path) as pages:
        for table in HISTORY:
            count = sum(row["turn"] == 1 for row in read(path, table))
            assert pages.digest_of_turn(table, 1) == (count, sealed[table])
    assert verify(path, quietly).sound


def test_what_is_not_covered_is_named_as_such_and_never_raises(sound, copies):
    for table in sorted(NOT_COVERED):
        for column in columns(table):
            for start, row in enumerate(some(read(sound, table))):
                value = row[column]
                news = [("?", b"\x00")] if isinstance(value, bytes) else other_values(value)
                for new in news[start::3]:
                    copy = copies()
                    try:
                        set_value(copy, table, row, column, new)
                    except sqlite3.IntegrityError:
                        continue
                    for report in (verify(copy, quietly), verify_hashes(copy, quietly)):
                        assert report.sound or report.differences[0].table == table


@pytest.mark.parametrize(
    ("statement", "key"),
    [
        ("UPDATE pending_actions SET payload = '{' WHERE id = 7", "id=7"),
        ('UPDATE pending_actions SET payload = \'{"type": "fly"}\' WHERE id = 7', "id=7"),
        ("UPDATE pending_actions SET agent_id = 'nobody' WHERE id = 7", "id=7"),
        ("UPDATE turn_keys SET turn = 99 WHERE turn = 3", "idempotency_key=turn-3"),
        ("UPDATE turn_keys SET turn = 0 WHERE turn = 3", "idempotency_key=turn-3"),
    ],
)
def test_what_the_engine_could_not_take_up_again_is_found(statement, key, sound, copies):
    copy = copies()
    first = min(row["id"] for row in read(copy, "pending_actions"))
    change(copy, statement.replace("id = 7", f"id = {first}"))
    report = verify(copy, quietly)
    assert_names(report, statement.split()[1], statement)
    assert report.differences[0].key == key.replace("id=7", f"id={first}")


# -- a damaged file --------------------------------------------------------------------------------


def contents(path: Path) -> list[str] | None:
    """All that can be read from a file; None if it can not be read to its end."""
    try:
        with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as connection:
            return [
                repr(row)
                for table in COVERED
                for row in connection.execute(f'SELECT * FROM "{table}" NOT INDEXED').fetchall()
            ]
    except sqlite3.DatabaseError:
        return None


@pytest.mark.parametrize("mode", [verify, verify_hashes])
def test_a_flipped_bit_anywhere_in_the_file_raises_nothing(mode, sound, copies):
    """A damaged page is a difference like any other; rows that are as they were may be sound."""
    before = contents(sound)
    chance = random.Random("bits")
    size = sound.stat().st_size
    for _ in range(120):
        copy = copies()
        place, bit = chance.randrange(100, size), 1 << chance.randrange(8)
        with copy.open("r+b") as file:
            file.seek(place)
            old = file.read(1)[0]
            file.seek(place)
            file.write(bytes([old ^ bit]))
        report = mode(copy, quietly)
        if mode is verify and report.sound:
            assert contents(copy) == before, (place, bit)


def test_a_file_that_ends_too_soon_is_damaged(sound, copies):
    size = sound.stat().st_size
    for part in (0.2, 0.5, 0.9):
        copy = copies()
        with copy.open("r+b") as file:
            file.truncate(int(size * part))
        report = verify(copy, quietly)
        assert not report.sound
        assert not verify_hashes(copy, quietly).sound


# -- cost ------------------------------------------------------------------------------------------


def _free_lists_emptied(turn: int, last: int) -> None:
    """Progress that has the interpreter give back what it keeps for later, which is bounded."""
    if turn % 25 == 0 or turn == last:
        gc.collect()


def _peak_bytes(mode: Callable[..., Report], path: Path) -> int:
    mode(path, quietly)  # what is loaded once is no matter of the history
    gc.collect()
    tracemalloc.start()
    try:
        report = mode(path, _free_lists_emptied)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        assert report.sound


def _history(path: Path, turns: int) -> Path:
    """Turns that each leave an ended contract, a block, a key and rows in every table behind."""
    engine = Engine.open(path)
    agents = [{"agent_id": name, "balance": 10**9} for name in ("a", "b", "z")]
    engine.init(orjson.dumps({"seed": "long", "agents": agents, "config": {"action_points": 20}}))
    offer = everything.act("sell_information", to="b", arbitrator="z", price=2, title="t")
    for turn in range(1, turns + 1):
        sign = everything.act("sign_contract", contract_id=f"c{turn - 1}", role="counterparty")
        plan = {
            "a": [offer | {"content": "x" * 200}, everything.act("mine")],
            "b": [sign, everything.act("speak", message="y" * 100)],
            "z": [sign | {"role": "arbitrator"}],
        }
        submissions = [{"agent_id": name, "actions": actions} for name, actions in plan.items()]
        body = orjson.dumps({"turn": turn, "submissions": submissions})
        engine.submit_turn(body, idempotency_key=f"key-{turn}")
    engine.close()
    return path


@pytest.mark.parametrize("mode", [verify, verify_hashes])
def test_memory_does_not_grow_with_history(mode, tmp_path):
    # The shorter history is long enough to fill what is kept between turns, which is bounded.
    short = _peak_bytes(mode, _history(tmp_path / "short.db", 550))
    long = _peak_bytes(mode, _history(tmp_path / "long.db", 1000))
    # 450 further turns have some 6,000 rows; 20 KB are less than 4 bytes for each.
    assert long < short + 20_000, (short, long)
