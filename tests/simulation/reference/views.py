"""What the engine must show of the world (`docs/api.md`)."""

from typing import TYPE_CHECKING, Any

from . import labour
from .proposals import OPEN

if TYPE_CHECKING:
    from .world import World

COUNTS = (
    "contracts_settled",
    "contracts_defaulted",
    "disputes_lost",
    "rulings_made",
    "rulings_missed",
    "blocks_won",
)

CONTRACT_FIELDS = (
    "contract_id",
    "contract_type",
    "settlement",
    "status",
    "proposer",
    "counterparty",
    "arbitrator",
    "terms",
    "signatures",
    "proposed_turn",
    "activated_turn",
    "due_turn",
    "ended_turn",
    "proposer_collateral",
    "counterparty_collateral",
    "arbitrator_collateral",
    "arbitrator_fee",
    "confirmations",
    "dispute",
    "ruling",
)


def agent_view(world: "World", who: str) -> dict[str, Any]:
    """Return what everybody may see of an agent; unbonding lots are summed by release turn."""
    agent = world.agents[who]
    lots: dict[int, int] = {}
    for lot in agent["unbonding"]:
        lots[lot["release_turn"]] = lots.get(lot["release_turn"], 0) + lot["amount"]
    view = {
        "agent_id": who,
        "balance": world.balance(who),
        "staked": world.staked(who),
        "unbonding": lots,
        "burn_score": agent["burn_score"],
        "study_level": agent["study_level"],
        "study_progress": agent["study_progress"],
        "cores": [core_id for core_id, owner in enumerate(world.cores) if owner == who],
        "suspended": agent["suspended"],
    }
    if world.staked(who) > 0:
        view["stake_since"] = agent["stake_since"]
    return view | {key: agent[key] for key in COUNTS}


def contract_view(world: "World", cid: str) -> dict[str, Any]:
    """Return a contract with everything in it, the content of information too."""
    contract = world.contracts[cid]
    view = {key: contract[key] for key in CONTRACT_FIELDS}
    return view | {"escrow": world.books.balance(f"contract:{cid}")}


def public_contract_view(world: "World", cid: str) -> dict[str, Any]:
    """Return a contract as everybody may see it: without the content of information."""
    view = contract_view(world, cid)
    public_terms = {key: value for key, value in view["terms"].items() if key != "content"}
    return view | {"terms": public_terms}


def state_view(world: "World") -> dict[str, Any]:
    """Return the state of the world after the last sealed turn."""
    return {
        "turn": world.turn,
        "turn_hash": world.turn_hash,
        "agents": [agent_view(world, who) for who in world.roster],
        "cores": [{"core_id": i, "owner": owner} for i, owner in enumerate(world.cores)],
        "chain": {
            "height": world.tip["height"],
            "tip_hash": world.tip["hash"],
            "mine_difficulty": world.difficulty,
        },
        "supply": world.books.supply(),
        "fees": world.books.balance("fees"),
        "commons": world.config["commons_per_agent"] * len(world.roster),
        "job_fund": labour.job_fund(world, world.turn),
        "contracts": [
            public_contract_view(world, cid)
            for cid, contract in world.contracts.items()
            if contract["status"] in OPEN
        ],
        "accounts": {"cores": world.books.balance("cores")},
    }


def readable_information(world: "World", who: str) -> dict[str, str]:
    """Return contract id → content of all information that an agent may read."""
    found = {}
    for cid, contract in world.contracts.items():
        if contract["contract_type"] != "information_sale":
            continue
        seller = contract[contract["terms"]["seller"]]
        activated = contract["activated_turn"] is not None
        is_party = who in (contract["proposer"], contract["counterparty"])
        if (
            who == seller
            or (is_party and activated)
            or (who == contract["arbitrator"] and contract["dispute"] is not None)
        ):
            found[cid] = contract["terms"]["content"]
    return found
