"""Random proposals of all six types, and ways to spoil them."""

from collections.abc import Callable
from random import Random
from typing import Any

Action = dict[str, Any]
View = dict[str, Any]

PARTIES = ("proposer", "counterparty")
KINDS = ("mine", "stake", "burn")
ACTIONS = ("mine", "stake", "job", "speak", "study", "burn", "transfer", "sign_contract")


class ContractMaker:
    """Makes proposals from what the public can see: `config`, `cores` and `balances`."""

    def __init__(
        self,
        random: Random,
        agents: list[str],
        amount: Callable[[int], int],
        text: Callable[..., str],
    ) -> None:
        self.random = random
        self.agents = agents
        self.amount = amount
        self.text = text
        self.config: dict[str, int] = {}
        self.cores: dict[int, str | None] = {}
        self.balances: dict[str, int] = {}

    def proposal(self, agent: View, last_contract: int) -> Action:
        """Return a proposal by an agent; with 2 agents it cannot be a good one."""
        self.last_contract = last_contract
        others = [name for name in self.agents if name != agent["agent_id"]]
        self.random.shuffle(others)
        counterparty, arbitrator = others[0], others[-1]
        kind = self.random.choice(
            ("loan", "forward", "service", "insurance", "information_sale", "pool", "sell")
        )
        price = self.price(agent)
        if kind == "sell":
            action: Action = {
                "type": "sell_information",
                "to": counterparty,
                "arbitrator": arbitrator,
                **self.information(price),
            }
            if self.random.random() < 0.6:
                action["duration"] = self.random.randint(1, 4)
        else:
            action = {
                "type": "propose_contract",
                "contract_type": kind,
                "counterparty": counterparty,
                "arbitrator": arbitrator,
                "duration": self.random.randint(1, 4),
            }
            if self.random.random() < 0.01:
                action["duration"] = 2**53 - 1
        attested = self.random.random() < 0.5 and kind not in ("loan", "forward", "pool")
        if attested or self.random.random() < 0.3:
            action["settlement"] = "attested" if attested else "automatic"
        if kind != "sell":
            action["terms"] = self.terms(kind, agent, others, price, attested)
        for key in ("proposer_collateral", "counterparty_collateral"):
            if kind != "pool" and self.random.random() < 0.4:
                action[key] = min(self.random.choice((1, 7, 101, price // 2, price * 3)), 2**53 - 1)
        if self.random.random() < 0.3:
            minimum = self.config["min_arbitrator_collateral"]
            action["arbitrator_collateral"] = minimum + self.random.choice((0, 1, 2, 33))
        if kind in ("loan", "forward") and agent["balance"] > 100 and self.random.random() < 0.2:
            self.overreach(action, int(agent["balance"]))
        if self.random.random() < 0.3:
            action["arbitrator_fee"] = self.random.choice((0, 1, 13))
        return action

    def overreach(self, action: Action, balance: int) -> None:
        """Let the proposer owe more than what its collateral leaves it, but less than both."""
        action["proposer_collateral"] = balance * 6 // 10
        debt = balance // 2
        if action["contract_type"] == "loan":
            action["terms"] = {"lender": "counterparty", "principal": 5, "repayment": debt}
        else:
            asset = {"kind": "compute", "cap": 5}
            action["terms"] = {"seller": "counterparty", "asset": asset, "price": debt}

    def price(self, agent: View) -> int:
        """Return a price: mostly one that can be paid."""
        if self.random.random() < 0.7:
            return self.random.randint(1, 250)
        return self.amount(int(agent["balance"]))

    def information(self, price: int) -> dict[str, Any]:
        """Return the terms of an information sale, without its seller."""
        content = f"{self.text('max_content_chars')}"
        return {"price": price, "title": self.text(), "content": content}

    def terms(
        self, kind: str, agent: View, others: list[str], price: int, attested: bool
    ) -> dict[str, Any]:
        """Return terms of a type, with all fields and no others."""
        party = self.random.choice(PARTIES)
        condition = {} if attested else {"condition": self.condition()}
        if kind == "loan":
            repayment = self.random.choice((price, price + price // 5, price * 3 + 1, 10**9))
            return {"lender": party, "principal": price, "repayment": min(repayment, 2**53 - 1)}
        if kind == "forward":
            return self.forward(agent["agent_id"], party, price)
        if kind == "service":
            return {"provider": party, "price": price, "description": self.text(), **condition}
        if kind == "insurance":
            premium = self.random.choice((0, 1, 20, price))
            common = {"premium": premium, "coverage": price, "description": self.text()}
            return {"insurer": party, **common, **condition}
        if kind == "information_sale":
            return {"seller": party, **self.information(price)}
        return self.pool(agent["agent_id"], others)

    def forward(self, me: str, party: str, price: int) -> dict[str, Any]:
        """Return a forward on a core, which its seller often has, or on compute."""
        if self.random.random() < 0.5:
            cap = min(self.random.choice((1, price, price * 2, 10**6)), 2**53 - 1)
            return {"seller": party, "asset": {"kind": "compute", "cap": cap}, "price": price}
        mine = [core_id for core_id, owner in self.cores.items() if owner == me]
        if mine and self.random.random() < 0.7:
            core_id, party = self.random.choice(mine), "proposer"
        else:
            core_id = self.random.choice(list(self.cores))
        return {"seller": party, "asset": {"kind": "core", "core_id": core_id}, "price": price}

    def pool(self, me: str, others: list[str]) -> dict[str, Any]:
        """Return a pool in which the last of `others`, the arbitrator, is no member."""
        members = others[: self.random.randint(1, max(1, min(4, len(others) - 1)))]
        kinds = self.random.sample(KINDS, self.random.randint(1, 3))
        split: Any = self.random.choice(("equal", "weight"))
        if self.random.random() < 0.4:
            names = [me, *members]
            cuts = sorted(self.random.sample(range(1, 10_000), len(names) - 1))
            edges = zip([0, *cuts], [*cuts, 10_000], strict=True)
            shares = [high - low for low, high in edges]
            split = dict(zip(names, shares, strict=True))
        return {"members": members, "kinds": kinds, "split": split}

    def condition(self) -> dict[str, Any]:
        """Return a condition of any type, mostly one that a few turns can meet."""
        who = {"agent": self.random.choice(self.agents)}
        count = self.random.choice((1, 1, 2, 3))
        amount = self.random.choice((1, 100, 10_000, max(1, self.balances[who["agent"]])))
        conditions: tuple[dict[str, Any], ...] = (
            {"type": "blocks_won", **who, "at_least": count},
            {"type": "blocks_won", **who, "kind": self.random.choice(KINDS), "at_least": count},
            {"type": "actions", **who, "action": self.random.choice(ACTIONS), "at_least": count},
            {"type": "spoke", **who, "contains": self.random.choice(("HELLO", "σ", "i̇z", "Ss"))},
            {"type": "balance_below", **who, "amount": amount},
            {"type": "balance_at_least", **who, "amount": amount},
            {"type": "study_level_at_least", **who, "level": count},
            {"type": "core_owned", **who, "core_id": self.random.choice(list(self.cores))},
            {"type": "inference_fees_at_least", **who, "amount": amount},
            {
                "type": "contract_defaulted",
                "contract_id": f"c{self.random.randint(1, max(1, self.last_contract))}",
            },
        )
        return self.random.choice(conditions)

    def distort(self, action: Action) -> None:
        """Spoil a proposal in a way that keeps it well-formed."""
        is_sale = action["type"] == "sell_information"
        named = "to" if is_sale else "counterparty"
        terms = action if is_sale else action["terms"]
        ways: list[Callable[[], Any]] = [
            lambda: action.update({named: "nobody"}),
            lambda: action.update(arbitrator="no-one"),
            lambda: action.update(arbitrator=action[named]),
            lambda: action.update(settlement="attested"),
            lambda: action.update(settlement="automatic"),
            lambda: action.update(settlement="attested", arbitrator_collateral=0),
            lambda: action.update(proposer_collateral=2**53 - 1),
            lambda: action.update(counterparty_collateral=1),
            lambda: action.update(arbitrator_fee=10**9),
        ]
        if "description" in terms:
            ways += [
                lambda: terms.update(description="d" * (self.config["max_message_chars"] + 1)),
                lambda: terms.pop("condition", None),
                lambda: terms.update(condition=self.spoilt_condition()),
            ]
        if "content" in terms:
            ways += [
                lambda: terms.update(content="c" * (self.config["max_content_chars"] + 1)),
                lambda: terms.update(title="t" * (self.config["max_message_chars"] + 1)),
            ]
        if "asset" in terms:
            ways.append(
                lambda: terms.update(asset={"kind": "core", "core_id": self.config["core_count"]})
            )
        if "members" in terms:
            ways += self.pool_distortions(action, terms)
        self.random.choice(ways)()

    def spoilt_condition(self) -> dict[str, Any]:
        """Return a condition about something that is not there."""
        agent = self.agents[0]
        return self.random.choice(
            (
                {"type": "balance_below", "agent": "nobody", "amount": 5},
                {"type": "core_owned", "agent": agent, "core_id": self.config["core_count"]},
                {"type": "contract_defaulted", "contract_id": "c999999"},
                {"type": "contract_defaulted", "contract_id": "c01"},
                {"type": "spoke", "agent": agent, "contains": "s" * 5001},
            )
        )

    def pool_distortions(self, action: Action, terms: dict[str, Any]) -> list[Callable[[], Any]]:
        """Return ways to make the terms of a pool contradict themselves."""
        return [
            lambda: terms["members"].append(terms["members"][0]),
            lambda: terms["members"].append(action["arbitrator"]),
            lambda: terms["members"].append("nobody"),
            lambda: terms["kinds"].append(terms["kinds"][0]),
            lambda: terms.update(split=dict.fromkeys(terms["members"], 10_000)),
            lambda: terms.update(split={terms["members"][0]: 10_000, "nobody": 1}),
            lambda: terms["members"].reverse(),
            lambda: action.pop("counterparty"),
            lambda: action.pop("counterparty"),
        ]
