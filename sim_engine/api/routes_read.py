"""What can be read of the world. Every answer is of one sealed turn."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response

from sim_engine.api.access import caller_of
from sim_engine.api.openapi import answer, needs, refusals
from sim_engine.api.parameters import (
    After,
    AgentFilter,
    EntryAfter,
    Limit,
    NameInPath,
    TurnInPath,
    known_parameters_only,
)
from sim_engine.api.responses import json_answer
from sim_engine.api.workers import workers_of
from sim_engine.types.answers import BlockStatus
from sim_engine.types.fields import MAX_AMOUNT, ContractStatus, ContractType

router = APIRouter(tags=["reading"], dependencies=[Depends(known_parameters_only)])


@router.get(
    "/state",
    summary="The public world",
    response_class=Response,
    responses={
        200: answer("StateAnswer", "The turn just sealed."),
        **refusals("no_world"),
    },
    openapi_extra=needs(),
)
async def state(
    request: Request,
    agents: Annotated[bool, Query(description="false leaves the list of agents out")] = True,
) -> Response:
    """Show all that every agent may know, with the contracts that have not ended."""
    return json_answer(await workers_of(request).state(with_agents=agents))


@router.get(
    "/agent/{agent_id}",
    summary="One agent",
    response_class=Response,
    responses={
        200: answer(
            "OneAgentAnswer",
            "The agent; `private` for the operator and the agent itself.",
        ),
        **refusals("no_world", "unknown_agent"),
    },
    openapi_extra=needs(),
)
async def agent(request: Request, agent_id: NameInPath) -> Response:
    """Show an agent, with what it alone knows to those who may see it."""
    workers = workers_of(request)
    if caller_of(request).may_read_privately(agent_id):
        return json_answer(await workers.read(workers.engine.agent, agent_id, private=True))
    return json_answer(await workers.read_light(workers.engine.agent, agent_id, private=False))


@router.get(
    "/contract/{contract_id}",
    summary="One contract",
    response_class=Response,
    responses={
        200: answer("ContractAnswer", "The contract."),
        **refusals("no_world", "unknown_contract"),
    },
    openapi_extra=needs(),
)
async def contract(request: Request, contract_id: NameInPath) -> Response:
    """Show a contract; the content of an information sale only to those who may read it."""
    workers, caller = workers_of(request), caller_of(request)
    content = await workers.read_light(
        workers.engine.contract, contract_id, reader=caller.agent_id, operator=caller.is_operator
    )
    return json_answer(content)


@router.get(
    "/contracts",
    summary="All contracts, page by page",
    response_class=Response,
    responses={
        200: answer("ContractPage", "In order of proposal."),
        **refusals("no_world"),
    },
    openapi_extra=needs(),
)
async def contracts(
    request: Request,
    status: Annotated[ContractStatus | None, Query()] = None,
    contract_type: Annotated[ContractType | None, Query(alias="type")] = None,
    agent: AgentFilter = None,
    limit: Limit = 100,
    after: After = 0,
) -> Response:
    """List contracts, ended ones too; `agent` is one of the parties or the arbitrator."""
    workers, caller = workers_of(request), caller_of(request)
    content = await workers.read(
        workers.engine.contracts,
        status=status,
        contract_type=contract_type,
        agent=agent,
        after=after,
        limit=limit,
        reader=caller.agent_id,
        operator=caller.is_operator,
    )
    return json_answer(content)


@router.get(
    "/speech/{turn}",
    summary="What was said in a turn",
    response_class=Response,
    responses={
        200: answer("SpeechAnswer", "In the order of speaking."),
        **refusals("no_world", "unknown_turn"),
    },
    openapi_extra=needs(),
)
async def speech(request: Request, turn: TurnInPath) -> Response:
    """Show what agents said to everybody in a sealed turn."""
    workers = workers_of(request)
    return json_answer(await workers.read(workers.engine.speech, turn))


@router.get(
    "/config",
    summary="The rules' numbers in this world",
    response_class=Response,
    responses={
        200: answer("ConfigAnswer", "Every key; `seed` for the operator only."),
        **refusals("no_world"),
    },
    openapi_extra=needs(),
)
async def config(request: Request) -> Response:
    """Show every key of the config, the version of the protocol, and to the operator the seed."""
    workers = workers_of(request)
    operator = caller_of(request).is_operator
    return json_answer(await workers.read_light(workers.engine.config, operator=operator))


@router.get(
    "/turns/{turn}",
    summary="A sealed turn",
    response_class=Response,
    responses={
        200: answer("TurnAnswer", "The answer that it was given."),
        **refusals("no_world", "unknown_turn"),
    },
    openapi_extra=needs(),
)
async def stored_turn(request: Request, turn: TurnInPath) -> Response:
    """Show the answer that `POST /turn` gave when it sealed the turn."""
    workers = workers_of(request)
    return json_answer(await workers.read(workers.engine.stored_turn, turn))


@router.get(
    "/blocks",
    summary="The chain with its orphans, page by page",
    response_class=Response,
    responses={
        200: answer("BlockPage", "In the order of making."),
        **refusals("no_world"),
    },
    openapi_extra=needs(),
)
async def blocks(
    request: Request,
    from_height: Annotated[
        int, Query(alias="from", ge=0, le=MAX_AMOUNT, description="lowest height")
    ] = 0,
    status: Annotated[BlockStatus | None, Query()] = None,
    limit: Limit = 100,
    after: After = 0,
) -> Response:
    """List blocks; those that lost a fork are `orphaned`."""
    workers = workers_of(request)
    content = await workers.read(
        workers.engine.blocks, from_height=from_height, limit=limit, after=after, status=status
    )
    return json_answer(content)


@router.get(
    "/block/{hash}",
    summary="One block",
    response_class=Response,
    responses={
        200: answer("BlockAnswer", "The block."),
        **refusals("no_world", "unknown_block"),
    },
    openapi_extra=needs(),
)
async def block(
    request: Request, block_hash: Annotated[str, Path(alias="hash", max_length=200)]
) -> Response:
    """Show a block, canonical or orphaned."""
    workers = workers_of(request)
    return json_answer(await workers.read(workers.engine.block, block_hash))


@router.get(
    "/entries",
    summary="The journal, page by page",
    response_class=Response,
    responses={
        200: answer("EntryPage", "In the order of the journal."),
        **refusals("no_world"),
    },
    openapi_extra=needs(),
)
async def entries(
    request: Request,
    account: Annotated[
        str | None, Query(max_length=100, description="as source or target, e.g. `agent:agent_0`")
    ] = None,
    turn: Annotated[int | None, Query(ge=0, le=MAX_AMOUNT)] = None,
    limit: Limit = 100,
    after: EntryAfter = None,
) -> Response:
    """List movements of tokens: every token's way from account to account."""
    workers = workers_of(request)
    place = None
    if after is not None:
        last_turn, last_seq = after.split(".")
        place = int(last_turn), int(last_seq)
    content = await workers.read(
        workers.engine.entries, account=account, turn=turn, limit=limit, after=place
    )
    return json_answer(content)


@router.get(
    "/metrics/turns",
    summary="Measurements, one row a turn",
    response_class=Response,
    responses={
        200: answer("TurnMetricsPage", "Ascending by turn."),
        **refusals("no_world"),
    },
    openapi_extra=needs(),
)
async def metrics_turns(request: Request, limit: Limit = 100, after: After = 0) -> Response:
    """List what was measured at each seal: supply, wealth, debt, fees, blocks, contracts."""
    workers = workers_of(request)
    return json_answer(await workers.read(workers.engine.metrics_turns, after=after, limit=limit))
