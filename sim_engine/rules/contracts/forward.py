"""Forwards: a core, or compute, at a later turn for a price agreed now.  (rules §10)"""

from __future__ import annotations

from sim_engine.rules.books import Reason
from sim_engine.rules.contracts import endings
from sim_engine.rules.contracts.conditions import require_core
from sim_engine.rules.contracts.kind import ContractKind
from sim_engine.rules.in_hand import Turn
from sim_engine.rules.state import Agent, Contract, World
from sim_engine.types.actions import Proposal
from sim_engine.types.terms import ComputeAsset, CoreAsset, ForwardTerms


class Forward(ContractKind[ForwardTerms]):
    """At the due turn a core changes hands, or the net of compute and price moves."""

    terms_type = ForwardTerms

    def check_terms(
        self, world: World, proposer: Agent, proposal: Proposal, terms: ForwardTerms
    ) -> None:
        """Reject a core that does not exist."""
        if isinstance(terms.asset, CoreAsset):
            require_core(world, terms.asset.core_id)

    def advance(self, turn: Turn, contract: Contract) -> None:
        """Count what the buyer's inference cost it, and deliver when due."""
        terms = self.terms(contract)
        seller = contract.party(terms.seller)
        buyer = contract.other(seller)
        if isinstance(terms.asset, ComputeAsset):
            contract.tally += turn.inference_fees.get(buyer, 0)
            if turn.number == contract.due_turn:
                used = min(terms.asset.cap, contract.tally)
                _settle_net(turn, contract, seller, used - terms.price)
        elif turn.number == contract.due_turn:
            _deliver_core(turn, contract, seller, terms.asset.core_id, terms.price)


def _settle_net(turn: Turn, contract: Contract, seller: Agent, net: int) -> None:
    """Let the seller pay a positive net to the buyer, the buyer a negative one to the seller."""
    debtor = seller if net > 0 else contract.other(seller)
    endings.collect(turn, contract, debtor, abs(net), Reason.NET)


def _deliver_core(turn: Turn, contract: Contract, seller: Agent, core_id: int, price: int) -> None:
    """Exchange the core for its price; a side that can not do its part defaults."""
    core = turn.world.cores[core_id]
    buyer = contract.other(seller)
    seller_fails = core.owner is not seller
    buyer_fails = not buyer.can_pay(price)
    if seller_fails and buyer_fails:
        endings.default_both(turn, contract)
    elif seller_fails:
        endings.default(turn, contract, seller, buyer.liquid)
    elif buyer_fails:
        endings.default(turn, contract, buyer, seller.liquid)
    else:
        turn.world.books.move(
            buyer.liquid, seller.liquid, price, Reason.PRICE, contract.contract_id
        )
        turn.hand_over(core, buyer)
        endings.settle(turn, contract)
