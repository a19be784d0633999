"""The six contract types by name.  (rules §10)"""

from __future__ import annotations

from typing import Any, Final

from sim_engine.rules.contracts.forward import Forward
from sim_engine.rules.contracts.information import InformationSale
from sim_engine.rules.contracts.insurance import Insurance
from sim_engine.rules.contracts.kind import ContractKind, Promise
from sim_engine.rules.contracts.loan import Loan
from sim_engine.rules.contracts.pool import Pool
from sim_engine.rules.contracts.service import Service
from sim_engine.rules.state import Contract
from sim_engine.types.fields import ContractType

# Each kind takes the terms of its own type, which the type of a dictionary can not say.
KINDS: Final[dict[ContractType, ContractKind[Any]]] = {
    "loan": Loan(),
    "forward": Forward(),
    "service": Service(),
    "insurance": Insurance(),
    "information_sale": InformationSale(),
    "pool": Pool(),
}


def kind_of(contract: Contract) -> ContractKind[Any]:
    """Return what the contract's type has to say."""
    return KINDS[contract.contract_type]


def promise_of(contract: Contract) -> Promise[Any]:
    """Return what the type of a contract that can be attested has to say."""
    kind = kind_of(contract)
    assert isinstance(kind, Promise)
    return kind
