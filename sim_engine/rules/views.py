"""What agents, the public and the operator may see of a sealed world, as values for JSON."""

from __future__ import annotations

from typing import Any

from sim_engine.rules.contracts.information import may_read_content
from sim_engine.rules.labour_market import insights, job_fund
from sim_engine.rules.state import Agent, Contract, Core, World
from sim_engine.types.terms import InformationTerms, as_written


def supply_view(issued: int, destroyed: int) -> dict[str, int]:
    """Show the supply (tokens)."""
    return {"issued": issued, "destroyed": destroyed, "circulating": issued - destroyed}


def state_view(world: World, *, with_agents: bool) -> dict[str, Any]:
    """Show the public world: all that every agent may know."""
    books = world.books
    view: dict[str, Any] = {"turn": world.turn, "turn_hash": world.turn_hash}
    if with_agents:
        owned = cores_by_owner(world)
        view["agents"] = [agent_view(agent, owned) for agent in world.roster]
    view["cores"] = [_core_view(core) for core in world.cores]
    view["chain"] = {
        "height": world.tip.height,
        "tip_hash": world.tip.hash,
        "mine_difficulty": world.mine_difficulty,
    }
    view["supply"] = supply_view(books.issued, books.destroyed.balance)
    view["fees"] = books.fees.balance
    view["commons"] = world.commons
    view["job_fund"] = job_fund(world, world.turn)
    view["contracts"] = [
        contract_view(contract, with_content=False) for contract in world.open_contracts.values()
    ]
    view["accounts"] = {account.name: account.balance for account in books.system}
    return view


def cores_by_owner(world: World) -> dict[Agent, list[int]]:
    """List the ids of the owned cores by owner, ascending."""
    owned: dict[Agent, list[int]] = {}
    for core in world.cores:
        if core.owner is not None:
            owned.setdefault(core.owner, []).append(core.core_id)
    return owned


def agent_view(agent: Agent, owned: dict[Agent, list[int]]) -> dict[str, Any]:
    """Show what is public of an agent."""
    return {
        "agent_id": agent.agent_id,
        "balance": agent.liquid.balance,
        "staked": agent.stake.balance,
        "stake_since": agent.stake_since,
        "unbonding": [
            {"amount": lot.amount, "release_turn": lot.release_turn} for lot in agent.lots
        ],
        "burn_score": agent.burn_score,
        "study_level": agent.study_level,
        "study_progress": agent.study_progress,
        "cores": owned.get(agent, []),
        "suspended": agent.suspended,
        "contracts_settled": agent.contracts_settled,
        "contracts_defaulted": agent.contracts_defaulted,
        "disputes_lost": agent.disputes_lost,
        "rulings_made": agent.rulings_made,
        "rulings_missed": agent.rulings_missed,
        "blocks_won": agent.blocks_won,
    }


def insights_view(world: World, agent: Agent) -> list[dict[str, int]]:
    """Show what only the agent itself knows of coming wage funds (tokens)."""
    return [
        {"learned_turn": learned, "about_turn": about, "job_fund": fund}
        for learned, about, fund in insights(world, agent)
    ]


def contract_view(contract: Contract, *, with_content: bool) -> dict[str, Any]:
    """Show a contract; the content of an information sale only to those who may read it."""
    terms = as_written(contract.terms)
    if not with_content:
        terms.pop("content", None)
    dispute = contract.dispute
    verdict = contract.verdict
    return {
        "contract_id": contract.contract_id,
        "contract_type": contract.contract_type,
        "settlement": contract.settlement,
        "status": contract.status,
        "proposer": contract.proposer.agent_id,
        "counterparty": contract.counterparty.agent_id,
        "arbitrator": contract.arbitrator.agent_id,
        "terms": terms,
        "signatures": contract.signatures,
        "duration": contract.duration,
        "proposed_turn": contract.proposed_turn,
        "activated_turn": contract.activated_turn,
        "due_turn": contract.due_turn,
        "ended_turn": contract.ended_turn,
        "proposer_collateral": contract.proposer_collateral,
        "counterparty_collateral": contract.counterparty_collateral,
        "arbitrator_collateral": contract.arbitrator_collateral,
        "arbitrator_fee": contract.arbitrator_fee,
        "escrow": contract.account.balance,
        "confirmations": contract.confirmations,
        "dispute": dispute and {"by": dispute.by, "turn": dispute.turn, "reason": dispute.reason},
        "ruling": verdict
        and {"ruling": verdict.ruling, "turn": verdict.turn, "reason": verdict.reason},
    }


def content_is_open_to(contract: Contract, reader: Agent | None, *, operator: bool) -> bool:
    """Tell whether a reader may see all of a contract's terms."""
    if operator or not isinstance(contract.terms, InformationTerms):
        return True
    return reader is not None and may_read_content(contract, reader)


def information_view(contract: Contract) -> dict[str, str]:
    """Show a text that an agent bought."""
    assert isinstance(contract.terms, InformationTerms)
    return {
        "contract_id": contract.contract_id,
        "title": contract.terms.title,
        "content": contract.terms.content,
    }


def _core_view(core: Core) -> dict[str, Any]:
    return {"core_id": core.core_id, "owner": core.owner and core.owner.agent_id}
