"""A small fluent helper: one world of the engine behind its HTTP API, in process.

Worlds are opened on a file of their own; everything a test knows it reads through HTTP, or from
``sim.db`` by
plain sqlite3, as a user would.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from sim_engine.api.app import create_app
from sim_engine.settings import Settings

Json = dict[str, Any]
Agents = Sequence[str] | Mapping[str, int]

DEFAULTS: dict[str, int] = {
    "initial_balance": 50_000,
    "action_points": 6,
    "commons_per_agent": 150,
    "inference_price_bps": 10_000,
    "core_count": 4,
    "core_reserve": 15_000,
    "credit_limit": 10_000,
    "debt_interest_bps": 100,
    "job_wage": 400,
    "job_fund_per_agent": 300,
    "wage_bonus_bps": 2_500,
    "tuition": 200,
    "max_study_level": 10,
    "insight_horizon": 4,
    "mine_power": 100,
    "mine_bonus_bps": 1_000,
    "mine_slots": 4,
    "difficulty_up_bps": 10_156,
    "difficulty_down_bps": 9_375,
    "mine_reward": 1_600,
    "stake_reward": 800,
    "burn_reward": 1_000,
    "stake_rate_bps": 6_000,
    "burn_rate_bps": 5_000,
    "stake_age_cap": 10,
    "burn_decay_bps": 200,
    "trust_mine": 3,
    "trust_stake": 2,
    "trust_burn": 2,
    "unbonding_turns": 3,
    "slash_bps": 5_000,
    "sign_window": 3,
    "attest_window": 2,
    "ruling_window": 3,
    "min_arbitrator_collateral": 250,
    "arbitrator_fee": 50,
    "max_open_contracts": 20,
    "max_message_chars": 500,
    "max_content_chars": 4_000,
    "speech_per_turn": 2,
}

AGENT_COLUMNS = (
    "agent_id",
    "balance",
    "staked",
    "stake_since",
    "burn_score",
    "study_level",
    "study_progress",
    "suspended",
    "contracts_settled",
    "contracts_defaulted",
    "disputes_lost",
    "rulings_made",
    "rulings_missed",
    "blocks_won",
)

# -- actions ---------------------------------------------------------------------------------------


def action(kind: str, **fields: Any) -> Json:
    return {"type": kind, **fields}


def mine(**more: Any) -> Json:
    return action("mine", **more)


def stake(amount: int, **more: Any) -> Json:
    return action("stake", amount=amount, **more)


def unstake(amount: int, **more: Any) -> Json:
    return action("unstake", amount=amount, **more)


def burn(amount: int, **more: Any) -> Json:
    return action("burn", amount=amount, **more)


def study(**more: Any) -> Json:
    return action("study", **more)


def job(**more: Any) -> Json:
    return action("job", **more)


def transfer(to: str, amount: int, **more: Any) -> Json:
    return action("transfer", to=to, amount=amount, **more)


def bid(amount: int, quantity: int = 1, **more: Any) -> Json:
    return action("bid_core", amount=amount, quantity=quantity, **more)


def speak(message: str, **more: Any) -> Json:
    return action("speak", message=message, **more)


def sign(contract_id: str, role: str = "counterparty", **more: Any) -> Json:
    return action("sign_contract", contract_id=contract_id, role=role, **more)


def confirm(contract_id: str, **more: Any) -> Json:
    return action("confirm_delivery", contract_id=contract_id, **more)


def dispute(contract_id: str, reason: str = "not delivered", **more: Any) -> Json:
    return action("dispute_delivery", contract_id=contract_id, reason=reason, **more)


def rule(contract_id: str, ruling: str, **more: Any) -> Json:
    return action("arbitrator_ruling", contract_id=contract_id, ruling=ruling, **more)


def sell(to: str, arbitrator: str, price: int, **more: Any) -> Json:
    fields = {"title": "a hint", "content": "the secret", **more}
    return action("sell_information", to=to, arbitrator=arbitrator, price=price, **fields)


def propose(contract_type: str, terms: Json, *, duration: int = 3, **more: Any) -> Json:
    parties = {"counterparty": "b", "arbitrator": "z", **more}
    return action(
        "propose_contract",
        contract_type=contract_type,
        duration=duration,
        terms=terms,
        **{key: value for key, value in parties.items() if value is not None},
    )


def loan(principal: int, repayment: int, lender: str = "proposer", **more: Any) -> Json:
    terms = {"lender": lender, "principal": principal, "repayment": repayment}
    return propose("loan", terms, **more)


def core_forward(core_id: int, price: int, seller: str = "proposer", **more: Any) -> Json:
    asset = {"kind": "core", "core_id": core_id}
    return propose("forward", {"seller": seller, "asset": asset, "price": price}, **more)


def compute_forward(cap: int, price: int, seller: str = "proposer", **more: Any) -> Json:
    asset = {"kind": "compute", "cap": cap}
    return propose("forward", {"seller": seller, "asset": asset, "price": price}, **more)


def service(
    price: int, provider: str = "counterparty", condition: Json | None = None, **more: Any
) -> Json:
    """A service: automatic with a condition, attested without one."""
    terms: Json = {"provider": provider, "price": price, "description": "some work"}
    if condition is not None:
        terms["condition"] = condition
    settlement = "attested" if condition is None else "automatic"
    return propose("service", terms, **{"settlement": settlement, **more})


def insurance(
    premium: int,
    coverage: int,
    insurer: str = "counterparty",
    condition: Json | None = None,
    **more: Any,
) -> Json:
    """An insurance: automatic with a condition, attested without one."""
    terms: Json = {
        "insurer": insurer,
        "premium": premium,
        "coverage": coverage,
        "description": "some event",
    }
    if condition is not None:
        terms["condition"] = condition
    settlement = "attested" if condition is None else "automatic"
    return propose("insurance", terms, **{"settlement": settlement, **more})


def information(price: int, seller: str = "proposer", **more: Any) -> Json:
    terms = {"seller": seller, "price": price, "title": "a hint", "content": "the secret"}
    return propose("information_sale", terms, **more)


def pool(
    members: Sequence[str], kinds: Sequence[str], split: str | Mapping[str, int], **more: Any
) -> Json:
    terms: Json = {"members": list(members), "kinds": list(kinds)}
    terms["split"] = split if isinstance(split, str) else dict(split)
    return propose("pool", terms, **{"counterparty": None, **more})


# -- the world -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """The answer to one turn."""

    body: Json

    @property
    def turn_hash(self) -> str:
        return str(self.body["turn_hash"])

    @property
    def blocks(self) -> list[Json]:
        return list(self.body["blocks"])

    @property
    def billing(self) -> Json:
        return dict(self.body["billing"])

    @property
    def supply(self) -> dict[str, int]:
        return dict(self.body["supply"])

    def receipts(self, agent_id: str | None = None) -> list[Json]:
        every: list[Json] = self.body["receipts"]
        return [r for r in every if agent_id is None or r["agent_id"] == agent_id]

    def outcomes(self, agent_id: str | None = None) -> list[str]:
        """``applied``, or the code of the rejection, for every action in order."""
        return [r.get("code") or r["status"] for r in self.receipts(agent_id)]

    def canonical(self) -> list[Json]:
        return [b for b in self.blocks if b["status"] == "canonical"]


@dataclass
class EngineWorld:
    """One world behind its HTTP API."""

    client: TestClient
    db_path: Path
    seed: str
    roster: list[str]
    genesis: Json
    config: dict[str, int]

    @property
    def now(self) -> int:
        return int(self.get("/health")["turn"])

    def get(self, path: str, **params: Any) -> Json:
        response = self.client.get(path, params=params)
        assert response.status_code == 200, f"GET {path}: {response.status_code} {response.text}"
        return dict(response.json())

    def post_turn(
        self,
        actions: Mapping[str, Sequence[Json]] | None = None,
        *,
        tokens: Mapping[str, int] | None = None,
        **body: Any,
    ) -> Any:
        """POST /turn, the raw response; agents are submitted in the order of their naming."""
        actions, tokens = actions or {}, tokens or {}
        submissions: list[Json] = []
        for agent_id in dict.fromkeys([*actions, *tokens]):
            one: Json = {"agent_id": agent_id, "actions": list(actions.get(agent_id, []))}
            if agent_id in tokens:
                one["inference"] = {"output_tokens": tokens[agent_id]}
            submissions.append(one)
        return self.client.post("/turn", json={"submissions": submissions, **body})

    def attempt(
        self,
        actions: Mapping[str, Sequence[Json]] | None = None,
        *,
        tokens: Mapping[str, int] | None = None,
    ) -> Answer:
        """Play one turn; actions may be rejected."""
        response = self.post_turn(actions, tokens=tokens)
        assert response.status_code == 200, f"{response.status_code} {response.text}"
        return Answer(response.json())

    def turn(
        self,
        actions: Mapping[str, Sequence[Json]] | None = None,
        *,
        tokens: Mapping[str, int] | None = None,
    ) -> Answer:
        """Play one turn in which every action is applied."""
        answer = self.attempt(actions, tokens=tokens)
        refused = [r for r in answer.receipts() if r["status"] != "applied"]
        assert refused == [], refused
        return answer

    def rest(self, turns: int = 1) -> Answer:
        """Play turns in which nobody does anything; the last answer."""
        assert turns >= 1
        answer = self.turn()
        for _ in range(turns - 1):
            answer = self.turn()
        return answer

    def rest_until(self, turn: int) -> Answer:
        """Play empty turns until ``turn`` is the one just sealed."""
        return self.rest(turn - self.now)

    def refused(self, agent_id: str, *wanted: Json) -> Json:
        """The receipt of the last of ``wanted``, which must be the only one that is rejected."""
        answer = self.attempt({agent_id: list(wanted)})
        *before, last = answer.receipts(agent_id)
        assert all(r["status"] == "applied" for r in before), before
        assert last["status"] == "rejected", last
        return last

    def sign_all(self, proposal: Json, proposer: str = "a") -> str:
        """Propose in one turn and have everybody else sign in the next; the contract's id."""
        before = self.get("/contracts", limit=1000)
        answer = self.turn({proposer: [proposal]})
        assert answer.outcomes(proposer) == ["applied"]
        after = self.get("/contracts", limit=1000)
        known = {c["contract_id"] for c in contracts_of(before)}
        (cid,) = [c["contract_id"] for c in contracts_of(after) if c["contract_id"] not in known]
        self.turn(self.signatures(cid, proposal))
        assert self.contract(cid)["status"] in ("active", "settled"), self.contract(cid)
        return str(cid)

    @staticmethod
    def signatures(cid: str, proposal: Json) -> dict[str, list[Json]]:
        """What everybody but the proposer must send to activate the proposal."""
        if proposal["type"] == "sell_information":
            others = [proposal["to"]]
        elif proposal["contract_type"] == "pool":
            others = proposal["terms"]["members"]
        else:
            others = [proposal["counterparty"]]
        signs = {agent: [sign(cid)] for agent in others}
        return {**signs, proposal["arbitrator"]: [sign(cid, "arbitrator")]}

    def state(self, **params: Any) -> Json:
        return self.get("/state", **params)

    def agent(self, agent_id: str) -> Json:
        return self.get(f"/agent/{agent_id}")

    def balance(self, agent_id: str) -> int:
        return int(self.agent(agent_id)["balance"])

    def balances(self, *agent_ids: str) -> list[int]:
        every = {a["agent_id"]: a["balance"] for a in self.state()["agents"]}
        return [every[agent_id] for agent_id in (agent_ids or self.roster)]

    def insights(self, agent_id: str) -> list[Json]:
        return list(self.agent(agent_id)["private"]["insights"])

    def contract(self, contract_id: str) -> Json:
        return self.get(f"/contract/{contract_id}")

    def cores(self) -> dict[int, str | None]:
        return {c["core_id"]: c["owner"] for c in self.state()["cores"]}

    def speech(self, turn: int) -> list[tuple[str, str]]:
        """Who said what, in the order in which it was said."""
        messages = sorted(self.get(f"/speech/{turn}")["messages"], key=lambda m: m["seq"])
        return [(m["agent_id"], m["message"]) for m in messages]

    def rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Read ``sim.db`` as a user does, while the engine runs."""
        with closing(sqlite3.connect(self.db_path)) as connection:
            return connection.execute(sql, parameters).fetchall()

    def entries(self, turn: int | None = None) -> list[tuple[str, str, int]]:
        """(source, target, amount) of a turn's entries in order, or of the whole history."""
        where, parameters = ("WHERE turn = ?", (turn,)) if turn is not None else ("", ())
        return self.rows(
            f"SELECT source, target, amount FROM entries {where} ORDER BY turn, seq", *parameters
        )

    def fingerprint(self) -> str:
        """All that anybody can see of the world, to show that nothing has moved."""
        return json.dumps(
            [
                self.state(),
                [self.agent(agent_id) for agent_id in self.roster[:8]],
                self.get("/health"),
                self.rows("SELECT COUNT(*), TOTAL(amount) FROM entries"),
                self.rows("SELECT turn, turn_hash FROM turns ORDER BY turn DESC LIMIT 3"),
                self.rows("SELECT COUNT(*) FROM pending_actions"),
            ],
            sort_keys=True,
        )

    def check_books(self) -> None:
        """Rules §2 from outside: conservation, escrow, balances as the sums of their entries."""
        sums: dict[str, int] = {}
        for source, target, amount in self.entries():
            assert 0 < amount < 2**53
            sums[source] = sums.get(source, 0) - amount
            sums[target] = sums.get(target, 0) + amount
        state = self.state()
        seen: dict[str, int] = {"fees": state["fees"], "cores": state["accounts"]["cores"]}
        for agent in state["agents"]:
            name = agent["agent_id"]
            seen[f"agent:{name}"] = agent["balance"]
            seen[f"stake:{name}"] = agent["staked"]
            seen[f"unbonding:{name}"] = sum(lot["amount"] for lot in agent["unbonding"])
        for contract in state["contracts"]:
            seen[f"contract:{contract['contract_id']}"] = contract["escrow"]
        supply = state["supply"]
        seen["issuance"], seen["destroyed"] = -supply["issued"], supply["destroyed"]
        for account in seen.keys() | sums.keys():
            assert sums.get(account, 0) == seen.get(account, 0), account
            if not account.startswith("agent:") and account != "issuance":
                assert seen.get(account, 0) >= 0, account
        assert sum(seen.values()) == 0
        self.check_tables(state)
        assert supply["circulating"] == supply["issued"] - supply["destroyed"]

    def check_tables(self, state: Json) -> None:
        """The tables of ``sim.db`` show the same agents and contracts as the engine."""
        stored = self.rows(f"SELECT {', '.join(AGENT_COLUMNS)} FROM agents")
        assert stored == [tuple(a[name] for name in AGENT_COLUMNS) for a in state["agents"]]
        ended = "('settled', 'defaulted', 'ruled', 'lapsed', 'expired')"
        shown = "SELECT contract_id, status, escrow FROM contracts WHERE status NOT IN"
        assert sorted(self.rows(f"{shown} {ended}")) == sorted(
            (c["contract_id"], c["status"], c["escrow"]) for c in state["contracts"]
        )
        assert self.rows("SELECT core_id, owner FROM cores ORDER BY core_id") == [
            (core["core_id"], core["owner"]) for core in state["cores"]
        ]


def contracts_of(page: Json) -> list[Json]:
    """The contracts of one page of GET /contracts."""
    return list(page["contracts"])


def init_body(agents: Agents, config: Mapping[str, int] | None, seed: str | None) -> Json:
    if isinstance(agents, Mapping):
        roster: list[Any] = [{"agent_id": a, "balance": b} for a, b in agents.items()]
    else:
        roster = list(agents)
    body: Json = {"agents": roster, "config": dict(config or {})}
    return body if seed is None else {**body, "seed": seed}


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for worlds that last no longer than a test, in memory where the system has that."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@contextmanager
def running(db_path: Path, **settings: Any) -> Iterator[TestClient]:
    """The engine on a file, with or without a world; inner faults are answers, as on a wire."""
    app = create_app(Settings(db_path=db_path, **settings))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@contextmanager
def open_world(
    db_path: Path,
    agents: Agents = ("a", "b", "c", "z"),
    config: Mapping[str, int] | None = None,
    seed: str = "seed-0",
) -> Iterator[EngineWorld]:
    """A world that has just been created, at turn 0."""
    with running(db_path) as client:
        response = client.post("/init", json=init_body(agents, config, seed))
        assert response.status_code == 201, response.text
        yield EngineWorld(
            client=client,
            db_path=db_path,
            seed=seed,
            roster=list(agents),
            genesis=response.json(),
            config={**DEFAULTS, **(config or {})},
        )


@contextmanager
def reopened(world: EngineWorld) -> Iterator[EngineWorld]:
    """The same file in an engine that has just been started; the first one must be closed."""
    with running(world.db_path) as client:
        yield EngineWorld(
            client=client,
            db_path=world.db_path,
            seed=world.seed,
            roster=world.roster,
            genesis=world.genesis,
            config=world.config,
        )
