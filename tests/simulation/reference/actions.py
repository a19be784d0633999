"""Actions: the order of acting, the order of checks, and the effects (rules §6).

`breaches` names, for each action, what can be wrong with it as code → question. Which question is
asked first is decided by `CHECKS_IN_ORDER` alone; a later one is only asked when all before it
were answered with no.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import labour, proposals, settlement
from .numbers import draw

if TYPE_CHECKING:
    from .world import World

Action = dict[str, Any]
Breaches = dict[str, Callable[[], bool]]

CHECKS_IN_ORDER = (
    "action_points_exhausted",
    "once_per_turn",
    "speech_limit",
    "too_long",
    "invalid_terms",
    "unknown_agent",
    "unknown_contract",
    "self_dealing",
    "not_a_party",
    "wrong_role",
    "contract_not_open",
    "contract_not_active",
    "contract_not_disputed",
    "settlement_is_automatic",
    "already_signed",
    "already_confirmed",
    "no_core_for_sale",
    "below_reserve",
    "max_study_level",
    "insufficient_stake",
    "already_in_pool",
    "too_many_contracts",
    "insufficient_funds",
)

POINTS = {
    "mine": 2,
    "stake": 1,
    "unstake": 1,
    "burn": 1,
    "study": 2,
    "job": 2,
    "transfer": 1,
    "propose_contract": 1,
    "sign_contract": 1,
    "confirm_delivery": 0,
    "dispute_delivery": 0,
    "arbitrator_ruling": 0,
    "sell_information": 1,
    "bid_core": 1,
    "speak": 0,
}


def run_all(
    world: "World",
    submissions: list[dict[str, Any]],
    queued: list[tuple[str, list[Action]]],
) -> list[dict[str, Any]]:
    """Let everybody act and return one receipt for each action, in the order of the request."""
    listed: dict[str, list[Action]] = {who: [] for who in world.roster}
    receipts = []
    batches = [(s["agent_id"], s["actions"]) for s in submissions] + queued
    for who, batch in batches:
        for action in batch:
            index = len(listed[who])
            listed[who].append(action)
            receipts.append({"agent_id": who, "index": index, "type": action["type"]})
    verdicts = act(world, listed)
    for receipt in receipts:
        code = verdicts[receipt["agent_id"], receipt["index"]]
        receipt["status"] = "rejected" if code else "applied"
        receipt["code"] = code
    return receipts


def act(world: "World", listed: dict[str, list[Action]]) -> dict[tuple[str, int], str | None]:
    """Take the fees, then apply or reject every action; return each one's code, None if applied."""
    paid = {}
    for who in world.roster:
        asked = sum(action.get("fee", 0) for action in listed[who])
        paid[who] = asked if world.can_pay(who, asked) else 0
        world.move(f"agent:{who}", "fees", paid[who])
    order = sorted(
        world.roster, key=lambda who: (-paid[who], draw("order", world.seed, world.turn, who))
    )
    for_sale = None in world.cores
    verdicts: dict[tuple[str, int], str | None] = {}
    for who in order:
        points = world.config["action_points"]
        for index, action in enumerate(listed[who]):
            if action.get("fee", 0) > 0 and paid[who] == 0:
                verdicts[who, index] = "insufficient_funds"
                continue
            code = first_breach(world, who, action, points, for_sale)
            verdicts[who, index] = code
            if code is None:
                points -= POINTS[action["type"]]
                world.today()["actions"].append((who, action["type"]))
                apply(world, who, action)
    return verdicts


def first_breach(
    world: "World", who: str, action: Action, points: int, for_sale: bool
) -> str | None:
    """Return the code of the first check that fails, None if all pass."""
    questions = breaches(world, who, action, for_sale)
    questions["action_points_exhausted"] = lambda: POINTS[action["type"]] > points
    for code in CHECKS_IN_ORDER:
        if code in questions and questions[code]():
            return code
    return None


def breaches(world: "World", who: str, action: Action, for_sale: bool) -> Breaches:
    """Return what can be wrong with an action, apart from its fee and its points."""
    kind = action["type"]
    config = world.config
    done = world.today()["actions"]
    agent = world.agents[who]
    if kind in ("stake", "burn"):
        return {"insufficient_funds": lambda: not world.can_pay(who, action["amount"])}
    if kind == "unstake":
        return {"insufficient_stake": lambda: action["amount"] > world.staked(who)}
    if kind == "study":
        return {
            "max_study_level": lambda: agent["study_level"] >= config["max_study_level"],
            "insufficient_funds": lambda: not world.can_pay(who, tuition(world, who)),
        }
    if kind == "job":
        return {"once_per_turn": lambda: (who, "job") in done}
    if kind == "transfer":
        return {
            "too_long": lambda: len(action.get("memo", "")) > config["max_message_chars"],
            "unknown_agent": lambda: action["to"] not in world.agents,
            "self_dealing": lambda: action["to"] == who,
            "insufficient_funds": lambda: not world.can_pay(who, action["amount"]),
        }
    if kind == "bid_core":
        held = action["amount"] * action.get("quantity", 1)
        return {
            "invalid_terms": lambda: action.get("quantity", 1) > config["core_count"],
            "no_core_for_sale": lambda: not for_sale,
            "below_reserve": lambda: action["amount"] < config["core_reserve"],
            "insufficient_funds": lambda: not world.can_pay(who, held),
        }
    if kind == "speak":
        return {
            "speech_limit": lambda: done.count((who, "speak")) >= config["speech_per_turn"],
            "too_long": lambda: len(action["message"]) > config["max_message_chars"],
        }
    if kind in ("propose_contract", "sell_information"):
        return proposals.proposal_breaches(world, who, action)
    if kind == "sign_contract":
        return proposals.signature_breaches(world, who, action)
    if kind in ("confirm_delivery", "dispute_delivery", "arbitrator_ruling"):
        return settlement.breaches(world, who, action)
    return {}


def tuition(world: "World", who: str) -> int:
    """Return what one study costs an agent now, in tokens."""
    return world.config["tuition"] * int(world.agents[who]["study_level"] + 1)


def apply(world: "World", who: str, action: Action) -> None:
    """Let an action that passed every check take effect."""
    kind = action["type"]
    me = f"agent:{who}"
    if kind == "stake":
        add_stake(world, who, action["amount"])
    elif kind == "unstake":
        world.move(f"stake:{who}", f"unbonding:{who}", action["amount"])
        release = world.turn + world.config["unbonding_turns"]
        lot = {"amount": action["amount"], "release_turn": release}
        world.agents[who]["unbonding"].append(lot)
    elif kind == "burn":
        world.move(me, "destroyed", action["amount"])
        world.agents[who]["burn_score"] += action["amount"]
    elif kind == "study":
        study(world, who)
    elif kind == "transfer":
        world.move(me, f"agent:{action['to']}", action["amount"])
    elif kind == "bid_core":
        quantity = action.get("quantity", 1)
        world.move(me, f"bid:{who}", action["amount"] * quantity)
        world.today()["bids"].append((who, action["amount"], quantity))
    elif kind == "speak":
        world.today()["speech"].append((who, action["message"]))
    elif kind in ("propose_contract", "sell_information"):
        proposals.propose(world, who, action)
    elif kind == "sign_contract":
        proposals.sign(world, who, action)
    elif kind == "confirm_delivery":
        settlement.confirm(world, who, action)
    elif kind == "dispute_delivery":
        settlement.dispute(world, who, action)
    elif kind == "arbitrator_ruling":
        settlement.rule(world, who, action)


def add_stake(world: "World", who: str, amount: int) -> None:
    """Lock stake; the age of the whole is the old stake's age, diluted."""
    agent = world.agents[who]
    staked = world.staked(who)
    age = min(world.turn - agent["stake_since"], world.config["stake_age_cap"]) if staked else 0
    agent["stake_since"] = world.turn - staked * age // (staked + amount)
    world.move(f"agent:{who}", f"stake:{who}", amount)


def study(world: "World", who: str) -> None:
    """Pay tuition, make progress, and learn the funds to come."""
    agent = world.agents[who]
    world.move(f"agent:{who}", "destroyed", tuition(world, who))
    agent["study_progress"] += 1
    if agent["study_progress"] == agent["study_level"] + 1:
        agent["study_level"] += 1
        agent["study_progress"] = 0
    labour.reveal(world, who)
