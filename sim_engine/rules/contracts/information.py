"""Sales of information: a text that only its buyer may read.  (rules §10)"""

from __future__ import annotations

from sim_engine.rules.actions.checks import require_content, require_text
from sim_engine.rules.contracts.kind import Promise
from sim_engine.rules.in_hand import Turn
from sim_engine.rules.state import Agent, Contract, World
from sim_engine.types.fields import Party
from sim_engine.types.terms import InformationTerms


class InformationSale(Promise[InformationTerms]):
    """The buyer reads from activation, with which an automatic sale is settled."""

    terms_type = InformationTerms

    def check_texts(self, world: World, terms: InformationTerms) -> None:
        """Reject a title or a content that is too long."""
        require_text(world, "title", terms.title)
        require_content(world, "content", terms.content)

    def up_front(self, terms: InformationTerms, role: Party) -> int:
        """The buyer pays in the price."""
        return 0 if role == terms.seller else terms.price

    def activate(self, turn: Turn, contract: Contract) -> None:
        """Settle an automatic sale at once."""
        if contract.settlement == "automatic":
            self.keep(turn, contract)

    def payee_role(self, terms: InformationTerms) -> Party:
        """The seller."""
        return terms.seller

    def pot(self, contract: Contract) -> int:
        """The price."""
        return self.terms(contract).price


def buyer_of(sale: Contract) -> Agent:
    """Return the buyer of an information sale."""
    assert isinstance(sale.terms, InformationTerms)
    return sale.other(sale.party(sale.terms.seller))


def may_read_content(contract: Contract, reader: Agent) -> bool:
    """Tell whether an agent may read what a sale sells.

    Its seller always, its buyer from activation, its arbitrator from a dispute; nobody else.
    """
    assert isinstance(contract.terms, InformationTerms)
    if reader is contract.party(contract.terms.seller):
        return True
    if reader is buyer_of(contract):
        return contract.activated_turn is not None
    return reader is contract.arbitrator and contract.dispute is not None
