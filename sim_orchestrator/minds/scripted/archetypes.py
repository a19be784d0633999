"""The eight archetypes. Each fills the desk after its duties are done.

Together they use every action and every contract type, so that a run of them shows the whole
economy; none of them is meant to be clever.
"""

from __future__ import annotations

from collections.abc import Callable

from sim_orchestrator.minds.scripted.desk import Desk

Archetype = Callable[[Desk], None]


def worker(desk: Desk) -> None:
    """Works for wages, studies while it pays, and sells promises to work."""
    if desk.every(6, after=-4):
        desk.propose(
            "service",
            {
                "provider": "proposer",
                "price": desk.dice.randint(100, 300),
                "description": "three days of work in the next four turns",
                "condition": {
                    "type": "actions",
                    "agent": desk.me,
                    "action": "job",
                    "at_least": 3,
                },
            },
            up_front=0,
            proposer_collateral=200,
        )
    if desk.dice.random() < 0.7:
        desk.take("job")
    elif desk.turn % 3 == 0:
        desk.take("speak", message="I rest today.")
    if desk.agent["study_level"] < 3 and desk.funds > 4000:
        desk.take("study", cost=desk.config["tuition"] * (desk.agent["study_level"] + 1))


def miner(desk: Desk) -> None:
    """Mines with all it has, and insures itself against running dry."""
    if desk.every(9, after=-6):
        desk.propose(
            "insurance",
            {
                "insurer": "counterparty",
                "premium": desk.dice.randint(20, 80),
                "coverage": 600,
                "description": "help when my balance is low",
                "condition": {
                    "type": "balance_below",
                    "agent": desk.me,
                    "amount": max(1, desk.funds - desk.dice.randint(-500, 1500)),
                },
            },
            up_front=80,
            duration=5,
        )
    fee = desk.dice.randint(1, 5) if desk.turn % 2 else 0
    while desk.take("mine", fee=fee):
        fee = 0


def staker(desk: Desk) -> None:
    """Stakes most of what it has and takes some back now and then."""
    if desk.turn == 1 or desk.funds > 30_000:
        amount = max(1, desk.funds // 2)
        desk.take("stake", cost=amount, amount=amount)
    if desk.every(10) and desk.agent["staked"] > 2000:
        desk.take("unstake", amount=1000)
    desk.take("job")
    if desk.every(7):
        desk.take("speak", message="Patience is a strategy.")
    desk.take("mine")


def burner(desk: Desk) -> None:
    """Burns for a place in the lottery; insures others on their word."""
    if desk.every(7, after=-3):
        desk.propose(
            "insurance",
            {
                "insurer": "proposer",
                "premium": desk.dice.randint(30, 120),
                "coverage": 400,
                "description": "any misfortune that the arbitrator believes",
            },
            up_front=400,
            duration=3,
            settlement="attested",
        )
    if desk.every(5, after=-4) and desk.funds > 3000:
        amount = desk.dice.randint(400, 1200)
        desk.take("burn", cost=amount, amount=amount)
    if desk.every(4):
        desk.take("speak", message=f"Burnt {desk.agent['burn_score']} so far. Who follows?")
    desk.take("mine")
    desk.take("job")


def scholar(desk: Desk) -> None:
    """Studies, works at a better wage, and sells what it learnt about coming wages."""
    insights = desk.agent["private"]["insights"]
    partners = desk.partners(2)
    coming = [each for each in insights if each["about_turn"] > desk.turn]
    if desk.every(4) and partners and coming:
        told = "; ".join(f"turn {each['about_turn']}: {each['job_fund']}" for each in coming)
        desk.take(
            "sell_information",
            cost=desk.config["arbitrator_fee"],
            to=partners[0],
            arbitrator=partners[1],
            price=desk.dice.randint(40, 160),
            title="the wage funds of the coming turns",
            content=told,
        )
    level = desk.agent["study_level"]
    if level < min(5, desk.config["max_study_level"]) or desk.every(4, after=-1):
        desk.take("study", cost=desk.config["tuition"] * (level + 1))
    desk.take("job")
    if desk.every(9):
        desk.take("speak", message="Knowledge for sale.")


def banker(desk: Desk) -> None:
    """Buys cores, lends, and sells forwards on computing and on its cores."""
    cores = desk.agent["cores"]
    unsold = any(core["owner"] is None for core in desk.seen.state["cores"])
    bid = desk.config["core_reserve"] + desk.dice.randint(0, 2000)
    if unsold and len(cores) < 2 and desk.funds > bid + 8000:
        desk.take("bid_core", cost=bid, amount=bid, quantity=1)
    if desk.every(4, after=-2):
        principal = min(2000, desk.funds // 4)
        if principal:
            desk.propose(
                "loan",
                {
                    "lender": "proposer",
                    "principal": principal,
                    "repayment": principal + principal // 20 + 1,
                },
                up_front=principal,
                counterparty_collateral=100,
            )
    if desk.every(8, after=-3):
        desk.propose(
            "forward",
            {"seller": "proposer", "asset": {"kind": "compute", "cap": 1500}, "price": 700},
            proposer_collateral=150,
            counterparty_collateral=150,
        )
    if desk.every(11) and cores:
        desk.propose(
            "forward",
            {
                "seller": "proposer",
                "asset": {"kind": "core", "core_id": cores[-1]},
                "price": desk.config["core_reserve"] // 2,
            },
            proposer_collateral=300,
            counterparty_collateral=300,
        )
    desk.take("job")


def broker(desk: Desk) -> None:
    """Brings others together: services on its word, secrets on request, a little work."""
    if desk.every(3, after=-2):
        desk.propose(
            "service",
            {
                "provider": "proposer",
                "price": desk.dice.randint(80, 240),
                "description": "an honest word for you among the others",
            },
            duration=2,
            settlement="attested",
            proposer_collateral=200,
            counterparty_collateral=100,
        )
    if desk.every(10, after=-5):
        desk.propose(
            "information_sale",
            {
                "seller": "proposer",
                "price": 60,
                "title": "who is rich",
                "content": _ranking(desk),
            },
            duration=2,
            settlement="attested",
        )
    if desk.every(6):
        desk.take("speak", message="Contracts? I know somebody who knows somebody.")
    desk.take("job")
    desk.take("mine")


def founder(desk: Desk) -> None:
    """Founds pools, pays its partners a share, and stakes the rest."""
    partners = desk.partners(3)
    if desk.every(11, after=-9) and partners:
        desk.take(
            "propose_contract",
            cost=desk.config["arbitrator_fee"],
            contract_type="pool",
            counterparty=partners[0],
            arbitrator=partners[2],
            duration=7,
            terms={
                "members": partners[:2],
                "kinds": ["mine", "stake"] if desk.turn % 2 else ["burn", "mine"],
                "split": desk.dice.choice(("equal", "weight")),
            },
        )
    if desk.every(5) and partners and desk.funds > 2000:
        desk.take("transfer", cost=25, to=partners[0], amount=25, memo="your share, with thanks")
    if desk.every(6, after=-4) and desk.funds > 20_000:
        desk.take("stake", cost=3000, amount=3000)
    desk.take("job")
    desk.take("mine")


def _ranking(desk: Desk) -> str:
    agents = sorted(desk.seen.state["agents"], key=lambda agent: -int(agent["balance"]))
    return ", ".join(f"{agent['agent_id']} {agent['balance']}" for agent in agents[:5])
