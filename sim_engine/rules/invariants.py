"""What must hold whenever a turn is sealed, whatever was submitted.  (rules §2)"""

from __future__ import annotations

from sim_engine.rules.rejections import InvariantViolation
from sim_engine.rules.state import World
from sim_engine.types.fields import MAX_AMOUNT


def check_invariants(world: World) -> None:
    """Check the whole world. Raises InvariantViolation with the account and the numbers."""
    check_conservation(world)
    check_signs_and_bounds(world)
    check_nothing_held(world)


def check_conservation(world: World) -> None:
    """Every token is somewhere: the sum of all accounts is 0."""
    total = sum(
        [
            a.liquid.balance + a.stake.balance + a.unbonding.balance + a.bid.balance
            for a in world.roster
        ]
    )
    total += sum(contract.account.balance for contract in world.open_contracts.values())
    total += sum(account.balance for account in world.books.system)
    if total != 0:
        raise InvariantViolation(f"the accounts of turn {world.turn} add up to {total}, not to 0")


def check_signs_and_bounds(world: World) -> None:
    """Only agents and issuance are below zero, and no balance leaves 53 bits.

    Balances change by entries alone, so that the accounts that this turn touched are all there is
    to look at.
    """
    for account in world.books.touched:
        if -account.balance > MAX_AMOUNT or account.balance > MAX_AMOUNT:
            raise InvariantViolation(
                f"{account.name} holds {account.balance} tokens, more than an amount can be"
            )
        if account.balance < 0 and not account.may_be_negative:
            raise InvariantViolation(f"{account.name} holds {account.balance} tokens")


def check_nothing_held(world: World) -> None:
    """Bids are held during a turn only, and what unbonds is what its lots say."""
    for agent in world.roster:
        if agent.bid.balance:
            raise InvariantViolation(f"{agent.bid.name} still holds {agent.bid.balance} tokens")
        held = agent.unbonding.balance
        if (held or agent.lots) and held != sum([lot.amount for lot in agent.lots]):
            raise InvariantViolation(
                f"{agent.unbonding.name} holds {held} tokens, which is not the sum of its lots"
            )
