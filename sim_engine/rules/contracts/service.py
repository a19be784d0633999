"""Services: a price that waits for delivery.  (rules §10)"""

from __future__ import annotations

from sim_engine.rules.actions.checks import require_text
from sim_engine.rules.contracts.kind import Promise, check_condition
from sim_engine.rules.state import Agent, Contract, World
from sim_engine.types.actions import Proposal
from sim_engine.types.conditions import Condition, Spoke
from sim_engine.types.fields import Party
from sim_engine.types.terms import ServiceTerms


class Service(Promise[ServiceTerms]):
    """The client's price is the provider's on delivery, else the client's again."""

    terms_type = ServiceTerms

    def check_texts(self, world: World, terms: ServiceTerms) -> None:
        """Reject a description, or a text to be spoken, that is too long."""
        check_promise_texts(world, terms.description, terms.condition)

    def check_terms(
        self, world: World, proposer: Agent, proposal: Proposal, terms: ServiceTerms
    ) -> None:
        """Reject a condition that does not go with the settlement."""
        check_condition(proposal, terms.condition)

    def condition(self, terms: ServiceTerms) -> Condition | None:
        """Return what counts as delivery."""
        return terms.condition

    def up_front(self, terms: ServiceTerms, role: Party) -> int:
        """The client pays in the price."""
        return 0 if role == terms.provider else terms.price

    def payee_role(self, terms: ServiceTerms) -> Party:
        """The provider."""
        return terms.provider

    def pot(self, contract: Contract) -> int:
        """The price."""
        return self.terms(contract).price


def check_promise_texts(world: World, description: str, condition: Condition | None) -> None:
    """Reject a description, or a text to be spoken, that is too long."""
    require_text(world, "description", description)
    if isinstance(condition, Spoke):
        require_text(world, "contains", condition.contains)
