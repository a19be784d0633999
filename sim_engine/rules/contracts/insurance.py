"""Insurances: a premium now for a coverage if something happens.  (rules §10)"""

from __future__ import annotations

from sim_engine.rules.books import Reason
from sim_engine.rules.contracts import endings
from sim_engine.rules.contracts.kind import Promise, check_condition
from sim_engine.rules.contracts.service import check_promise_texts
from sim_engine.rules.in_hand import Turn
from sim_engine.rules.state import Agent, Contract, World
from sim_engine.types.actions import Proposal
from sim_engine.types.conditions import Condition
from sim_engine.types.fields import Party
from sim_engine.types.terms import InsuranceTerms


class Insurance(Promise[InsuranceTerms]):
    """The insurer's coverage is the insured's if the event happens, else the insurer's again."""

    terms_type = InsuranceTerms
    reason = Reason.COVERAGE

    def check_texts(self, world: World, terms: InsuranceTerms) -> None:
        """Reject a description, or a text to be spoken, that is too long."""
        check_promise_texts(world, terms.description, terms.condition)

    def check_terms(
        self, world: World, proposer: Agent, proposal: Proposal, terms: InsuranceTerms
    ) -> None:
        """Reject a condition that does not go with the settlement."""
        check_condition(proposal, terms.condition)

    def condition(self, terms: InsuranceTerms) -> Condition | None:
        """Return the event that is insured."""
        return terms.condition

    def up_front(self, terms: InsuranceTerms, role: Party) -> int:
        """The insurer pays in the coverage, the insured the premium."""
        return terms.coverage if role == terms.insurer else terms.premium

    def activate(self, turn: Turn, contract: Contract) -> None:
        """Hand the premium to the insurer."""
        premium = self.terms(contract).premium
        endings.pay(turn, contract, self.payer(contract), premium, Reason.PREMIUM)

    def payee_role(self, terms: InsuranceTerms) -> Party:
        """The insured."""
        return "counterparty" if terms.insurer == "proposer" else "proposer"

    def pot(self, contract: Contract) -> int:
        """The coverage."""
        return self.terms(contract).coverage

    def fail(self, turn: Turn, contract: Contract) -> None:
        """End without the event: nobody broke a promise, the coverage goes back."""
        endings.pay(turn, contract, self.payer(contract), self.pot(contract), Reason.RETURN)
        endings.settle(turn, contract)

    def fail_unattested(self, turn: Turn, contract: Contract) -> None:
        """End without a claim, whoever confirmed: only the insurer or a ruling pays out."""
        self.fail(turn, contract)
