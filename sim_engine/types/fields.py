"""The scalar types of the wire contract: strict integers, ids and texts with their bounds.

Strict means that ``1.0``, ``true`` and ``"1"`` are no integers and ``null`` is no value. Bounds
here are part of the shape of a request (a violation makes the whole request malformed); limits that
depend on a world's config are rules and live in ``sim_engine.rules``.
"""

from __future__ import annotations

from types import NoneType
from typing import Annotated, Any, Final, Literal, Union, get_args

from pydantic import ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema

MAX_AMOUNT: Final = 2**53 - 1
"""The largest amount: the last integer that every JSON reader holds exactly.  (rules §1)"""

MAX_OUTPUT_TOKENS: Final = 10**9
"""The most tokens that one submission may report: far above what any model writes in a turn."""

AGENT_ID_PATTERN: Final = r"^[A-Za-z0-9_.-]{1,64}$"

SHAPE: Final = ConfigDict(extra="forbid")
"""Every object of the contract refuses fields that it does not know."""

Text = Annotated[str, Field(strict=True)]
Amount = Annotated[int, Field(strict=True, ge=0, le=MAX_AMOUNT)]
Positive = Annotated[int, Field(strict=True, ge=1, le=MAX_AMOUNT)]

Settlement = Literal["automatic", "attested"]
Party = Literal["proposer", "counterparty"]
Role = Literal["proposer", "counterparty", "arbitrator"]
Ruling = Literal["proposer", "counterparty", "split"]
BlockKind = Literal["mine", "stake", "burn"]
ContractType = Literal["loan", "forward", "service", "insurance", "information_sale", "pool"]
ContractStatus = Literal[
    "proposed", "active", "disputed", "settled", "defaulted", "ruled", "lapsed", "expired"
]


class Omittable:
    """Marks ``T | None`` as a field that may be left out but, when sent, must be a ``T``.

    ``None`` is what the code sees for a field that was left out; a ``null`` on the wire is refused
    like any other wrong type, and the JSON Schema shows plain ``T``.
    """

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Build the schema of ``T`` alone."""
        alternatives = tuple(arg for arg in get_args(source) if arg is not NoneType)
        return handler(Union[alternatives])  # noqa: UP007 - built at run time


OMITTABLE: Final = Omittable()
