"""A seeded source of turns: ordinary, hostile and broken ones.

It knows names of actions and their fields (`docs/api.md`), not what the rules make of them. It
looks at the public state only to aim: at contracts that wait for a signature, at owned cores, at
what an agent could just or just not afford.
"""

import copy
from random import Random
from typing import Any

from .workload_contracts import ContractMaker
from .workload_worlds import random_world

Action = dict[str, Any]
View = dict[str, Any]

WORDS = ("hello", "Straße", "İZMİR", "ΣΊΣΥΦΟΣ", "sell", "core", "🪙", "mine", "e\u0301", "x")
NO_SUCH_AGENTS = ("nobody.at-all", "", "a b", "\0", "AGENT_0", "x" * 65)
WRONG_VALUES: tuple[Any, ...] = (
    *(None, True, 1.0, "", "1", [], {}, "\ud800"),
    *(-1, 0, 1, 2**53 - 1, 2**53, 10**30),
)
HUGE = (10**12, 2**53 - 1)


class Workload:
    """All the turns of one world, drawn from one seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.init_body = random_world(self.random, f"simulation-{seed}")
        self.agents = [
            entry if isinstance(entry, str) else entry["agent_id"]
            for entry in self.init_body["agents"]
        ]
        rate = self.random.uniform
        self.eagerness = {
            "sign": rate(0.3, 0.95),
            "confirm": self.random.choice((0.02, 0.1, 0.4)),
            "dispute": self.random.choice((0.0, 0.05, 0.25)),
            "rule": rate(0.05, 0.7),
            "trade": rate(0.05, 0.6),
            "broken": self.random.choice((0.0, 0.05, 0.2)),
            "fee": self.random.choice((0.0, 0.1, 0.5)),
            "absent": self.random.choice((0.0, 0.1, 0.4)),
        }
        self.tokens_max = self.random.choice((0, 100, 400, 3000, 100_000))
        self.actions_max = self.random.choice((3, 8, 16))
        self.last_contract = 0
        self.makers = ContractMaker(self.random, self.agents, self.amount, self.text)
        self.weights = [self.random.choice((0.2, 1.0, 3.0)) for _ in self.plain_actions()]

    # -- pieces ----------------------------------------------------------------------------------

    def chance(self, probability: float) -> bool:
        """Return true with the given probability."""
        return self.random.random() < probability

    def amount(self, balance: int) -> int:
        """Return an amount of at least 1: a small one, a share of a balance, or near its edge."""
        wealth = max(1, balance)
        options = (
            self.random.randint(1, 9),
            self.random.randint(1, 400),
            1 + wealth // self.random.randint(2, 20),
            wealth,
            wealth + 1,
            self.random.choice(HUGE),
        )
        return self.random.choices(options, weights=(30, 30, 30, 4, 3, 2))[0]

    def text(self, limit_of: str = "max_message_chars") -> str:
        """Return a text, sometimes just as long as allowed, sometimes longer by one."""
        words = " ".join(self.random.choices(WORDS, k=self.random.randint(1, 3)))
        limit = int(self.config[limit_of])
        if self.chance(0.05):
            return (words * limit)[: limit + self.random.randint(0, 1)]
        return words[: max(1, limit)]

    def someone(self) -> str:
        """Return an agent's id, or rarely one that does not exist."""
        return self.random.choice(NO_SUCH_AGENTS if self.chance(0.03) else self.agents)

    def contract_id(self) -> str:
        """Return the id of some contract of the past, or one that does not exist."""
        if self.chance(0.02):
            return self.random.choice(("", "c01", "C1", "c1 ", "c٣", "c" + "9" * 30))
        return f"c{self.random.randint(1, self.last_contract + 2)}"

    # -- a turn ----------------------------------------------------------------------------------

    def turn(self, view: View, config: dict[str, int]) -> dict[str, Any]:
        """Return the body of the turn after the one that `view` (as `GET /state`) shows."""
        self.config = config
        self.makers.config = config
        self.makers.cores = {core["core_id"]: core["owner"] for core in view["cores"]}
        self.makers.balances = {who["agent_id"]: who["balance"] for who in view["agents"]}
        numbers = [int(contract["contract_id"][1:]) for contract in view["contracts"]]
        self.last_contract = max([self.last_contract, *numbers])
        submissions = []
        for agent in view["agents"]:
            if self.chance(self.eagerness["absent"]):
                continue
            submission: dict[str, Any] = {
                "agent_id": agent["agent_id"],
                "actions": self.actions_of(agent, view["contracts"]),
            }
            if self.chance(0.9):
                submission["inference"] = self.inference()
            submissions.append(submission)
        self.random.shuffle(submissions)
        return {"turn": view["turn"] + 1, "submissions": submissions}

    def inference(self) -> dict[str, Any]:
        """Return what an agent's model used this turn."""
        used = self.random.randint(0, self.tokens_max)
        inference: dict[str, Any] = {"output_tokens": used}
        if self.chance(0.5):
            inference |= {"prompt_tokens": used * 3, "model": "scripted", "duration_ms": used}
        return inference

    def actions_of(self, agent: View, contracts: list[View]) -> list[Action]:
        """Return what one agent does: its part in contracts, then this and that, shuffled."""
        listed = self.contract_duties(agent["agent_id"], contracts)
        for _ in range(self.random.randint(0, self.actions_max)):
            if self.chance(self.eagerness["trade"]):
                listed.append(self.makers.proposal(agent, self.last_contract))
                if self.chance(self.eagerness["broken"]):
                    self.makers.distort(listed[-1])
            else:
                listed.append(self.plain_action(agent))
        self.random.shuffle(listed)
        for action in listed:
            if self.chance(self.eagerness["fee"]):
                action["fee"] = self.random.choice((0, 1, 2, 5, 5, 17))
                if self.chance(0.02):
                    action["fee"] = self.amount(agent["balance"])
        return listed

    def contract_duties(self, me: str, contracts: list[View]) -> list[Action]:
        """Return what contracts wait for, each with its own probability."""
        listed: list[Action] = []
        for contract in contracts:
            roles = {contract["arbitrator"]: "arbitrator", contract["counterparty"]: "counterparty"}
            for member in contract["terms"].get("members", []):
                roles[member] = "counterparty"
            about = {"contract_id": contract["contract_id"]}
            if contract["status"] == "proposed" and me in roles:
                if me not in contract["signatures"] and self.chance(self.eagerness["sign"]):
                    listed.append({"type": "sign_contract", **about, "role": roles[me]})
            elif contract["status"] == "active" and contract["settlement"] == "attested":
                if me in (contract["proposer"], contract["counterparty"]):
                    if self.chance(self.eagerness["confirm"]):
                        listed.append({"type": "confirm_delivery", **about})
                    if self.chance(self.eagerness["dispute"]):
                        reason = self.text()
                        listed.append({"type": "dispute_delivery", **about, "reason": reason})
            elif (
                contract["status"] == "disputed"
                and me == contract["arbitrator"]
                and self.chance(self.eagerness["rule"])
            ):
                listed.append(self.ruling(contract["contract_id"]))
        return listed

    def ruling(self, contract_id: str) -> Action:
        """Return a ruling of any kind."""
        ruling = self.random.choice(("proposer", "counterparty", "split"))
        action = {"type": "arbitrator_ruling", "contract_id": contract_id, "ruling": ruling}
        return action | ({"reason": self.text()} if self.chance(0.5) else {})

    def plain_actions(self) -> list[str]:
        """Return the types that `plain_action` can make."""
        return [
            "mine", "stake", "unstake", "burn", "study", "job", "transfer", "bid_core", "speak",
            "sign_contract", "confirm_delivery", "dispute_delivery", "arbitrator_ruling",
        ]  # fmt: skip

    def plain_action(self, agent: View) -> Action:
        """Return one action that is no proposal, aimed at nothing in particular."""
        kind = self.random.choices(self.plain_actions(), weights=self.weights)[0]
        action: Action = {"type": kind}
        if kind in ("stake", "burn"):
            action["amount"] = self.amount(agent["balance"])
        elif kind == "unstake":
            action["amount"] = self.amount(agent["staked"])
        elif kind == "transfer":
            action |= {"to": self.someone(), "amount": self.amount(agent["balance"])}
            if self.chance(0.3):
                action["memo"] = self.text()
        elif kind == "bid_core":
            reserve = self.config["core_reserve"]
            action["amount"] = max(1, reserve + self.random.choice((-1, 0, 1, 2, reserve, 10)))
            if self.chance(0.5):
                action["quantity"] = self.random.randint(1, self.config["core_count"] + 1)
        elif kind == "speak":
            action["message"] = self.text() or "x"
        elif kind == "sign_contract":
            role = self.random.choice(("proposer", "counterparty", "arbitrator"))
            action |= {"contract_id": self.contract_id(), "role": role}
        elif kind == "confirm_delivery":
            action["contract_id"] = self.contract_id()
        elif kind == "dispute_delivery":
            action |= {"contract_id": self.contract_id(), "reason": self.text()}
        elif kind == "arbitrator_ruling":
            return self.ruling(self.contract_id())
        return action

    # -- malformed requests ----------------------------------------------------------------------

    def mutate(self, body: dict[str, Any]) -> None:
        """Change one place of a turn, anywhere below its number, for better or for worse."""
        places: list[tuple[Any, Any]] = []
        collect_places(body["submissions"], places)
        if not places:
            return
        container, key = self.random.choice(places)
        what = self.random.choice(("drop", "add", "replace", "replace"))
        if what == "drop":
            del container[key]
        elif what == "add" and isinstance(container, dict):
            container["unheard_of"] = 1
        else:
            container[key] = copy.deepcopy(self.random.choice(WRONG_VALUES))


def collect_places(value: Any, places: list[tuple[Any, Any]]) -> None:
    """List every (container, key) below a JSON value."""
    keys = value if isinstance(value, dict) else range(len(value))
    for key in keys:
        places.append((value, key))
        if isinstance(value[key], dict | list):
            collect_places(value[key], places)
