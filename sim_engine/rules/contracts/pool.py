"""Pools: block rewards shared among members.  (rules §10)"""

from __future__ import annotations

from sim_engine.rules.books import Reason
from sim_engine.rules.contracts import endings
from sim_engine.rules.contracts.kind import ContractKind
from sim_engine.rules.in_hand import Turn
from sim_engine.rules.lotteries import Weights
from sim_engine.rules.numbers import BPS, apportion
from sim_engine.rules.rejections import Rejected
from sim_engine.rules.state import Agent, Block, Contract, World
from sim_engine.types.actions import Proposal, ProposePool
from sim_engine.types.rejection_codes import RejectionCode
from sim_engine.types.terms import PoolTerms


class Pool(ContractKind[PoolTerms]):
    """The proposer and all members share each reward of the pool's kinds that one of them wins."""

    terms_type = PoolTerms

    def check_terms(
        self, world: World, proposer: Agent, proposal: Proposal, terms: PoolTerms
    ) -> None:
        """Reject what a pool can not have."""
        assert isinstance(proposal, ProposePool)
        invalid = RejectionCode.INVALID_TERMS
        if len(set(terms.kinds)) != len(terms.kinds):
            raise Rejected(
                invalid,
                "kinds names a kind twice; name each once",
            )
        if proposal.proposer_collateral != 0 or proposal.counterparty_collateral != 0:
            raise Rejected(
                invalid,
                "a pool takes no collateral from its members; leave the collaterals out",
            )
        if proposal.counterparty not in (None, terms.members[0]):
            raise Rejected(
                invalid,
                "the counterparty of a pool is the first of its members; name that one or none",
            )
        self._check_members(proposer, terms)

    def _check_members(self, proposer: Agent, terms: PoolTerms) -> None:
        """Reject a member that is there twice, and a split that does not fit the members.

        The proposer is a member by proposing, so that naming it among ``members`` is naming it
        twice.
        """
        if len({proposer.agent_id, *terms.members}) != len(terms.members) + 1:
            raise Rejected(
                RejectionCode.INVALID_TERMS,
                "members names an agent twice, or the proposer; name each other member once",
            )
        if isinstance(terms.split, str):
            return
        if terms.split.keys() != {proposer.agent_id, *terms.members}:
            raise Rejected(
                RejectionCode.INVALID_TERMS,
                "a split names the proposer and every member, and nobody else",
            )
        total = sum(terms.split.values())
        if total != BPS:
            raise Rejected(
                RejectionCode.INVALID_TERMS,
                f"the parts of a split add up to {total} basis points; they must add up to {BPS}",
            )

    def activate(self, turn: Turn, contract: Contract) -> None:
        """Enter the pool for every member and kind."""
        for member in contract.members:
            for kind in self.terms(contract).kinds:
                turn.world.pools[member.agent_id, kind] = contract

    def advance(self, turn: Turn, contract: Contract) -> None:
        """Settle the pool when it is due."""
        if turn.number != contract.due_turn:
            return
        for member in contract.members:
            for kind in self.terms(contract).kinds:
                del turn.world.pools[member.agent_id, kind]
        endings.settle(turn, contract)


def require_no_other_pool(world: World, agent: Agent, terms: PoolTerms) -> None:
    """Reject with ``already_in_pool`` an agent that is in an active pool of one of the kinds."""
    for kind in terms.kinds:
        pool = world.pools.get((agent.agent_id, kind))
        if pool is not None:
            raise Rejected(
                RejectionCode.ALREADY_IN_POOL,
                f"{agent.agent_id} is in an active pool for {kind} blocks"
                f" ({pool.contract_id}); wait for its end or leave the kind out",
            )


def share_reward(turn: Turn, block: Block, winner: Agent, weights: Weights) -> None:
    """Share a block's reward and fees with the winner's pool, if it has one since before this turn.

    ``weights`` are the validation weights of the block's lottery. The shares go from the winner to
    the others even where that deepens the winner's debt.
    """
    pool = turn.world.pools.get((winner.agent_id, block.kind))
    if pool is None or pool.activated_turn == turn.number:
        return
    assert isinstance(pool.terms, PoolTerms)
    split = pool.terms.split
    if split == "equal":
        parts = [1 for _ in pool.members]
    elif split == "weight":
        parts = [weights.get(member, 0) for member in pool.members]
    else:
        assert isinstance(split, dict)
        parts = [split[member.agent_id] for member in pool.members]
    for member, share in zip(pool.members, apportion(block.reward, parts), strict=True):
        if member is not winner:
            turn.world.books.move(
                winner.liquid, member.liquid, share, Reason.POOL_SHARE, pool.contract_id
            )
