"""What users need besides the seven endpoints: docs/api.md."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest

from tests.engine import harness, oracle, strategies
from tests.engine.harness import (
    burn,
    confirm,
    information,
    loan,
    mine,
    pool,
    running,
    service,
    sign,
    speak,
    stake,
    study,
    transfer,
)
from tests.engine.play import play, submissions


@pytest.fixture(scope="module")
def busy(tmp_path_factory):
    """A world in which thirty turns of everything have been played, a loan and a sale first."""
    path = tmp_path_factory.mktemp("busy") / "sim.db"
    config = {**strategies.CONFIG, "stake_rate_bps": 9_000, "burn_rate_bps": 9_000}
    with harness.open_world(path, strategies.START, config, "busy") as world:
        world.sign_all(loan(100, 101, arbitrator="c", duration=4))
        world.sign_all(harness.sell("b", "c", 40))
        play(world, "busy", 5, 30)
        yield world


# -- health, turns ---------------------------------------------------------------------------------


def test_health_says_ok_with_the_turn_and_the_version(open_world):
    world = open_world(("a",))
    world.rest(2)
    health = world.get("/health")
    assert health["status"] == "ok"
    assert health["turn"] == 2
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", health["version"])


def test_a_sealed_turn_is_served_as_it_was_answered(busy):
    for turn in (5, 17, 30):
        stored = busy.get(f"/turns/{turn}")
        assert stored["turn"] == turn
        (row,) = busy.rows("SELECT turn_hash FROM turns WHERE turn = ?", turn)
        assert stored["turn_hash"] == row[0]
        assert len(stored["receipts"]) == 30
    again = busy.client.post("/turn", json={"turn": 30, "submissions": submissions("busy", 30)})
    assert again.headers["idempotent-replay"] == "true"
    assert again.json() == busy.get("/turns/30")


def test_the_answer_to_a_turn_is_the_one_that_is_stored(open_world):
    world = open_world(("a", "b"))
    answer = world.attempt(
        {"a": [mine(), mine(), transfer("x", 1)], "b": [speak("hey", fee=3)]}, tokens={"a": 900}
    )
    assert world.get("/turns/1") == answer.body


def test_speech_and_turns_of_the_future_are_not_found(open_world):
    world = open_world(("a",))
    world.rest()
    for path in ("/speech/2", "/turns/2"):
        assert world.client.get(path).status_code == 404


# -- blocks ----------------------------------------------------------------------------------------


def pages(world, path, key, **params):
    """All rows of a paged list, three at a time; no page is longer than what was asked for."""
    found, after = [], None
    while True:
        asked = {**params, "limit": 3} | ({"after": after} if after is not None else {})
        page = world.get(path, **asked)
        assert len(page[key]) <= 3
        found += page[key]
        after = page.get("next_after")
        if after is None:
            return found
        assert page[key], "a page without rows must be the last"


def test_blocks_are_the_chain_with_its_orphans(busy):
    rows = busy.rows(
        "SELECT hash, kind, height, parent_hash, producer, status, reward, turn FROM blocks"
    )
    names = ("hash", "kind", "height", "parent_hash", "producer", "status", "reward", "turn")
    expected = {row[0]: dict(zip(names, row, strict=True)) for row in rows}
    blocks = pages(busy, "/blocks", "blocks")
    assert len(blocks) == len(expected)
    assert {block["hash"]: block for block in blocks} == expected
    assert {block["status"] for block in blocks} == {"canonical", "orphaned"}


def test_blocks_can_be_asked_for_by_status_and_from_a_height(busy):
    orphans = pages(busy, "/blocks", "blocks", status="orphaned")
    assert orphans
    assert {block["status"] for block in orphans} == {"orphaned"}
    high = pages(busy, "/blocks", "blocks", **{"from": 5})
    everything = pages(busy, "/blocks", "blocks")
    assert high == [block for block in everything if block["height"] >= 5]


def test_a_block_is_found_by_its_hash(busy):
    tip = busy.state()["chain"]["tip_hash"]
    block = busy.get(f"/block/{tip}")
    assert block["hash"] == tip
    assert block["height"] == busy.state()["chain"]["height"]
    assert busy.get(f"/block/{oracle.GENESIS_HASH}")["kind"] == "genesis"


# -- contracts, entries ----------------------------------------------------------------------------


def test_contracts_are_listed_in_pages_and_by_status_type_and_agent(busy):
    rows = busy.rows(
        "SELECT contract_id, status, contract_type, proposer, counterparty, arbitrator "
        "FROM contracts"
    )
    rows.sort(key=lambda row: int(row[0][1:]))
    found = pages(busy, "/contracts", "contracts")
    assert [c["contract_id"] for c in found] == [row[0] for row in rows]
    assert len(found) > 20
    for status in ("expired", "settled", "proposed"):
        some = pages(busy, "/contracts", "contracts", status=status)
        assert [c["contract_id"] for c in some] == [row[0] for row in rows if row[1] == status]
    loans = pages(busy, "/contracts", "contracts", type="loan")
    assert [c["contract_id"] for c in loans] == [row[0] for row in rows if row[2] == "loan"]
    mine_ = {c["contract_id"] for c in pages(busy, "/contracts", "contracts", agent="a")}
    assert mine_ >= {row[0] for row in rows if "a" in row[3:]}
    assert pages(busy, "/contracts", "contracts", agent="A") == []  # another agent, if any
    both = pages(busy, "/contracts", "contracts", type="loan", status="expired")
    assert [c["contract_id"] for c in both] == [
        row[0] for row in rows if row[1] == "expired" and row[2] == "loan"
    ]


def test_entries_are_the_journal_in_pages(busy):
    rows = busy.rows(
        "SELECT turn, seq, source, target, amount, reason, reference FROM entries "
        "WHERE turn IN (7, 8) ORDER BY turn, seq"
    )
    names = ("turn", "seq", "source", "target", "amount", "reason", "reference")
    for turn in (7, 8):
        expected = [dict(zip(names, row, strict=True)) for row in rows if row[0] == turn]
        assert pages(busy, "/entries", "entries", turn=turn) == expected
    account = "agent:b"
    of_b = pages(busy, "/entries", "entries", account=account)
    assert sum(
        entry["amount"] * (1 if entry["target"] == account else -1) for entry in of_b
    ) == busy.balance("b")


def test_a_list_without_a_limit_is_bounded_all_the_same(tmp_path):
    agents = [f"n{i}" for i in range(6_000)]
    with harness.open_world(tmp_path / "sim.db", agents) as world:
        page = world.get("/entries")
        assert 0 < len(page["entries"]) < 6_000
        assert page["next_after"] is not None


# -- metrics ---------------------------------------------------------------------------------------

SAMPLE = re.compile(
    r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{([a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\.)*",?)*\})? '
    r"(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|NaN|[+-]Inf)$"
)


def test_metrics_are_prometheus_text(busy):
    response = busy.client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain")
    assert response.text.endswith("\n")
    types: dict[str, str] = {}
    values: dict[str, float] = {}
    for line in response.text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in types, "a family is announced once"
            assert kind in ("counter", "gauge", "histogram", "summary", "untyped")
            types[name] = kind
        elif line and not line.startswith("#"):
            match = SAMPLE.fullmatch(line)
            assert match, line
            family = re.sub(r"_(bucket|sum|count)$", "", match[1])
            assert match[1] in types or family in types, line
            key = match[1] + (match[2] or "")
            assert key not in values, "a series comes once"
            values[key] = float(match[4])
    supply = busy.state()["supply"]
    for amount in (30, supply["issued"], supply["destroyed"], supply["circulating"]):
        assert amount in values.values()


def test_metrics_of_turns_are_one_row_a_turn(busy):
    rows = pages(busy, "/metrics/turns", "turns")
    assert [row["turn"] for row in rows] in (list(range(31)), list(range(1, 31)))
    state = busy.state()
    last = rows[-1]
    supply = state["supply"]
    assert {key: last[key] for key in supply} == supply
    assert last["issued"] == sum(sum(row["issued_by_reason"].values()) for row in rows) + (
        0 if rows[0]["turn"] == 0 else sum(strategies.START.values())
    )
    assert last["destroyed"] == sum(sum(row["destroyed_by_reason"].values()) for row in rows)
    assert last["debt"] == sum(max(0, -agent["balance"]) for agent in state["agents"])
    kinds = dict(
        busy.rows(
            "SELECT kind, COUNT(*) FROM blocks WHERE status = 'canonical' AND turn > 0 GROUP BY 1"
        )
    )
    for kind, count in kinds.items():
        assert sum(row[f"{kind}_blocks"] for row in rows) == count
    statuses = dict(busy.rows("SELECT status, COUNT(*) FROM contracts GROUP BY 1"))
    assert last["contracts_by_status"] == statuses
    owned = [core["owner"] for core in state["cores"] if core["owner"]]
    top = max(map(owned.count, owned), default=0)
    assert last["top_core_bps"] == top * 10_000 // len(state["cores"])


@pytest.mark.parametrize(
    ("balances", "gini_bps"),
    [
        ({"a": 5, "b": 5, "c": 5, "d": 5}, 0),
        # One has everything: (n − 1) / n.
        ({"a": 0, "b": 0, "c": 0, "d": 9}, 7_500),
        # 1, 2, 3: 2·(1 + 4 + 9) / (3·6) − 4/3 = 28/18 − 24/18 = 0.2222…
        ({"a": 3, "b": 1, "c": 2}, 2_222),
        ({"a": 0, "b": 0}, 0),
    ],
)
def test_gini_of_known_distributions(open_world, balances, gini_bps):
    world = open_world(balances)
    world.rest()
    assert world.get("/metrics/turns")["turns"][-1]["gini_bps"] == gini_bps


# -- the pending pool ------------------------------------------------------------------------------


def queue(client, agent_id, *actions, **more):
    body = {"agent_id": agent_id, "actions": list(actions), **more}
    response = client.post("/actions", json=body)
    assert response.status_code == 202, response.text
    return response.json()["ids"]


def test_queued_actions_are_taken_by_the_next_turn_and_only_once(open_world):
    world = open_world({"a": 1_000, "b": 0})
    assert len(queue(world.client, "a", transfer("b", 5), stake(7))) == 2
    assert world.balances() == [1_000, 0]
    answer = world.turn()
    assert [(r["agent_id"], r["type"], r["status"]) for r in answer.receipts()] == [
        ("a", "transfer", "applied"),
        ("a", "stake", "applied"),
    ]
    assert world.balances() == [988, 5]
    assert world.turn().receipts() == []


def test_queued_actions_act_after_the_agents_own_submission_and_answer_after_all_others(
    open_world,
):
    world = open_world(("a", "b"), {"action_points": 2})
    queue(world.client, "a", stake(1), speak("queued"))
    answer = world.attempt({"a": [speak("own"), mine()], "b": [stake(2)]})
    # The own mine has used both points.
    assert [(r["agent_id"], r["type"], r.get("code")) for r in answer.receipts()] == [
        ("a", "speak", None),
        ("a", "mine", None),
        ("b", "stake", None),
        ("a", "stake", "action_points_exhausted"),
        ("a", "speak", None),
    ]
    assert world.speech(1) == [("a", "own"), ("a", "queued")]


def test_several_queueings_keep_their_order_and_have_ids_of_their_own(open_world):
    world = open_world(("a", "b"), {"speech_per_turn": 9})
    ids = queue(world.client, "a", speak("1"), speak("2"))
    ids += queue(world.client, "b", speak("x"))
    ids += queue(world.client, "a", speak("3"))
    assert len(set(ids)) == 4
    world.turn()
    assert [text for who, text in world.speech(1) if who == "a"] == ["1", "2", "3"]


def test_the_same_idempotency_key_queues_once(open_world):
    world = open_world(("a", "b"))
    first = queue(world.client, "a", speak("once"), idempotency_key="k")
    assert queue(world.client, "a", speak("once"), idempotency_key="k") == first
    other = {"agent_id": "a", "actions": [speak("other")], "idempotency_key": "k"}
    assert world.client.post("/actions", json=other).status_code == 409
    # Keys are each agent's own.
    queue(world.client, "b", speak("mine"), idempotency_key="k")
    world.turn()
    assert sorted(world.speech(1)) == [("a", "once"), ("b", "mine")]
    # The answer stays what it was: turn 1 has taken the actions.
    body = {"agent_id": "a", "actions": [speak("once")], "idempotency_key": "k"}
    again = world.client.post("/actions", json=body).json()
    assert again == {"agent_id": "a", "ids": first, "for_turn": 1}


def test_queued_actions_survive_a_restart(tmp_path):
    with harness.open_world(tmp_path / "sim.db", ("a", "b")) as world:
        queue(world.client, "b", transfer("a", 9), idempotency_key="k")
        assert world.rows("SELECT COUNT(*) FROM pending_actions") == [(1,)]
    with harness.reopened(world) as again:
        queue(again.client, "b", transfer("a", 9), idempotency_key="k")
        again.turn()
        assert again.balances() == [50_009, 49_991]
        assert again.rows("SELECT COUNT(*) FROM pending_actions") == [(0,)]


def test_a_refused_turn_leaves_the_queue_as_it_was(open_world):
    world = open_world(("a", "b"))
    queue(world.client, "a", transfer("b", 9))
    bad = {"submissions": [{"agent_id": "nobody", "actions": []}]}
    assert world.client.post("/turn", json=bad).status_code == 422
    assert world.turn().outcomes() == ["applied"]


def test_a_queued_action_may_be_rejected_like_any_other(open_world):
    world = open_world({"a": 5, "b": 0})
    queue(world.client, "a", transfer("b", 6))
    assert world.attempt().outcomes() == ["insufficient_funds"]


# -- schema ----------------------------------------------------------------------------------------

GOOD_ACTIONS = [
    mine(),
    mine(fee=3),
    stake(1),
    harness.unstake(2**53 - 1),
    burn(1),
    study(),
    harness.job(),
    transfer("b", 1),
    transfer("b", 1, memo="x"),
    loan(1, 1),
    harness.core_forward(0, 1),
    harness.compute_forward(1, 1),
    service(1),
    service(1, condition={"type": "blocks_won", "agent": "b", "at_least": 1}),
    service(1, condition={"type": "core_owned", "agent": "b", "core_id": 0}),
    harness.insurance(0, 1),
    information(1),
    pool(["b"], ["mine", "stake"], "weight"),
    pool(["b"], ["burn"], {"a": 1, "b": 9_999}),
    sign("c1"),
    confirm("c1"),
    harness.dispute("c1"),
    harness.rule("c1", "split"),
    harness.sell("b", "z", 1),
    harness.bid(1, 1),
    speak("x"),
]

BAD_ACTIONS = [
    {},
    {"type": "steal"},
    {"type": "mine", "power": 1},
    {"type": "stake"},
    {"type": "stake", "amount": 0},
    {"type": "stake", "amount": "5"},
    {"type": "stake", "amount": 1.5},
    {"type": "stake", "amount": True},
    {"type": "stake", "amount": 2**53},
    {"type": "stake", "amount": None},
    {"type": "speak", "message": ""},
    {"type": "transfer", "to": "b", "amount": 1, "memo": None},
    {**loan(1, 1), "terms": {}},
    {**loan(1, 1), "counterparty": None},
    pool([], ["mine"], "equal"),
    pool(["b"], [], "equal"),
    sign("c1", "lender"),
    "mine",
]


def test_the_schema_of_actions_is_a_valid_json_schema(open_world):
    schema = open_world(("a",)).get("/schema/actions")
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["type"] == "array"


def test_the_schema_accepts_what_the_engine_accepts_and_refuses_what_it_refuses(open_world):
    world = open_world(("a", "b", "z"))
    validator = jsonschema.Draft202012Validator(world.get("/schema/actions"))
    for good in GOOD_ACTIONS:
        assert validator.is_valid([good]), good
        assert world.post_turn({"a": [good]}).status_code == 200, good
    assert validator.is_valid(GOOD_ACTIONS)
    assert validator.is_valid([])
    for bad in BAD_ACTIONS:
        assert not validator.is_valid([bad]), bad
        assert world.post_turn({"a": [bad]}).status_code == 422, bad
    assert {action["type"] for action in GOOD_ACTIONS} == {
        "mine", "stake", "unstake", "burn", "study", "job", "transfer", "propose_contract",
        "sign_contract", "confirm_delivery", "dispute_delivery", "arbitrator_ruling",
        "sell_information", "bid_core", "speak",
    }  # fmt: skip


def test_openapi_describes_every_path(open_world):
    described = open_world(("a",)).get("/openapi.json")
    assert described["openapi"].startswith("3.")
    assert set(described["paths"]) >= {
        "/init", "/turn", "/state", "/agent/{agent_id}", "/contract/{contract_id}",
        "/speech/{turn}", "/config", "/health", "/turns/{turn}", "/blocks", "/contracts",
        "/entries", "/metrics", "/metrics/turns", "/actions", "/schema/actions",
    }  # fmt: skip
    for method, path, statuses in [
        ("post", "/init", {"200", "201", "409", "413", "422"}),
        ("post", "/turn", {"200", "409", "413", "422", "503"}),
        ("post", "/actions", {"202", "413", "422"}),
        ("get", "/agent/{agent_id}", {"200", "404"}),
        ("get", "/contract/{contract_id}", {"200", "404"}),
        ("get", "/speech/{turn}", {"200", "404"}),
    ]:
        assert set(described["paths"][path][method]["responses"]) >= statuses, path


# -- state and views -------------------------------------------------------------------------------


def test_state_may_leave_the_agents_out(busy):
    whole, short = busy.state(), busy.state(agents="false")
    assert "agents" not in short
    assert {key: value for key, value in whole.items() if key != "agents"} == short
    assert set(whole) >= {
        "turn", "turn_hash", "agents", "cores", "chain", "supply", "fees", "commons", "job_fund",
        "contracts", "accounts",
    }  # fmt: skip
    assert whole["commons"] == 20 * 5


def test_an_agent_shows_all_its_parts(busy):
    agent = busy.agent("a")
    assert set(agent) == {
        "agent_id", "balance", "staked", "stake_since", "unbonding", "burn_score", "study_level",
        "study_progress", "cores", "suspended", "contracts_settled", "contracts_defaulted",
        "disputes_lost", "rulings_made", "rulings_missed", "blocks_won", "private",
    }  # fmt: skip
    assert set(agent["private"]) == {"insights", "information", "receipts"}
    public = next(a for a in busy.state()["agents"] if a["agent_id"] == "a")
    assert "private" not in public
    assert {key: value for key, value in agent.items() if key != "private"} == public


def test_the_private_view_has_the_receipts_of_the_last_turn(open_world):
    world = open_world(("a", "b"))
    world.turn({"a": [stake(5)]})
    answer = world.attempt({"a": [speak("x"), transfer("nobody", 1)], "b": [mine()]})
    assert world.agent("a")["private"]["receipts"] == answer.receipts("a")
    world.rest()
    assert world.agent("a")["private"]["receipts"] == []


def test_blocks_won_counts_canonical_blocks_of_all_kinds(busy):
    won = dict(
        busy.rows(
            "SELECT producer, COUNT(*) FROM blocks "
            "WHERE status = 'canonical' AND kind <> 'genesis' GROUP BY 1"
        )
    )
    assert sum(won.values()) > 5
    assert {a["agent_id"]: a["blocks_won"] for a in busy.state()["agents"]} == {
        x: won.get(x, 0) for x in strategies.AGENTS
    }


def test_rewards_of_blocks_are_what_was_issued_for_them_and_the_fees(busy):
    fees = sum(
        amount if target == "fees" else -amount
        for source, target, amount in busy.entries()
        if "fees" in (source, target)
    )
    assert fees == busy.state()["fees"]
    minted = {"mine": 1_600, "stake": 800, "burn": 1_000}
    paid = busy.rows("SELECT kind, status, reward FROM blocks WHERE kind <> 'genesis'")
    for kind, status, reward in paid:
        if status == "orphaned":
            assert reward == 0
        elif kind == "mine":
            assert reward >= minted["mine"]
        else:
            assert reward == minted[kind]
    won_fees = sum(amount for source, _, amount in busy.entries() if source == "fees")
    mined = [reward for kind, status, reward in paid if (kind, status) == ("mine", "canonical")]
    assert sum(mined) == 1_600 * len(mined) + won_fees


# -- who may read what -----------------------------------------------------------------------------


@pytest.fixture
def keyed(tmp_path):
    """A world with keys: the client, the operator's headers, each agent's headers."""
    with running(tmp_path / "sim.db", operator_key="operator-key") as client:
        operator = {"Authorization": "Bearer operator-key"}
        body = {"agents": ["a", "b", "c", "z"], "agent_keys": True, "seed": "keys"}
        assert client.post("/init", json=body).status_code == 401
        answer = client.post("/init", json=body, headers=operator)
        assert answer.status_code == 201
        keys = answer.json()["agent_keys"]
        yield client, operator, {x: {"Authorization": f"Bearer {keys[x]}"} for x in "abcz"}


def submit(client, operator, **actions):
    body = {"submissions": [{"agent_id": x, "actions": own} for x, own in actions.items()]}
    answer = client.post("/turn", json=body, headers=operator)
    assert answer.status_code == 200
    assert {r["status"] for r in answer.json()["receipts"]} <= {"applied"}


def test_only_the_operator_plays_turns_and_agents_queue_for_themselves(keyed):
    client, operator, agents = keyed
    turn: harness.Json = {"submissions": []}
    assert client.post("/turn", json=turn).status_code == 401
    assert client.post("/turn", json=turn, headers=agents["a"]).status_code == 403
    wrong = {"Authorization": "Bearer nonsense"}
    assert client.post("/turn", json=turn, headers=wrong).status_code == 401
    own, foreign = ({"agent_id": x, "actions": [speak("x")]} for x in "ab")
    assert client.post("/actions", json=own, headers=agents["a"]).status_code == 202
    assert client.post("/actions", json=foreign, headers=agents["a"]).status_code == 403
    assert client.post("/actions", json=own).status_code == 401
    submit(client, operator)
    assert client.get("/speech/1").json()["messages"][0]["agent_id"] == "a"


def test_private_views_are_for_the_agent_itself_and_the_operator(keyed):
    client, operator, agents = keyed
    submit(client, operator, a=[study()])
    for headers, may in [
        (None, False),
        (agents["b"], False),
        (agents["a"], True),
        (operator, True),
    ]:
        view = client.get("/agent/a", headers=headers).json()
        assert ("private" in view) is may
    assert "seed" in client.get("/config", headers=operator).json()
    for headers in (None, agents["a"]):
        assert "seed" not in client.get("/config", headers=headers).json()


def test_sold_content_is_readable_by_those_the_rules_name_and_in_no_public_view(keyed):
    client, operator, agents = keyed

    def readers():
        views = {
            who: client.get("/contract/c1", headers=headers).json()["terms"]
            for who, headers in [("public", None), ("operator", operator), *agents.items()]
        }
        assert all(terms["title"] == "a hint" for terms in views.values())
        return {who for who, terms in views.items() if terms.get("content") == "the secret"}

    offer = information(80, settlement="attested")
    submit(client, operator, a=[offer])
    assert readers() == {"operator", "a"}
    submit(client, operator, b=[sign("c1")])
    assert readers() == {"operator", "a"}
    submit(client, operator, z=[sign("c1", "arbitrator")])
    assert readers() == {"operator", "a", "b"}
    submit(client, operator, b=[harness.dispute("c1")])
    assert readers() == {"operator", "a", "b", "z"}
    public = ["/state", "/contracts", "/turns/1", "/turns/2", "/entries", "/agent/a", "/agent/b"]
    for path in [*public, "/contract/c1", "/metrics", "/metrics/turns", "/speech/1"]:
        for headers in (None, agents["c"]):
            assert "the secret" not in client.get(path, headers=headers).text, path
    own = client.get("/agent/b", headers=agents["b"]).json()["private"]["information"]
    assert [i["content"] for i in own] == ["the secret"]


def test_keys_are_shown_once_and_never_stored_as_they_are(keyed, tmp_path):
    client, operator, agents = keyed
    body = {"agents": ["a", "b", "c", "z"], "agent_keys": True, "seed": "keys"}
    again = client.post("/init", json=body, headers=operator)
    assert again.status_code == 200
    keys = [headers["Authorization"].removeprefix("Bearer ") for headers in agents.values()]
    assert not any(key in again.text for key in keys)
    for file in tmp_path.glob("sim.db*"):
        content = file.read_bytes()
        assert not any(key.encode() in content for key in [*keys, "operator-key"])


# -- sim.db ----------------------------------------------------------------------------------------

QUERIES = {
    "SELECT turn, agent_id, message FROM speech_log ORDER BY turn": 3,
    "SELECT agent_id, balance, staked, burn_score, study_level FROM agents": 5,
    "SELECT * FROM contracts WHERE status='settled'": 8,
}


@pytest.mark.parametrize("query", QUERIES)
def test_the_three_queries_of_the_specification(busy, query):
    rows = busy.rows(query)
    assert rows
    assert all(len(row) >= QUERIES[query] for row in rows)


def test_what_the_queries_show_is_what_the_engine_says(busy):
    rows = busy.rows("SELECT agent_id, balance, staked, burn_score, study_level FROM agents")
    names = ("agent_id", "balance", "staked", "burn_score", "study_level")
    assert rows == [tuple(a[name] for name in names) for a in busy.state()["agents"]]
    spoken = busy.rows("SELECT turn, agent_id, message FROM speech_log ORDER BY turn")
    assert len(spoken) == sum(len(busy.speech(turn)) for turn in range(1, 31))
    for contract_id, status in busy.rows("SELECT contract_id, status FROM contracts"):
        assert busy.contract(contract_id)["status"] == status


TABLES = {
    "agents": "agent_id balance staked burn_score study_level",
    "contracts": "contract_id contract_type status proposer counterparty arbitrator settlement",
    "speech_log": "turn seq agent_id message",
    "blocks": "hash height kind parent_hash producer turn status reward",
    "actions": "turn seq agent_id type payload status code fee",
    "entries": "turn seq source target amount reason reference",
    "turns": "turn turn_hash",
    "cores": "core_id owner",
    "inference": "turn agent_id model prompt_tokens output_tokens billed_tokens fee",
    "turn_metrics": "turn",
    "config": "key value",
    "pending_actions": "agent_id",
    "submissions": "turn agent_id",
}


@pytest.mark.parametrize("table", TABLES)
def test_tables_have_the_columns_of_the_contract(busy, table):
    columns = {row[1] for row in busy.rows(f"PRAGMA table_info({table})")}
    assert columns >= set(TABLES[table].split())


def test_actions_are_kept_with_payload_status_and_fee(open_world):
    world = open_world({"a": 50, "b": 0})
    world.attempt({"a": [transfer("b", 5, memo="für dich", fee=2), transfer("b", 500)]})
    rows = world.rows("SELECT agent_id, type, payload, status, code, fee FROM actions ORDER BY seq")
    assert [(*row[:2], *row[3:]) for row in rows] == [
        ("a", "transfer", "applied", None, 2),
        ("a", "transfer", "rejected", "insufficient_funds", 0),
    ]
    payload = json.loads(rows[0][2])
    assert (payload["to"], payload["amount"], payload["memo"]) == ("b", 5, "für dich")


def test_view_of_wealth_agrees_with_the_agents(busy):
    rows = busy.rows("SELECT agent_id, wealth FROM v_wealth")
    expected = {
        a["agent_id"]: a["balance"] + a["staked"] + sum(lot["amount"] for lot in a["unbonding"])
        for a in busy.state()["agents"]
    }
    assert dict(rows) == expected
    assert [wealth for _, wealth in rows] == sorted(expected.values(), reverse=True)


def test_view_of_supply_agrees_with_the_state(busy):
    supply = busy.state()["supply"]
    assert busy.rows("SELECT issued, destroyed, circulating FROM v_supply WHERE turn = 30") == [
        (supply["issued"], supply["destroyed"], supply["circulating"])
    ]


def test_view_of_contract_outcomes_counts_all_contracts(busy):
    rows = busy.rows(
        "SELECT contract_type, status, SUM(contracts) FROM v_contract_outcomes GROUP BY 1, 2"
    )
    assert sorted(rows) == sorted(
        busy.rows("SELECT contract_type, status, COUNT(*) FROM contracts GROUP BY 1, 2")
    )


def test_view_of_payments_has_every_payment_between_agents(busy):
    payments = busy.rows("SELECT turn, payer, payee, amount FROM v_payments")
    assert sorted(payments) == sorted(
        (turn, source.removeprefix("agent:"), target.removeprefix("agent:"), amount)
        for turn, source, target, amount in busy.rows(
            "SELECT turn, source, target, amount FROM entries"
        )
        if source.startswith("agent:") and target.startswith("agent:")
    )
    assert payments
