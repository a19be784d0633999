"""What a contract type has to say at each point of a contract's life."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from sim_engine.rules.books import Reason
from sim_engine.rules.contracts import endings
from sim_engine.rules.contracts.conditions import is_met
from sim_engine.rules.in_hand import Turn
from sim_engine.rules.rejections import Rejected
from sim_engine.rules.state import Agent, Contract, World
from sim_engine.types.actions import Proposal
from sim_engine.types.conditions import Condition
from sim_engine.types.fields import Party, Settlement
from sim_engine.types.rejection_codes import RejectionCode
from sim_engine.types.terms import Terms

T = TypeVar("T", bound=Terms)


class ContractKind(ABC, Generic[T]):
    """One contract type. What is not overridden is: nothing to check, to pay or to do."""

    settlements: frozenset[Settlement] = frozenset({"automatic"})
    terms_type: type[T]

    def terms(self, contract: Contract) -> T:
        """Return the contract's terms in the type that this kind gives them."""
        assert isinstance(contract.terms, self.terms_type)
        return contract.terms

    def check_texts(self, world: World, terms: T) -> None:
        """Reject texts that are too long."""

    def check_terms(self, world: World, proposer: Agent, proposal: Proposal, terms: T) -> None:
        """Reject terms that the config or this type forbids."""

    def condition(self, terms: T) -> Condition | None:
        """Return the condition that the terms name, if any."""
        return None

    def up_front(self, terms: T, role: Party) -> int:
        """Return what a party pays in with its signature besides its collateral (tokens)."""
        return 0

    def activate(self, turn: Turn, contract: Contract) -> None:
        """Do what follows at once from the last signature."""

    @abstractmethod
    def advance(self, turn: Turn, contract: Contract) -> None:
        """Take an active automatic contract through phase 7 of a turn after its activation."""


class Promise(ContractKind[T]):
    """A type in which a payer's pot is the payee's once something has happened."""

    settlements = frozenset({"automatic", "attested"})
    reason: str = Reason.PRICE
    """Why the pot moves to the payee."""

    @abstractmethod
    def payee_role(self, terms: T) -> Party:
        """Return the role of the party that the pot is for."""

    @abstractmethod
    def pot(self, contract: Contract) -> int:
        """Return the tokens at stake."""

    def payee(self, contract: Contract) -> Agent:
        """Return the provider, the seller or the insured."""
        return contract.party(self.payee_role(self.terms(contract)))

    def payer(self, contract: Contract) -> Agent:
        """Return the client, the buyer or the insurer."""
        return contract.other(self.payee(contract))

    def keep(self, turn: Turn, contract: Contract) -> None:
        """End the contract in favour of its payee."""
        endings.pay(turn, contract, self.payee(contract), self.pot(contract), self.reason)
        endings.settle(turn, contract)

    def fail(self, turn: Turn, contract: Contract) -> None:
        """End the contract in favour of its payer: the promise was not kept, the payee defaults."""
        payer = self.payer(contract)
        endings.pay(turn, contract, payer, self.pot(contract), Reason.RETURN)
        endings.default(turn, contract, self.payee(contract), payer.liquid)

    def fail_unattested(self, turn: Turn, contract: Contract) -> None:
        """End an attested contract that nobody disputed and its payer never confirmed."""
        confirmed = contract.confirmations.get(self.payee(contract).agent_id)
        assert contract.due_turn is not None
        if confirmed is not None and confirmed <= contract.due_turn:
            self.keep(turn, contract)
        else:
            self.fail(turn, contract)

    def advance(self, turn: Turn, contract: Contract) -> None:
        """Look at the condition, then at the due turn."""
        condition = self.condition(self.terms(contract))
        if condition is not None and is_met(turn, contract, condition):
            self.keep(turn, contract)
        elif turn.number == contract.due_turn:
            self.fail(turn, contract)


def check_condition(proposal: Proposal, condition: Condition | None) -> None:
    """Reject a condition that is missing when automatic or present when attested."""
    if proposal.settlement == "automatic":
        if condition is None:
            raise Rejected(
                RejectionCode.INVALID_TERMS,
                "an automatic settlement needs a condition in its terms; add one or use attested",
            )
    else:
        if condition is not None:
            raise Rejected(
                RejectionCode.INVALID_TERMS,
                "an attested settlement takes no condition; leave it out or use automatic",
            )
