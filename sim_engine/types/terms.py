"""Terms of the six contract types, as they are written on the wire.  (rules §10)"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass

from sim_engine.types.conditions import Condition
from sim_engine.types.fields import (
    OMITTABLE,
    SHAPE,
    Amount,
    BlockKind,
    Party,
    Positive,
    Text,
)


@dataclass(slots=True, kw_only=True, config=SHAPE)
class LoanTerms:
    """The lender's principal goes to the borrower at once and comes back as the repayment."""

    lender: Party
    principal: Positive
    repayment: Positive


@dataclass(slots=True, kw_only=True, config=SHAPE)
class CoreAsset:
    """A compute core, delivered against the price at the due turn."""

    kind: Literal["core"]
    core_id: Amount


@dataclass(slots=True, kw_only=True, config=SHAPE)
class ComputeAsset:
    """The buyer's inference fees over the contract's window, up to the cap (tokens)."""

    kind: Literal["compute"]
    cap: Positive


@dataclass(slots=True, kw_only=True, config=SHAPE)
class ForwardTerms:
    """An asset at the due turn for a price agreed today."""

    seller: Party
    asset: Annotated[CoreAsset | ComputeAsset, Field(discriminator="kind")]
    price: Positive


@dataclass(slots=True, kw_only=True, config=SHAPE)
class ServiceTerms:
    """The client's price is the provider's once the service is delivered."""

    provider: Party
    price: Positive
    description: Text
    condition: Annotated[Condition | None, OMITTABLE] = None


@dataclass(slots=True, kw_only=True, config=SHAPE)
class InsuranceTerms:
    """The insurer's coverage is the insured's once the event has happened."""

    insurer: Party
    premium: Amount
    coverage: Positive
    description: Text
    condition: Annotated[Condition | None, OMITTABLE] = None


@dataclass(slots=True, kw_only=True, config=SHAPE)
class InformationTerms:
    """The buyer's price for a text that only it may read."""

    seller: Party
    price: Positive
    title: Text
    content: Text


@dataclass(slots=True, kw_only=True, config=SHAPE)
class PoolTerms:
    """Block rewards of some kinds shared among the proposer and the members."""

    members: Annotated[list[Text], Field(min_length=1)]
    kinds: Annotated[list[BlockKind], Field(min_length=1)]
    split: Literal["equal", "weight"] | dict[Text, Amount]


Terms = LoanTerms | ForwardTerms | ServiceTerms | InsuranceTerms | InformationTerms | PoolTerms

TERMS_ADAPTERS: Final[dict[str, TypeAdapter[Terms]]] = {
    "loan": TypeAdapter(LoanTerms),
    "forward": TypeAdapter(ForwardTerms),
    "service": TypeAdapter(ServiceTerms),
    "insurance": TypeAdapter(InsuranceTerms),
    "information_sale": TypeAdapter(InformationTerms),
    "pool": TypeAdapter(PoolTerms),
}
"""Reads terms back, by contract type."""


def as_written(terms: Terms) -> dict[str, Any]:
    """Write terms as they came over the wire: fields that were left out stay out."""
    written: dict[str, Any] = asdict(terms, dict_factory=_without_none)
    return written


def _without_none(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in fields if value is not None}
