"""How contracts end: payments out of an escrow, and the public record of it.  (rules §10)"""

from __future__ import annotations

from sim_engine.rules.books import Account, Reason
from sim_engine.rules.in_hand import Turn
from sim_engine.rules.numbers import portion
from sim_engine.rules.rejections import InvariantViolation
from sim_engine.rules.state import Agent, Contract, World
from sim_engine.types.fields import ContractStatus


def pay(turn: Turn, contract: Contract, to: Agent, amount: int, reason: str) -> None:
    """Pay an amount (tokens) out of a contract's escrow."""
    turn.world.books.move(contract.account, to.liquid, amount, reason, contract.contract_id)


def settle(turn: Turn, contract: Contract) -> None:
    """End a contract that was kept: collaterals return, the arbitrator is paid."""
    _return_collaterals(turn, contract, contract.proposer, contract.counterparty)
    for party in contract.members:
        party.contracts_settled += 1
        turn.changed_agents.add(party)
    _finish(turn, contract, "settled")


def default(turn: Turn, contract: Contract, defaulter: Agent, slashed_to: Account) -> None:
    """End a contract that one party broke: part of its collateral is lost, the other's returns."""
    _return_collaterals(turn, contract, contract.other(defaulter))
    _slash(turn, contract, defaulter, contract.collateral_of(defaulter), slashed_to)
    _record_default(turn, defaulter)
    _finish(turn, contract, "defaulted")


def default_both(turn: Turn, contract: Contract) -> None:
    """End a contract that both parties broke: both collaterals return."""
    _return_collaterals(turn, contract, contract.proposer, contract.counterparty)
    _record_default(turn, contract.proposer)
    _record_default(turn, contract.counterparty)
    _finish(turn, contract, "defaulted")


def collect(turn: Turn, contract: Contract, debtor: Agent, owed: int, reason: str) -> None:
    """End a contract by what a debtor owes the other party: from its balance, then its collateral.

    What has to come out of the collateral makes it a default; what the collateral can not cover is
    lost.
    """
    books = turn.world.books
    creditor = contract.other(debtor)
    paid = min(max(debtor.balance, 0), owed)
    books.move(debtor.liquid, creditor.liquid, paid, reason, contract.contract_id)
    missing = owed - paid
    if missing == 0:
        settle(turn, contract)
        return
    covered = min(missing, contract.collateral_of(debtor))
    pay(turn, contract, creditor, covered, reason)
    _return_collaterals(turn, contract, creditor)
    left = contract.collateral_of(debtor) - covered
    _slash(turn, contract, debtor, left, books.destroyed)
    _record_default(turn, debtor)
    _finish(turn, contract, "defaulted")


def rule(
    turn: Turn, contract: Contract, winner: Agent | None, payer: Agent, pot: int, reason: str
) -> None:
    """End a disputed contract as its arbitrator ruled; without a winner the pot is split.

    ``reason`` is why the pot would have moved to the payee.
    """
    if winner is None:
        pay(turn, contract, contract.other(payer), pot // 2, reason)
        pay(turn, contract, payer, pot - pot // 2, Reason.RETURN)
        _return_collaterals(turn, contract, contract.proposer, contract.counterparty)
    else:
        loser = contract.other(winner)
        pay(turn, contract, winner, pot, Reason.RETURN if winner is payer else reason)
        _return_collaterals(turn, contract, winner)
        _slash(turn, contract, loser, contract.collateral_of(loser), winner.liquid)
        loser.disputes_lost += 1
        turn.changed_agents.add(loser)
    contract.arbitrator.rulings_made += 1
    turn.changed_agents.add(contract.arbitrator)
    _finish(turn, contract, "ruled")


def lapse(turn: Turn, contract: Contract, payer: Agent, pot: int) -> None:
    """End a disputed contract whose arbitrator was silent: its collateral goes to the parties."""
    books = turn.world.books
    half, odd = divmod(contract.arbitrator_collateral, 2)
    for party in (contract.proposer, contract.counterparty):
        pay(turn, contract, party, half, Reason.SLASH)
    books.move(contract.account, books.destroyed, odd, Reason.SLASH, contract.contract_id)
    pay(turn, contract, contract.proposer, contract.arbitrator_fee, Reason.RETURN)
    pay(turn, contract, payer, pot, Reason.RETURN)
    _return_collaterals(turn, contract, contract.proposer, contract.counterparty)
    contract.arbitrator.rulings_missed += 1
    turn.changed_agents.add(contract.arbitrator)
    close(turn, contract, "lapsed")


def close(turn: Turn, contract: Contract, status: ContractStatus) -> None:
    """Give a contract its last status. Raises InvariantViolation if its escrow is not empty."""
    world = turn.world
    if contract.account.balance != 0:
        raise InvariantViolation(
            f"{contract.contract_id} ended as {status} with {contract.account.balance} in escrow"
        )
    for agent in contract.members:
        if agent.agent_id in contract.signatures:
            agent.open_contracts -= 1
            turn.changed_agents.add(agent)
    set_status(world, contract, status)
    contract.ended_turn = turn.number
    del world.open_contracts[contract.number]
    world.just_ended[contract.number] = contract
    turn.changed_contracts[contract.number] = contract


def set_status(world: World, contract: Contract, status: ContractStatus) -> None:
    """Change a contract's status and the world's count of contracts by status."""
    world.contract_counts[contract.status] -= 1
    world.contract_counts[status] = world.contract_counts.get(status, 0) + 1
    contract.status = status


def _finish(turn: Turn, contract: Contract, status: ContractStatus) -> None:
    """Pay the arbitrator its fee and its collateral, and close the contract."""
    pay(turn, contract, contract.arbitrator, contract.arbitrator_fee, Reason.ARBITRATION)
    pay(turn, contract, contract.arbitrator, contract.arbitrator_collateral, Reason.COLLATERAL)
    close(turn, contract, status)


def _return_collaterals(turn: Turn, contract: Contract, *parties: Agent) -> None:
    for party in parties:
        pay(turn, contract, party, contract.collateral_of(party), Reason.COLLATERAL)


def _slash(turn: Turn, contract: Contract, loser: Agent, held: int, to: Account) -> None:
    """Take slash_bps of the collateral that is still held, and return the rest."""
    lost = portion(held, turn.world.config.slash_bps)
    turn.world.books.move(contract.account, to, lost, Reason.SLASH, contract.contract_id)
    pay(turn, contract, loser, held - lost, Reason.COLLATERAL)


def _record_default(turn: Turn, defaulter: Agent) -> None:
    defaulter.contracts_defaulted += 1
    turn.changed_agents.add(defaulter)
