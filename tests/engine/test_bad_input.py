"""Bad input gets a clear answer and changes nothing: docs/api.md; rules §6, "Shape or rule?"."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.engine import harness
from tests.engine.harness import (
    DEFAULTS,
    Json,
    action,
    bid,
    burn,
    information,
    loan,
    mine,
    pool,
    running,
    sell,
    service,
    speak,
    stake,
    transfer,
)

JSON_HEADERS = {"content-type": "application/json"}
BIG = 2**53


def one_action(text: str) -> str:
    """A turn whose only action is ``text``, JSON or not."""
    return '{"submissions": [{"agent_id": "a", "actions": [' + text + "]}]}"


def without(one: Json, field: str) -> Json:
    return {key: value for key, value in one.items() if key != field}


def with_terms(one: Json, **changes: Any) -> Json:
    return {**one, "terms": {**one["terms"], **changes}}


def in_actions(name: str, *actions: Any) -> list[Any]:
    return [
        pytest.param(one_action(json.dumps(action)), id=f"{name}-{i}" if i else name)
        for i, action in enumerate(actions)
    ]


def amount(text: str, label: str | None = None) -> Any:
    """A transfer of an amount that is written as it stands."""
    raw = one_action('{"type": "transfer", "to": "b", "amount": ' + text + "}")
    return pytest.param(raw, id=f"amount {label or text}")


BAD_TURNS = [
    pytest.param("", id="empty body"),
    pytest.param("{", id="lone brace"),
    pytest.param('{"submissions": []', id="cut at the end"),
    pytest.param('{"submissions": [{"agent_id": "a", "act', id="cut in half"),
    pytest.param("{'submissions': []}", id="single quotes"),
    pytest.param('{"submissions": []} x', id="trailing text"),
    pytest.param("[]", id="a list"),
    pytest.param('"x"', id="a string"),
    pytest.param("null", id="null"),
    pytest.param("{}", id="no submissions"),
    pytest.param('{"submissions": null}', id="null submissions"),
    pytest.param('{"submissions": {}}', id="submissions no list"),
    pytest.param('{"submissions": [], "more": 1}', id="unknown field of a turn"),
    pytest.param(
        '{"submissions": [{"agent_id": "a", "actions": [], "x": 1}]}', id="of a submission"
    ),
    pytest.param('{"submissions": [{"agent_id": "a"}]}', id="no actions"),
    pytest.param('{"submissions": [{"actions": []}]}', id="no agent"),
    pytest.param('{"submissions": [{"agent_id": 1, "actions": []}]}', id="agent no text"),
    pytest.param('{"submissions": [{"agent_id": "nobody", "actions": []}]}', id="unknown agent"),
    pytest.param(
        '{"submissions": [{"agent_id": "a", "actions": []}, {"agent_id": "a", "actions": []}]}',
        id="agent twice",
    ),
    pytest.param('{"submissions": [], "turn": "1"}', id="turn as text"),
    pytest.param('{"submissions": [], "turn": 1.0}', id="turn as float"),
    pytest.param('{"submissions": [], "turn": true}', id="turn as boolean"),
    pytest.param('{"submissions": [], "turn": null}', id="turn null"),
    pytest.param('{"submissions": [], "turn": 0}', id="turn zero"),
    pytest.param('{"submissions": [], "turn": -1}', id="turn negative"),
    amount("1.0"),
    amount("1.5"),
    amount("1e2"),
    amount('"5"'),
    amount("true"),
    amount("false"),
    amount("null"),
    amount("[5]"),
    amount("{}"),
    amount("0"),
    amount("-1"),
    amount("-0"),
    amount("NaN"),
    amount("Infinity"),
    amount("-Infinity"),
    amount("1e999"),
    amount(str(BIG), "2^53"),
    amount("1" + "0" * 400, "10^400"),
    amount("1" + "0" * 5_000, "10^5000"),
    amount("0x10"),
    amount("05"),
    *in_actions("fee", mine(fee=-1), mine(fee=1.0), mine(fee="1"), mine(fee=None), mine(fee=BIG)),
    *in_actions("fee is a boolean", mine(fee=True)),
    *in_actions("unknown type", {"type": "steal"}, {"type": "Mine"}, {"type": ""}, {"type": None}),
    *in_actions("no type", {}, {"amount": 5}),
    *in_actions("unknown field", mine(power=9), stake(5, note="x"), transfer("b", 5, to_=1)),
    *in_actions("missing field", without(stake(5), "amount"), without(transfer("b", 5), "to")),
    *in_actions("no text", action("transfer", to=5, amount=5), action("speak", message=5)),
    *in_actions("null text", transfer("b", 5, memo=None), action("speak", message=None)),
    *in_actions("empty message", speak("")),
    *in_actions("quantity", bid(5, 0), bid(5, -1), action("bid_core", amount=5, quantity=1.0)),
    *in_actions("bid of nothing", bid(0)),
    *in_actions("burn of nothing", burn(0)),
    *in_actions("action no object", "mine", ["mine"], None, 1),
    *in_actions("unknown contract type", {**loan(1, 1), "contract_type": "swap"}),
    *in_actions("no terms", without(loan(1, 1), "terms")),
    *in_actions("null terms", {**loan(1, 1), "terms": None}),
    *in_actions("terms of another type", {**loan(1, 1), "contract_type": "service"}),
    *in_actions("unknown term", with_terms(loan(1, 1), interest=5)),
    *in_actions("principal", loan(0, 1), loan(1, 0), loan(-1, 1), loan(BIG, 1)),
    *in_actions("lender", with_terms(loan(1, 1), lender="a"), with_terms(loan(1, 1), lender="z")),
    *in_actions("duration", loan(1, 1, duration=0), loan(1, 1, duration=1.0)),
    *in_actions("collateral", loan(1, 1, proposer_collateral=-1)),
    *in_actions(
        "null collateral", loan(1, 1, arbitrator_collateral=None) | {"arbitrator_fee": None}
    ),
    *in_actions("settlement", loan(1, 1, settlement="manual")),
    *in_actions("no counterparty", without(loan(1, 1), "counterparty")),
    *in_actions(
        "null counterparty of a pool", {**pool(["b"], ["mine"], "equal"), "counterparty": None}
    ),
    *in_actions("no members", pool([], ["mine"], "equal")),
    *in_actions("no kinds", pool(["b"], [], "equal")),
    *in_actions("unknown kind", pool(["b"], ["genesis"], "equal")),
    *in_actions(
        "split", pool(["b"], ["mine"], "half"), with_terms(pool(["b"], ["mine"], "equal"), split=1)
    ),
    *in_actions(
        "split of floats", with_terms(pool(["b"], ["mine"], "equal"), split={"a": 5e3, "b": 5})
    ),
    *in_actions("condition of no type", service(1, condition={"agent": "a"})),
    *in_actions("unknown condition", service(1, condition={"type": "rain"})),
    *in_actions(
        "condition of nothing",
        service(1, condition={"type": "blocks_won", "agent": "a", "at_least": 0}),
        service(1, condition={"type": "balance_below", "agent": "a", "amount": 0}),
        service(1, condition={"type": "study_level_at_least", "agent": "a", "level": 0}),
        service(1, condition={"type": "core_owned", "agent": "a", "core_id": -1}),
    ),
    *in_actions(
        "unknown action of a condition",
        service(1, condition={"type": "actions", "agent": "a", "action": "x", "at_least": 1}),
    ),
    *in_actions("price", information(0), sell("b", "z", 0), service(0)),
    *in_actions("no content", without(sell("b", "z", 1), "content")),
    pytest.param(one_action('{"type": "speak", "message": "\\ud800"}'), id="lone high surrogate"),
    pytest.param(one_action('{"type": "speak", "message": "x\\udc00y"}'), id="lone low surrogate"),
    pytest.param(one_action('{"type": "speak", "message": "\\ude00\\ud83d"}'), id="swapped pair"),
    pytest.param(
        one_action('{"type": "transfer", "to": "\\ud800", "amount": 1}'), id="surrogate id"
    ),
    pytest.param(one_action('{"type": "mine", "\\ud800": 1}'), id="surrogate as a key"),
    pytest.param(one_action('{"type": "speak", "message": "a\tb"}'), id="raw control character"),
    pytest.param('{"submissions": ' + "[" * 100_000, id="deep, unclosed"),
    pytest.param('{"submissions": ' + "[" * 100_000 + "]" * 100_000 + "}", id="deep"),
    pytest.param(one_action('{"a":' * 50_000 + "1" + "}" * 50_000), id="deep objects"),
    pytest.param(
        one_action(json.dumps(loan(1, 1))[:-1] + ', "x": ' + "[" * 9_000 + "]" * 9_000 + "}"),
        id="deep in a field",
    ),
]

BAD_BYTES = [
    pytest.param(b"\xff\xfe" + "{}".encode("utf-16-le"), id="utf-16"),
    pytest.param(b'{"submissions": [], "turn": "\xff"}', id="no utf-8"),
    pytest.param(
        one_action('{"type": "speak", "message": "@"}').encode().replace(b"@", b"\xed\xa0\x80"),
        id="utf-8 of a surrogate",
    ),
    pytest.param(b"\x00" * 100, id="zeros"),
]


def problem(response: Any, status: int) -> Json:
    """Check the shape that every error has, and give its body."""
    assert response.status_code == status, (response.status_code, response.text[:300])
    assert response.headers["content-type"].startswith("application/problem+json")
    body: Json = json.loads(response.content)
    assert body["status"] == status
    for field in ("type", "title", "code", "detail"):
        assert isinstance(body[field], str), field
        assert body[field], field
    assert "Traceback" not in response.text
    return body


def malformed(response: Any) -> Json:
    """A 422 names the place and says what is wrong with it."""
    body = problem(response, 422)
    assert body["errors"], body
    for error in body["errors"]:
        assert set(error) >= {"loc", "message"}
        assert error["message"]
    return body


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One world for all the bad bodies: none of them may leave a trace in it."""
    path = tmp_path_factory.mktemp("bad") / "sim.db"
    with harness.open_world(path, ("a", "b", "c", "z")) as opened:
        opened.turn({"a": [stake(5), loan(10, 10)]})
        yield opened


@pytest.mark.parametrize("body", BAD_TURNS)
def test_malformed_turn(world, body):
    before = world.fingerprint()
    malformed(world.client.post("/turn", content=body.encode(), headers=JSON_HEADERS))
    assert world.fingerprint() == before


@pytest.mark.parametrize("body", BAD_BYTES)
def test_turn_that_is_no_text(world, body):
    before = world.fingerprint()
    malformed(world.client.post("/turn", content=body, headers=JSON_HEADERS))
    assert world.fingerprint() == before


BAD_COUNTS = ["-1", "1.0", '"5"', "true", "null", str(BIG)]


@pytest.mark.parametrize(
    ("field", "tokens"),
    [
        *[
            (field, n)
            for field in ("output_tokens", "prompt_tokens", "duration_ms")
            for n in BAD_COUNTS
        ],
        ("output_tokens", "1000000001"),
        ("model", "5"),
        ("temperature", "1"),
    ],
)
def test_malformed_inference(world, field, tokens):
    inference = {"output_tokens": "1", field: tokens}
    text = ", ".join(f'"{name}": {value}' for name, value in inference.items())
    body = f'{{"submissions": [{{"agent_id": "a", "actions": [], "inference": {{{text}}}}}]}}'
    before = world.fingerprint()
    malformed(world.client.post("/turn", content=body, headers=JSON_HEADERS))
    assert world.fingerprint() == before


def test_one_bad_action_refuses_the_whole_turn_and_is_named(world):
    good = {"agent_id": "a", "actions": [stake(5)]}
    bad = {"agent_id": "b", "actions": [mine(), {"type": "stake", "amount": "many"}]}
    before = world.fingerprint()
    body = malformed(world.client.post("/turn", json={"submissions": [good, bad]}))
    places = [error["loc"] for error in body["errors"]]
    assert places == [["submissions", 1, "actions", 1, "amount"]]
    assert world.fingerprint() == before


def test_an_unknown_agent_is_named_by_its_place(world):
    submissions: list[Json] = [
        {"agent_id": "a", "actions": []},
        {"agent_id": "mallory", "actions": []},
    ]
    body = malformed(world.client.post("/turn", json={"submissions": submissions}))
    assert [error["loc"] for error in body["errors"]] == [["submissions", 1, "agent_id"]]


def test_an_agent_that_comes_twice_is_named_by_its_place(world):
    submissions: list[Json] = [{"agent_id": x, "actions": []} for x in ("a", "b", "a")]
    body = malformed(world.client.post("/turn", json={"submissions": submissions}))
    assert [error["loc"] for error in body["errors"]] == [["submissions", 2, "agent_id"]]


@pytest.mark.parametrize("turn", [1, 2, 9])
def test_a_malformed_body_is_422_whatever_its_turn_number(world, turn):
    body = {"turn": turn, "submissions": [{"agent_id": "nobody", "actions": []}]}
    malformed(world.client.post("/turn", json=body))


@pytest.mark.parametrize("path", ["/turn", "/init", "/actions"])
def test_a_body_of_50_megabytes_is_refused(world, path):
    before = world.fingerprint()
    body = b'{"submissions": [' + b" " * 50_000_000 + b"]}"
    problem(world.client.post(path, content=body, headers=JSON_HEADERS), 413)
    assert world.fingerprint() == before


def test_a_huge_body_without_a_length_is_refused_as_well(world):
    before = world.fingerprint()

    def chunks():
        yield b'{"submissions": ['
        for _ in range(50):
            yield b" " * 1_000_000
        yield b"]}"

    problem(world.client.post("/turn", content=chunks(), headers=JSON_HEADERS), 413)
    assert world.fingerprint() == before


# -- turn numbers and replays ----------------------------------------------------------------------


def test_a_turn_ahead_is_out_of_order(open_world):
    world = open_world(("a", "b"))
    world.rest()
    before = world.fingerprint()
    body = problem(world.post_turn(turn=3), 409)
    assert body["code"] == "turn_out_of_order"
    assert "2" in body["detail"]
    assert world.fingerprint() == before


def test_a_sealed_turn_with_another_body_is_refused(open_world):
    world = open_world(("a", "b"))
    assert world.post_turn({"a": [stake(5)]}, turn=1).status_code == 200
    before = world.fingerprint()
    assert problem(world.post_turn({"a": [stake(6)]}, turn=1), 409)["code"] == "turn_sealed"
    assert world.fingerprint() == before


def test_an_older_turn_with_another_body_is_refused(open_world):
    world = open_world(("a", "b"))
    world.rest(3)
    assert problem(world.post_turn({"a": [stake(6)]}, turn=1), 409)["code"] == "turn_sealed"


def test_the_turn_just_sealed_again_gives_the_stored_answer(open_world):
    world = open_world(("a", "b"))
    world.rest()
    first = world.post_turn({"a": [stake(5)]}, tokens={"b": 7}, turn=2)
    assert "idempotent-replay" not in first.headers
    before = world.fingerprint()
    again = world.post_turn({"a": [stake(5)]}, tokens={"b": 7}, turn=2)
    assert again.status_code == 200
    assert again.headers["idempotent-replay"] == "true"
    assert again.json() == first.json()
    assert world.fingerprint() == before


def test_an_idempotency_key_gives_the_same_guarantee_without_a_number(open_world):
    world = open_world(("a", "b"))
    key = {"Idempotency-Key": "k-1"}
    body = {"submissions": [{"agent_id": "a", "actions": [stake(5)]}]}
    first = world.client.post("/turn", json=body, headers=key)
    before = world.fingerprint()
    again = world.client.post("/turn", json=body, headers=key)
    assert again.headers["idempotent-replay"] == "true"
    assert again.json() == first.json()
    other = {"submissions": [{"agent_id": "a", "actions": [stake(6)]}]}
    problem(world.client.post("/turn", json=other, headers=key), 409)
    assert world.fingerprint() == before
    assert (
        world.client.post("/turn", json=body, headers={"Idempotency-Key": "k-2"}).json()["turn"]
        == 2
    )


def test_without_number_and_key_the_same_body_is_another_turn(open_world):
    world = open_world(("a", "b"))
    assert [world.post_turn({"a": [stake(5)]}).json()["turn"] for _ in range(2)] == [1, 2]


def test_a_replay_survives_a_restart(tmp_path):
    body = {"turn": 1, "submissions": [{"agent_id": "a", "actions": [stake(5)]}]}
    with running(tmp_path / "sim.db") as client:
        client.post("/init", json={"agents": ["a"], "seed": "s"})
        first = client.post("/turn", json=body)
    with running(tmp_path / "sim.db") as client:
        again = client.post("/turn", json=body)
        assert again.headers["idempotent-replay"] == "true"
        assert again.json() == first.json()
        other = {**body, "submissions": []}
        assert problem(client.post("/turn", json=other), 409)["code"] == "turn_sealed"


# -- /init -----------------------------------------------------------------------------------------


def test_nothing_can_be_played_before_init(tmp_path):
    with running(tmp_path / "sim.db") as client:
        for path in ("/state", "/agent/a", "/contract/c1", "/speech/1", "/config"):
            response = client.get(path)
            problem(response, response.status_code)
            assert response.status_code in (404, 409)
        response = client.post("/turn", json={"submissions": []})
        problem(response, response.status_code)
        assert response.status_code in (404, 409)
        assert client.get("/health").status_code == 200


def test_the_same_init_again_gives_the_same_answer(open_world):
    world = open_world(("a", "b"), {"tuition": 7})
    world.rest(2)
    before = world.fingerprint()
    body = {"agents": ["a", "b"], "config": {"tuition": 7}, "seed": world.seed}
    again = world.client.post("/init", json=body)
    assert again.status_code == 200
    assert again.json() == world.genesis
    assert world.fingerprint() == before


@pytest.mark.parametrize(
    "other",
    [
        {"agents": ["a"], "seed": "seed-0"},
        {"agents": ["b", "a"], "seed": "seed-0"},
        {"agents": ["a", "b"], "seed": "other"},
        {"agents": ["a", "b"], "seed": "seed-0", "config": {"tuition": 1}},
        {"agents": ["a", {"agent_id": "b", "balance": 1}], "seed": "seed-0"},
    ],
)
def test_another_init_is_refused(open_world, other):
    world = open_world(("a", "b"))
    before = world.fingerprint()
    assert problem(world.client.post("/init", json=other), 409)["code"] == "world_exists"
    assert world.fingerprint() == before


def test_init_answers_with_all_keys_of_the_config(open_world):
    world = open_world(("a", "b"), {"tuition": 7})
    assert world.genesis["turn"] == 0
    assert world.genesis["agents"] == 2
    shown = world.genesis["config"]
    assert {key: shown[key] for key in DEFAULTS} == {**DEFAULTS, "tuition": 7}
    served = world.get("/config")
    assert {key: served[key] for key in DEFAULTS} == {**DEFAULTS, "tuition": 7}
    assert served["protocol_version"] == 1


def test_a_world_without_a_seed_gets_a_random_one(tmp_path):
    hashes = set()
    for name in ("one", "two"):
        with running(tmp_path / f"{name}.db") as client:
            answer = client.post("/init", json={"agents": ["a"]})
            assert answer.status_code == 201
            hashes.add(answer.json()["turn_hash"])
    assert len(hashes) == 2


BAD_INITS = [
    pytest.param({"agents": []}, None, id="no agents"),
    pytest.param({}, "agents", id="agents missing"),
    pytest.param({"agents": "a"}, "agents", id="agents no list"),
    pytest.param({"agents": ["a", "a"]}, "agents", id="agent twice"),
    pytest.param({"agents": ["a", {"agent_id": "a"}]}, "agents", id="agent twice in two forms"),
    pytest.param({"agents": [""]}, None, id="empty id"),
    pytest.param({"agents": ["a b"]}, None, id="id with a space"),
    pytest.param({"agents": ["a\n"]}, None, id="id with a newline"),
    pytest.param({"agents": ["ä"]}, None, id="id beyond ASCII"),
    pytest.param({"agents": ["x" * 65]}, None, id="id of 65"),
    pytest.param({"agents": [None]}, None, id="null id"),
    pytest.param({"agents": [{"agent_id": "a", "balance": -1}]}, "balance", id="negative balance"),
    pytest.param({"agents": [{"agent_id": "a", "balance": 1.0}]}, "balance", id="float balance"),
    pytest.param({"agents": [{"agent_id": "a", "balance": "1"}]}, "balance", id="text balance"),
    pytest.param({"agents": [{"agent_id": "a", "balance": None}]}, "balance", id="null balance"),
    pytest.param({"agents": [{"agent_id": "a", "balance": BIG}]}, "balance", id="2^53"),
    pytest.param({"agents": [{"agent_id": "a", "gold": 1}]}, "gold", id="unknown field 2"),
    pytest.param({"agents": [{"balance": 1}]}, "agent_id", id="agent without id"),
    pytest.param({"agents": ["a"], "seed": 5}, "seed", id="seed no text"),
    pytest.param({"agents": ["a"], "seed": None}, "seed", id="null seed"),
    pytest.param({"agents": ["a"], "colour": "red"}, "colour", id="unknown field"),
    pytest.param({"agents": ["a"], "config": []}, "config", id="config no object"),
    pytest.param({"agents": ["a"], "config": None}, "config", id="null config"),
    pytest.param({"agents": ["a"], "config": {"gravity": 1}}, "gravity", id="unknown key"),
    pytest.param({"agents": ["a"], "config": {"tuition": -1}}, "tuition", id="negative key"),
    pytest.param({"agents": ["a"], "config": {"tuition": 1.0}}, "tuition", id="float key"),
    pytest.param({"agents": ["a"], "config": {"tuition": "1"}}, "tuition", id="text key"),
    pytest.param({"agents": ["a"], "config": {"tuition": True}}, "tuition", id="boolean key"),
    pytest.param({"agents": ["a"], "config": {"tuition": None}}, "tuition", id="null key"),
    pytest.param({"agents": ["a"], "config": {"tuition": BIG}}, "tuition", id="key of 2^53"),
    pytest.param({"agents": ["a"], "config": {"trust_mine": 0}}, "trust_mine", id="no trust"),
    pytest.param({"agents": ["a"], "config": {"trust_stake": 0}}, "trust_stake", id="no trust 2"),
    pytest.param({"agents": ["a"], "config": {"trust_burn": 0}}, "trust_burn", id="no trust 3"),
    pytest.param({"agents": ["a"], "config": {"core_count": 0}}, "core_count", id="no cores"),
    pytest.param({"agents": ["a"], "config": {"mine_slots": 0}}, "mine_slots", id="no slots"),
    pytest.param({"agents": ["a"], "config": {"slash_bps": 10_001}}, "slash_bps", id="over 100%"),
    *[
        pytest.param({"agents": ["a"], "config": {key: 10_001}}, key, id=key)
        for key in ("stake_rate_bps", "burn_rate_bps", "burn_decay_bps", "debt_interest_bps")
    ],
    pytest.param(
        {"agents": [{"agent_id": "a", "balance": BIG - 1}, {"agent_id": "b", "balance": 1}]},
        None,
        id="sum of balances above 2^53 − 1",
    ),
    pytest.param(
        {"agents": ["a", "b"], "config": {"initial_balance": BIG // 2}},
        None,
        id="sum of initial balances above 2^53 − 1",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("body", "named"), BAD_INITS)
def test_malformed_init(tmp_path, body, named):
    with running(tmp_path / "sim.db") as client:
        answer = malformed(client.post("/init", json=body))
        if named is not None:
            assert named in json.dumps(answer["errors"])
        # Nothing was made: a good request still makes the world.
        assert client.post("/init", json={"agents": ["a"]}).status_code == 201


@pytest.mark.parametrize("key", sorted(DEFAULTS))
def test_every_key_of_the_config_is_bounded_and_named(tmp_path, key):
    with running(tmp_path / "sim.db") as client:
        for value in (-1, 2**53, "1", 1.5):
            answer = malformed(client.post("/init", json={"agents": ["a"], "config": {key: value}}))
            assert key in json.dumps(answer["errors"])


def test_balances_may_sum_to_the_largest_amount(open_world):
    world = open_world({"a": BIG - 2, "b": 1})
    assert world.state()["supply"]["issued"] == BIG - 1
    world.turn({"a": [transfer("b", BIG - 2)]})
    assert world.balances() == [0, BIG - 1]


def test_a_world_that_is_full_stays_readable_and_within_its_bounds(open_world):
    world = open_world({"a": BIG - 2, "b": 1}, {"job_fund_per_agent": 10_000})
    world.post_turn({"b": [{"type": "job"}]})
    assert world.state()["supply"]["issued"] <= BIG - 1
    assert all(balance <= BIG - 1 for balance in world.balances())


# -- paths that are not there ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/agent/nobody", "unknown_agent"),
        ("/agent/%F0%9F%8C%8D", "unknown_agent"),
        ("/contract/c99", "unknown_contract"),
        ("/contract/c", "unknown_contract"),
        ("/contract/c01", "unknown_contract"),
        ("/speech/99", None),
        ("/turns/99", None),
        ("/block/00", None),
        ("/nothing", None),
    ],
)
def test_what_does_not_exist_is_404(world, path, code):
    body = problem(world.client.get(path), 404)
    assert code is None or body["code"] == code


@pytest.mark.parametrize(
    "path",
    [
        "/speech/x",
        "/turns/x",
        "/turns/1.5",
        "/entries?turn=x",
        "/entries?limit=0",
        "/blocks?limit=-1",
    ],
)
def test_a_parameter_of_the_wrong_type_is_422(world, path):
    malformed(world.client.get(path))


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/turn"), ("POST", "/state"), ("DELETE", "/agent/a"), ("PUT", "/init")],
)
def test_a_wrong_method_is_405(world, method, path):
    problem(world.client.request(method, path), 405)


@pytest.mark.parametrize("path", ["/entries", "/contracts", "/blocks"])
def test_an_unbounded_page_is_refused_or_cut(world, path):
    response = world.client.get(path, params={"limit": 10**9})
    assert response.status_code in (200, 422)
    if response.status_code == 422:
        malformed(response)


# -- /actions --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"agent_id": "a"},
        {"agent_id": "a", "actions": [{"type": "steal"}]},
        {"agent_id": "a", "actions": [action("stake", amount=1.0)]},
        {"agent_id": "a", "actions": [mine()], "more": 1},
        {"agent_id": "a", "actions": [mine()], "idempotency_key": 5},
        {"agent_id": 5, "actions": [mine()]},
    ],
)
def test_malformed_queueing(world, body):
    before = world.fingerprint()
    malformed(world.client.post("/actions", json=body))
    assert world.fingerprint() == before


def test_queueing_for_an_unknown_agent(world):
    before = world.fingerprint()
    response = world.client.post("/actions", json={"agent_id": "nobody", "actions": [mine()]})
    assert response.status_code in (404, 422)
    problem(response, response.status_code)
    assert world.fingerprint() == before
