"""Cores, wages and what study reveals (rules §7 and §8)."""

from typing import TYPE_CHECKING

from .numbers import TEN_THOUSAND, apportion, draw, pick

if TYPE_CHECKING:
    from .world import World


def auction_cores(world: "World") -> None:
    """Sell the unsold cores at one price for all winners (rules §7)."""
    units = []
    numbered = dict.fromkeys(world.roster, 0)
    for who, amount, quantity in world.today()["bids"]:
        for _ in range(quantity):
            tie = draw("bid", world.seed, world.turn, who, numbered[who])
            units.append((-amount, tie, who))
            numbered[who] += 1
    units.sort()
    unsold = [core_id for core_id, owner in enumerate(world.cores) if owner is None]
    winners, losers = units[: len(unsold)], units[len(unsold) :]
    price = max([world.config["core_reserve"]] + [-negated for negated, _, _ in losers])
    for core_id, (_, _, who) in zip(unsold, winners, strict=False):
        world.move(f"bid:{who}", "destroyed", price)
        world.cores[core_id] = who
    for who in world.roster:
        world.move(f"bid:{who}", f"agent:{who}", world.books.balance(f"bid:{who}"))


def job_fund(world: "World", turn: int) -> int:
    """Return what all jobs of a turn may cost together, in tokens (rules §8)."""
    demand = 2000 + pick(16001, "labour", world.seed, turn)
    return world.config["job_fund_per_agent"] * len(world.roster) * demand // TEN_THOUSAND


def pay_wages(world: "World") -> None:
    """Pay every job in full, or share out the fund (rules §8)."""
    due = {}
    for who, action in world.today()["actions"]:
        if action == "job":
            bonus = world.config["wage_bonus_bps"] * world.agents[who]["study_level"]
            due[who] = world.config["job_wage"] * (TEN_THOUSAND + bonus) // TEN_THOUSAND
    fund = job_fund(world, world.turn)
    paid = due if sum(due.values()) <= fund else apportion(fund, due, world.roster)
    for who, amount in paid.items():
        world.move("issuance", f"agent:{who}", amount)


def reveal(world: "World", who: str) -> None:
    """Tell a student the funds of the turns to come (rules §8)."""
    for ahead in range(1, world.config["insight_horizon"] + 1):
        world.agents[who]["insights"].append(
            {
                "learned_turn": world.turn,
                "about_turn": world.turn + ahead,
                "job_fund": job_fund(world, world.turn + ahead),
            }
        )
