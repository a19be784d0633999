from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from sim_orchestrator.display import (
    REASON_CHARS,
    PlainDisplay,
    RichDisplay,
    counted,
    make_display,
    one_line,
)
from sim_orchestrator.minds.base import CallRecord, Decision
from sim_orchestrator.rundir import TimePlayed, time_played
from sim_orchestrator.summary import (
    AGENTS,
    OUTCOMES,
    SETTLED,
    SPEECH,
    ContractCounts,
    Summary,
    print_summary,
    sparkline,
)
from sim_orchestrator.tally import Tally, apportion
from sim_orchestrator.transcript import TurnRecord
from tests.orchestrator.observations import CONFIG

ROSTER = ["ann", "bob"]
PLAYED = TimePlayed(seconds=12.34, sessions=1)


def call(tokens: int, **fields: object) -> CallRecord:
    return CallRecord(attempt=1, model="m:1b", output_tokens=tokens, **fields)  # type: ignore[arg-type]


def turn(number: int, **fields: object) -> TurnRecord:
    standing = {
        "turn": number,
        "turn_hash": f"hash {number}",
        "agents": {"ann": [100 * number, 10, 5, 0, 1, 0], "bob": [-50, 0, 0, 7, 0, 2]},
        "supply": {"issued": 900, "destroyed": 100, "circulating": 800},
    }
    return TurnRecord(**{**standing, **fields})  # type: ignore[arg-type]


def played() -> Tally:
    tally = Tally(config=CONFIG, roster=ROSTER)
    tally.add((1, "ann", call(450, mends=["fence"])))
    tally.add((1, "bob", call(0, failure="no answer within 3 seconds")))
    block = {"kind": "mine", "producer": "ann", "status": "canonical", "reward": 1600}
    tally.add(
        turn(
            1,
            blocks=[block, {**block, "producer": "bob", "status": "orphaned", "reward": 0}],
            applied={"job": 2},
            rejected={"insufficient_funds": 3, "too_long": 1},
            output_tokens=450,
            billed_tokens=150,
            fees=150,
        )
    )
    tally.add((2, "ann", call(10, dropped=["x", "y"])))
    tally.add(turn(2))
    return tally


def summed_up(
    tally: Tally,
    *,
    title: str = "run x",
    ending: str = "over",
    contracts: ContractCounts | None = None,
    db_path: Path | None = None,
    time: TimePlayed = PLAYED,
    resume: str | None = None,
) -> Summary:
    return Summary(title, ending, tally, contracts, db_path, time, resume)


def printed(summary: Summary) -> str:
    stream = io.StringIO()
    print_summary(Console(file=stream, width=110), summary)
    return stream.getvalue()


def test_the_summary_shows_everything_that_a_run_came_to():
    text = printed(
        summed_up(
            played(),
            title="run runs/x",
            ending="all 2 turns are played",
            contracts={("loan", "settled"): 2, ("loan", "defaulted"): 1, ("pool", "active"): 1},
            db_path=Path("runs/my run/sim.db"),
            resume="sim-orchestrator run --resume runs/x",
        )
    )
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    assert rows["ann"] == ["ann", "215", "200", "10", "5", "·", "1", "·", "▁█"]
    assert rows["bob"] == ["bob", "-50", "-50", "·", "·", "7", "·", "2", "▄▄"]
    assert rows["mine"] == ["mine", "1", "1", "1,600", "ann", "1"]
    assert rows["loan"] == ["loan", "2", "1", "·"]
    assert rows["pool"] == ["pool", "·", "·", "1"]
    assert rows["m:1b"][:4] == ["m:1b", "3", "0", "460"]
    assert rows["m:1b"][-1] == "150"
    for said in (
        "all 2 turns are played",
        "supply 800 tokens (issued 900, destroyed 100); 12.3 s",
        "turn hash hash 2",
        "4 rejected: insufficient_funds 3, too_long 1",
        "3 made, 1 failed",
        "mended: fence 1",
        "1 × no answer within 3 seconds (bob)",
        "2 actions could not be used",
        "go on with\nsim-orchestrator run --resume runs/x\nsqlite3 ",
        "sim-engine verify 'runs/my run/sim.db'\n",
        "sqlite3 'runs/my run/sim.db' \"SELECT * FROM contracts WHERE status='settled'\"",
    ):
        assert said in text


def test_a_run_without_a_turn_has_a_summary_too():
    tally = Tally(config=CONFIG, roster=ROSTER)
    text = printed(summed_up(tally, ending="stopped by SIGINT"))
    assert "stopped by SIGINT" in text
    assert "0 turns, 2 agents" in text
    assert "go on with" not in text


def test_of_many_agents_the_richest_and_the_poorest_are_shown():
    roster = [f"a{i}" for i in range(100)]
    tally = Tally(config=CONFIG, roster=roster)
    tally.add(turn(1, agents={name: [i, 0, 0, 0, 0, 0] for i, name in enumerate(roster)}))
    text = printed(summed_up(tally, contracts={}))
    assert "a99 " in text
    assert "a0 " in text
    assert "a50 " not in text
    assert "… 84 more …" in text


def test_thinking_is_charged_to_the_model_that_did_it_exactly():
    tally = Tally(config={**CONFIG, "commons_per_agent": 100}, roster=["a", "b", "c"])
    tally.add((1, "a", CallRecord(attempt=1, model="big", output_tokens=400, final=False)))
    tally.add((1, "a", CallRecord(attempt=2, model="big", output_tokens=200)))
    tally.add((1, "b", CallRecord(attempt=1, model="small", output_tokens=201)))
    tally.add((1, "c", CallRecord(attempt=1, model="small", output_tokens=50)))
    billed = 600 + 201 + 50 - 300
    tally.add(turn(1, billed_tokens=billed, fees=billed))
    # 500 and 101 beyond the commons share 551: 458.4 and 92.6, and the odd one to the larger rest
    assert tally.models["big"].fees == 458
    assert tally.models["small"].fees == 93


def test_apportion_leaves_nothing_over_and_breaks_ties_by_order():
    assert apportion(10, [1, 1, 1]) == [4, 3, 3]
    assert apportion(2, [1, 1, 1]) == [1, 1, 0]
    assert apportion(7, [0, 0]) == [0, 0]
    assert apportion(551, [500, 101]) == [458, 93]


def test_sparklines_fill_their_height_and_stay_short():
    assert sparkline([1, 2, 3]) == "▁▄█"
    assert sparkline([5, 5]) == "▄▄"
    assert sparkline([]) == ""
    assert len(sparkline(list(range(1000)))) == 24
    assert sparkline(list(range(1000)))[-1] == "█"
    assert sparkline([-9, 0, 9]) == "▁▄█"


def test_failures_in_a_row_are_counted_until_an_agent_succeeds():
    tally = Tally(config=CONFIG, roster=ROSTER)
    for number in range(3):
        tally.add((number, "ann", call(0, failure="x")))
    assert tally.in_a_row == {"ann": 3}
    tally.add((4, "ann", call(5)))
    assert tally.in_a_row == {"ann": 0}
    tally.add((5, "ann", CallRecord(attempt=0, model="")))
    assert tally.in_a_row == {}
    assert tally.not_asked == 1


def test_without_a_terminal_there_is_one_plain_line_a_turn():
    stream = io.StringIO()
    display = make_display(Console(file=stream, width=60), plain=False)
    assert isinstance(display, PlainDisplay)
    display.started(["run x"], turns=9, agents=2, done=0)
    display.turn_started(1)
    display.decided("ann", Decision(calls=(call(5),)))
    blocks = [
        {"kind": "mine", "producer": "ann", "status": "canonical", "reward": 1},
        {"kind": "stake", "producer": "bob", "status": "orphaned", "reward": 0},
    ]
    display.turn_sealed(
        turn(
            1, blocks=blocks, applied={"job": 2}, rejected={"too_long": 1}, output_tokens=7, fees=3
        ),
        failures=1,
        seconds=1.25,
    )
    display.finished()
    assert stream.getvalue().splitlines() == [
        "run x",
        "turn 1/9: mine ann, stake bob (orphaned); 2 applied, 1 rejected; 7 tokens, fees 3; "
        "supply 800; 1 failure; 1.2 s",
    ]


def failed(reason: str) -> Decision:
    return Decision(calls=(call(0, failure=reason),))


def shown_turns(display: PlainDisplay | RichDisplay, turns: list[dict[str, str]]) -> None:
    """Show turns in which these agents failed for these reasons."""
    for number, reasons in enumerate(turns, 1):
        display.turn_started(number)
        for agent_id, reason in reasons.items():
            display.decided(agent_id, failed(reason))
        display.turn_sealed(turn(number), failures=len(reasons), seconds=0.1)


def test_a_failure_is_told_once_for_each_kind_with_who_had_it():
    stream = io.StringIO()
    display = PlainDisplay(Console(file=stream, width=60))
    display.started([], turns=4, agents=60, done=0)
    everyone = {f"a{i}": f"host:1: no connection, try {i}" for i in range(60)}
    three = {"ann": "no answer within 3 seconds", "bob": "no answer within 3 seconds"}
    shown_turns(display, [everyone, everyone, everyone | three])
    assert [line for line in stream.getvalue().splitlines() if "turn" not in line] == [
        "      a0, a1, a2 and 57 more: host:1: no connection, try 0",
        "      ann, bob: no answer within 3 seconds",
    ]


@pytest.mark.parametrize(
    ("kinds", "last"),
    [(3, "      a2: reason xxx"), (4, "      a3: reason xxxx"), (9, "      … 3 more reasons")],
)
def test_a_turn_tells_few_kinds_of_failure_and_the_next_one_those_that_are_left(kinds, last):
    stream = io.StringIO()
    display = PlainDisplay(Console(file=stream, width=60))
    display.started([], turns=2, agents=9, done=0)
    reasons = {f"a{i}": f"reason {'x' * (i + 1)}" for i in range(kinds)}
    shown_turns(display, [reasons, reasons])
    told = [line for line in stream.getvalue().splitlines() if "turn" not in line]
    assert len(told) == (kinds if kinds <= 4 else 8)
    assert told[-1].startswith(last)


@pytest.mark.parametrize("width", [80, 120])
def test_a_failure_stands_below_its_turn_on_a_terminal(width):
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=True, color_system=None)
    display = RichDisplay(console)
    display.started([], turns=4, agents=2, done=0)
    shown_turns(display, [{"ann": f"http://host:1 said {'more ' * 20}"}])
    display.finished()
    lines = stream.getvalue().splitlines()
    place = next(place for place, line in enumerate(lines) if "      ann: http://host:1" in line)
    assert lines[place + 1].startswith("      more")  # a long reason stays in its column


def test_what_others_say_stays_in_its_line_and_is_all_visible():
    assert one_line("no\nGPU \x1b[31m \u202e x") == "no GPU �[31m � x"
    long = one_line("x" * 500)
    assert len(long) == REASON_CHARS
    assert long.endswith("x…")


def test_numbers_agree_with_what_they_count():
    assert [counted(number, "turn") for number in (0, 1, 2000)] == [
        "0 turns",
        "1 turn",
        "2,000 turns",
    ]


def test_reasons_name_their_agents_and_those_left_out_are_counted():
    roster = [f"a{i}" for i in range(7)]
    tally = Tally(config=CONFIG, roster=roster)
    for agent_id in roster:
        tally.add((1, agent_id, call(0, failure=f"busy, try {agent_id[1:]}\nagain")))
    for agent_id in roster[:5]:
        tally.add((2, agent_id, call(0, failure="away")))
    for agent_id in roster[:4]:
        tally.add((3, agent_id, call(0, failure="mute")))
    for kind in range(8):
        tally.add((4, "a0", call(0, failure="x" * (kind + 1))))
    shown = printed(summed_up(tally))
    for said in (
        "7 × busy, try 0 again (all 7 agents)\n",
        "5 × away (a0, a1, a2 and 2 more)\n",
        "4 × mute (a0, a1, a2, a3)\n",
        "1 × xxxxx (a0)\n… 3 more reasons, 3 failures\n",
    ):
        assert said in shown


@pytest.mark.parametrize(
    ("sessions", "said"),
    [
        ([{"ended": "", "seconds": 12.34}], "12.3 s"),
        (
            [{"ended": "", "seconds": 50.0}, {"ended": "", "seconds": 75.0}],
            "2 min 5 s in 2 sessions",
        ),
        (
            [{"started": "2026-01-01T00:00:59+00:00", "ended": "2026-01-01T00:01:04+00:00"}],
            "5.0 s",
        ),
        (
            [{"started": "2026-01-01T00:00:59+00:00"}, {"ended": "", "seconds": 9.0}],
            "9.0 s in 1 session, 1 unfinished session not counted",
        ),
        ([{"started": "2026-01-01T00:00:59+00:00"}], "its time is not known"),
    ],
)
def test_the_time_is_that_of_all_sessions(sessions, said):
    text = " ".join(printed(summed_up(played(), time=time_played(sessions))).split())
    assert f"destroyed 100); {said} turn hash" in text


@pytest.mark.parametrize(
    ("contracts", "query"),
    [
        (None, [SETTLED]),
        ({}, []),
        ({("loan", "settled"): 1, ("loan", "active"): 1}, [SETTLED]),
        ({("loan", "active"): 1}, [OUTCOMES]),
    ],
)
def test_only_what_has_something_to_show_is_offered(contracts, query):
    tally = played()
    offered = printed(summed_up(tally, contracts=contracts)).split("go on with\n")[1]
    assert [line.split('"')[1] for line in offered.splitlines() if '"' in line] == [AGENTS, *query]
    assert "sim-engine verify sim.db\n(sim.db is the file that the engine was started" in offered
    tally.add(turn(3, applied={"speak": 1}))
    assert SPEECH in printed(summed_up(tally, contracts=contracts))


@pytest.mark.parametrize("width", [80, 100, 200])
def test_a_turns_line_fits_the_terminal(width):
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=True, color_system=None)
    display = make_display(console, plain=False)
    display.started(["run x"], turns=4, agents=2, done=0)
    blocks = [
        {"kind": kind, "producer": "agent_with_a_long_name_7", "status": status, "reward": 1}
        for kind in ("mine", "stake", "burn")
        for status in ("canonical", "orphaned")
    ]
    supply = {"issued": 9_876_543, "destroyed": 0, "circulating": 9_876_543}
    record = turn(1, blocks=blocks, output_tokens=123_456, fees=98_765, supply=supply)
    display.turn_sealed(record, failures=11, seconds=321.5)
    display.finished()
    lines = stream.getvalue().splitlines()
    header, line = lines[1], next(line for line in lines if "123,456" in line)
    assert header.endswith("time")
    assert len(header) <= width
    for said in ("_7+1", "98,765", "9,876,543", "321.5 s"):
        assert said in line


def test_the_commands_are_whole_on_any_terminal():
    stream = io.StringIO()
    print_summary(
        Console(file=stream, width=40),
        summed_up(played(), db_path=Path("runs/a-long-name/sim.db")),
    )
    shown = stream.getvalue()
    for query in (AGENTS, SETTLED):
        assert f'sqlite3 runs/a-long-name/sim.db "{query}"\n' in shown


def test_on_a_terminal_there_is_a_bar_and_a_line_a_turn():
    stream = io.StringIO()
    console = Console(file=stream, width=100, force_terminal=True, color_system=None)
    display = make_display(console, plain=False)
    assert isinstance(display, RichDisplay)
    display.started(["run x"], turns=4, agents=2, done=0)
    display.turn_started(1)
    display.decided("ann", Decision(calls=(call(500),)))
    display.note("a remark")
    display.turn_sealed(turn(1, output_tokens=500), failures=2, seconds=0.5)
    display.turn_started(2)
    display.finished()
    shown = stream.getvalue()
    for said in (
        "turn 1/4",
        "0/2 agents",
        "tok/s",
        "a remark",
        "      0      2      500 ",
        "turn 2/4",
    ):
        assert said in shown
    assert isinstance(make_display(console, plain=True), PlainDisplay)
