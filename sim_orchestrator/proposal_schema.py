"""JSON Schemas of the contracts that an agent can propose now, and the pieces all actions share.

Proposer, counterparty and arbitrator must be three different agents. A grammar cannot compare what
it has generated, so each proposal is written once for each agent that may arbitrate, with everybody
else as the counterparty. What they share is defined once and referred to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from sim_orchestrator.context.possible import BLOCK_KINDS, Possible
from sim_orchestrator.minds.base import Observation

Schema = dict[str, Any]

_DURATION_MAX: Final = 20
_TITLE_CHARS: Final = 60
_DESCRIPTION_CHARS: Final = 120
_CONTENT_CHARS: Final = 240
_POOL_MEMBERS_MAX: Final = 3
_COUNT_MAX: Final = 20
_CORES_MAX: Final = 4
_PARTIES: Final = ("proposer", "counterparty")


def object_schema(properties: Mapping[str, Schema], optional: Sequence[str] = ()) -> Schema:
    """Return the schema of an object that has these properties, in this order, and no others."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def action_schema(kind: str, /, **fields: Schema) -> Schema:
    """Return the schema of an action of this type with these fields; a fee may be left out."""
    return object_schema({"type": {"const": kind}, **fields}, optional=("fee",))


def amount_schema(most: int, least: int = 1) -> Schema:
    """Return the schema of a whole number between two bounds, both included."""
    return {"type": "integer", "minimum": least, "maximum": most}


def text_schema(longest: int, least: int = 0) -> Schema:
    """Return the schema of a text of a bounded length, in characters."""
    bounds = {"minLength": least} if least else {}
    return {"type": "string", **bounds, "maxLength": longest}


def proposal_schemas(
    observation: Observation, can: Possible, limit: int
) -> tuple[list[Schema], dict[str, Schema]]:
    """Return the schemas of all contracts that the agent can propose and pay for.

    Args:
        observation: what the agent knows.
        can: what it can do.
        limit: the most that a proposal may move into its contract, in tokens.

    Returns:
        the schemas, and the definitions that they refer to.
    """
    if not can.arbitrators:
        return [], {}
    fee = observation.config["arbitrator_fee"]
    # An agent that cannot pay the usual fee may still ask somebody to arbitrate for nothing.
    fee_field: dict[str, Schema] = {} if fee <= limit else {"arbitrator_fee": {"const": 0}}
    budget = limit - fee if fee <= limit else limit
    shared = _shared(observation, can, budget)
    found: list[Schema] = []
    for arbitrator in can.arbitrators:
        anybody = f"not_{arbitrator}"
        shared[anybody] = {"enum": [other for other in can.others if other != arbitrator]}
        found += _proposals(arbitrator, refer(anybody), shared, fee_field)
        found += _core_purchases(observation, can, arbitrator, fee_field)
        found += _pools(can, arbitrator, fee_field)
    return found, shared


def _shared(observation: Observation, can: Possible, budget: int) -> dict[str, Schema]:
    """Return the definitions that proposals refer to: amounts, texts, terms, conditions."""
    config = observation.config
    # What the other side would have to pay is its own affair, within what agents begin with.
    asked = max(budget, config["initial_balance"], 1)
    return {
        "asked": amount_schema(asked),
        "own": amount_schema(max(1, budget)),
        "turns": amount_schema(_DURATION_MAX),
        "words": text_schema(min(_DESCRIPTION_CHARS, config["max_message_chars"])),
        "title": text_schema(min(_TITLE_CHARS, config["max_message_chars"])),
        "content": text_schema(min(_CONTENT_CHARS, config["max_content_chars"])),
        "anybody": {"enum": [observation.agent_id, *can.others]},
        "condition": condition_schema(observation),
        "loan_terms": either(list(_loan_terms(budget))),
        "forward_terms": either(list(_forward_terms(observation))),
        "service_terms": either(list(_service_terms(budget, {}))),
        "service_if": either(list(_service_terms(budget, {"condition": refer("condition")}))),
        "insurance_terms": either(list(_insurance_terms(budget, {}))),
        "insurance_if": {
            "anyOf": list(_insurance_terms(budget, {"condition": refer("condition")}))
        },
    }


def either(alternatives: Sequence[Schema]) -> Schema:
    """Return the schema of one of the alternatives; of the only one if there is but one."""
    return alternatives[0] if len(alternatives) == 1 else {"anyOf": list(alternatives)}


def refer(name: str) -> Schema:
    """Return a reference to a definition of the answer's schema."""
    return {"$ref": f"#/$defs/{name}"}


def _payers(budget: int) -> Iterator[tuple[str, str, Schema]]:
    """Yield who pays, who is paid, and the amount: of its own money only what the agent has."""
    if budget > 0:
        yield "proposer", "counterparty", refer("own")
    yield "counterparty", "proposer", refer("asked")


def _loan_terms(budget: int) -> Iterator[Schema]:
    for lender, _, principal in _payers(budget):
        yield object_schema(
            {"lender": {"const": lender}, "principal": principal, "repayment": refer("asked")}
        )


def _forward_terms(observation: Observation) -> Iterator[Schema]:
    compute = object_schema({"kind": {"const": "compute"}, "cap": refer("asked")})
    yield _forward({"enum": list(_PARTIES)}, compute)
    own = observation.agent["cores"][:_CORES_MAX]
    if own:
        core = object_schema({"kind": {"const": "core"}, "core_id": {"enum": list(own)}})
        yield _forward({"const": "proposer"}, core)


def _forward(seller: Schema, asset: Schema) -> Schema:
    return object_schema({"seller": seller, "asset": asset, "price": refer("asked")})


def _service_terms(budget: int, condition: Mapping[str, Schema]) -> Iterator[Schema]:
    for _, provider, price in _payers(budget):
        yield object_schema(
            {
                "provider": {"const": provider},
                "price": price,
                "description": refer("words"),
                **condition,
            }
        )


def _insurance_terms(budget: int, condition: Mapping[str, Schema]) -> Iterator[Schema]:
    for insurer, _, coverage in _payers(budget):
        # An agent that can pay no premium is insured for nothing, if anybody should agree to that.
        premium = refer("own") if budget > 0 else {"const": 0}
        yield object_schema(
            {
                "insurer": {"const": insurer},
                "premium": refer("asked") if insurer == "proposer" else premium,
                "coverage": coverage,
                "description": refer("words"),
                **condition,
            }
        )


def _proposals(
    arbitrator: str, anybody: Schema, shared: Mapping[str, Schema], fee_field: Mapping[str, Schema]
) -> Iterator[Schema]:
    """Yield the proposals with one arbitrator that can be made to anybody else."""
    attested = {"settlement": {"const": "attested"}}
    offers: tuple[tuple[str, str, dict[str, Schema]], ...] = (
        ("loan", "loan_terms", {}),
        ("forward", "forward_terms", {}),
        ("service", "service_terms", attested),
        ("service", "service_if", {}),
        ("insurance", "insurance_terms", attested),
        ("insurance", "insurance_if", {}),
    )
    for contract_type, terms, settlement in offers:
        parties = {"counterparty": anybody, "arbitrator": {"const": arbitrator}, **settlement}
        yield _propose(contract_type, parties, refer(terms), fee_field)
    yield action_schema(
        "sell_information",
        to=anybody,
        arbitrator={"const": arbitrator},
        price=refer("asked"),
        title=refer("title"),
        content=refer("content"),
        **fee_field,
    )


def _propose(
    contract_type: str,
    parties: Mapping[str, Schema],
    terms: Schema,
    fee_field: Mapping[str, Schema],
) -> Schema:
    return action_schema(
        "propose_contract",
        contract_type={"const": contract_type},
        **parties,
        duration=refer("turns"),
        **fee_field,
        terms=terms,
    )


def _core_purchases(
    observation: Observation, can: Possible, arbitrator: str, fee_field: Mapping[str, Schema]
) -> Iterator[Schema]:
    """Yield the proposals to buy a core: each can only go to the core's owner."""
    for core in observation.state["cores"][:_CORES_MAX]:
        owner = core["owner"]
        if owner in can.others and owner != arbitrator:
            parties = {"counterparty": {"const": owner}, "arbitrator": {"const": arbitrator}}
            asset = object_schema(
                {"kind": {"const": "core"}, "core_id": {"const": core["core_id"]}}
            )
            yield _propose(
                "forward", parties, _forward({"const": "counterparty"}, asset), fee_field
            )


def _pools(can: Possible, arbitrator: str, fee_field: Mapping[str, Schema]) -> Iterator[Schema]:
    kinds = list(can.pool_kinds)
    free = [other for other in can.others if other != arbitrator and _pools_nothing(can, other)]
    if not kinds or not free:
        return
    kind_lists = [[kind] for kind in kinds] + ([kinds] if len(kinds) > 1 else [])
    terms: dict[str, Schema] = {
        "members": {"anyOf": list(_member_lists(free))},
        "kinds": {"enum": kind_lists},
        "split": {"enum": ["equal", "weight"]},
    }
    # The counterparty is left out: it would have to be the first of the members.
    yield _propose("pool", {"arbitrator": {"const": arbitrator}}, object_schema(terms), fee_field)


def _pools_nothing(can: Possible, agent_id: str) -> bool:
    return not any((agent_id, kind) in can.world.pooled for kind in BLOCK_KINDS)


def _member_lists(free: Sequence[str]) -> Iterator[Schema]:
    """Yield lists of one to three members; each place has agents of its own, so none is twice."""
    for count in range(1, min(_POOL_MEMBERS_MAX, len(free)) + 1):
        places = [{"enum": list(free[place::count])} for place in range(count)]
        yield {"type": "array", "prefixItems": places, "minItems": count, "maxItems": count}


def condition_schema(observation: Observation) -> Schema:
    """Return the schema of the conditions that an automatic contract can be given.  (rules §10)"""
    agent = refer("anybody")
    count = amount_schema(_COUNT_MAX)
    amount = amount_schema(max(1, observation.config["initial_balance"]))
    level = amount_schema(max(1, observation.config["max_study_level"]))
    actions = {"enum": ["job", "mine", "study", "stake", "burn", "transfer", "speak"]}
    kinds = {"enum": list(BLOCK_KINDS)}
    cores = {"enum": [core["core_id"] for core in observation.state["cores"][:_CORES_MAX]]}
    said = text_schema(_TITLE_CHARS)
    conditions = [
        action_schema("blocks_won", agent=agent, kind=kinds, at_least=count),
        action_schema("actions", agent=agent, action=actions, at_least=count),
        action_schema("spoke", agent=agent, contains=said),
        action_schema("balance_below", agent=agent, amount=amount),
        action_schema("balance_at_least", agent=agent, amount=amount),
        action_schema("study_level_at_least", agent=agent, level=level),
        action_schema("core_owned", core_id=cores, agent=agent),
        action_schema("inference_fees_at_least", agent=agent, amount=amount),
    ]
    open_now = [contract["contract_id"] for contract in observation.contracts]
    if open_now:
        named = {"enum": open_now}
        conditions.append(action_schema("contract_defaulted", contract_id=named))
    return {"anyOf": conditions}
