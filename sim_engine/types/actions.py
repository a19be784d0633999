"""The fifteen actions, as they are written on the wire: a union tagged by ``type``.  (rules §6)"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim_engine.types.fields import (
    OMITTABLE,
    SHAPE,
    Amount,
    Positive,
    Role,
    Ruling,
    Settlement,
    Text,
)
from sim_engine.types.terms import (
    ForwardTerms,
    InformationTerms,
    InsuranceTerms,
    LoanTerms,
    PoolTerms,
    ServiceTerms,
)


@dataclass(slots=True, kw_only=True, config=SHAPE)
class Paid:
    """What every action may carry: a fee (tokens) that buys a place in the order."""

    fee: Amount = 0


@dataclass(slots=True, kw_only=True, config=SHAPE)
class Mine(Paid):
    """Add mining power for this turn's race."""

    type: Literal["mine"]


@dataclass(slots=True, kw_only=True, config=SHAPE)
class Stake(Paid):
    """Lock tokens for the stake lottery."""

    type: Literal["stake"]
    amount: Positive


@dataclass(slots=True, kw_only=True, config=SHAPE)
class Unstake(Paid):
    """Unlock stake; it is liquid again after the unbonding turns."""

    type: Literal["unstake"]
    amount: Positive


@dataclass(slots=True, kw_only=True, config=SHAPE)
class Burn(Paid):
    """Destroy tokens for a score in the burn lottery."""

    type: Literal["burn"]
    amount: Positive


@dataclass(slots=True, kw_only=True, config=SHAPE)
class Study(Paid):
    """Pay tuition for progress towards the next study level, and learn coming wage funds."""

    type: Literal["study"]


@dataclass(slots=True, kw_only=True, config=SHAPE)
class Job(Paid):
    """Work for a wage, once a turn."""

    type: Literal["job"]


@dataclass(slots=True, kw_only=True, config=SHAPE)
class Transfer(Paid):
    """Give liquid tokens to another agent."""

    type: Literal["transfer"]
    to: Text
    amount: Positive
    memo: Text = ""


@dataclass(slots=True, kw_only=True, config=SHAPE)
class Proposal(Paid):
    """What a proposal of any contract type carries."""

    type: Literal["propose_contract"]
    arbitrator: Text
    settlement: Settlement = "automatic"
    duration: Positive
    proposer_collateral: Amount = 0
    counterparty_collateral: Amount = 0
    arbitrator_collateral: Annotated[Amount | None, OMITTABLE] = None
    arbitrator_fee: Annotated[Amount | None, OMITTABLE] = None


@dataclass(slots=True, kw_only=True, config=SHAPE)
class ProposeLoan(Proposal):
    """Propose a loan."""

    contract_type: Literal["loan"]
    counterparty: Text
    terms: LoanTerms


@dataclass(slots=True, kw_only=True, config=SHAPE)
class ProposeForward(Proposal):
    """Propose the delivery of a core or of compute at a later turn."""

    contract_type: Literal["forward"]
    counterparty: Text
    terms: ForwardTerms


@dataclass(slots=True, kw_only=True, config=SHAPE)
class ProposeService(Proposal):
    """Propose a service for a price."""

    contract_type: Literal["service"]
    counterparty: Text
    terms: ServiceTerms


@dataclass(slots=True, kw_only=True, config=SHAPE)
class ProposeInsurance(Proposal):
    """Propose an insurance."""

    contract_type: Literal["insurance"]
    counterparty: Text
    terms: InsuranceTerms


@dataclass(slots=True, kw_only=True, config=SHAPE)
class ProposeInformationSale(Proposal):
    """Propose a sale of information."""

    contract_type: Literal["information_sale"]
    counterparty: Text
    terms: InformationTerms


@dataclass(slots=True, kw_only=True, config=SHAPE)
class ProposePool(Proposal):
    """Propose a pool; its counterparty is the first of its members and may be left out."""

    contract_type: Literal["pool"]
    counterparty: Annotated[Text | None, OMITTABLE] = None
    terms: PoolTerms


ProposeContract = Annotated[
    ProposeLoan
    | ProposeForward
    | ProposeService
    | ProposeInsurance
    | ProposeInformationSale
    | ProposePool,
    Field(discriminator="contract_type"),
]


@dataclass(slots=True, kw_only=True, config=SHAPE)
class SignContract(Paid):
    """Sign a proposal in a role, and pay in what the role owes up front."""

    type: Literal["sign_contract"]
    contract_id: Text
    role: Role


@dataclass(slots=True, kw_only=True, config=SHAPE)
class ConfirmDelivery(Paid):
    """Say that an attested contract was kept."""

    type: Literal["confirm_delivery"]
    contract_id: Text


@dataclass(slots=True, kw_only=True, config=SHAPE)
class DisputeDelivery(Paid):
    """Bring an attested contract before its arbitrator."""

    type: Literal["dispute_delivery"]
    contract_id: Text
    reason: Text


@dataclass(slots=True, kw_only=True, config=SHAPE)
class ArbitratorRuling(Paid):
    """Decide a disputed contract."""

    type: Literal["arbitrator_ruling"]
    contract_id: Text
    ruling: Ruling
    reason: Text = ""


@dataclass(slots=True, kw_only=True, config=SHAPE)
class SellInformation(Paid):
    """Propose an information sale as its seller: the short form."""

    type: Literal["sell_information"]
    to: Text
    arbitrator: Text
    price: Positive
    title: Text
    content: Text
    settlement: Settlement = "automatic"
    duration: Positive = 1
    proposer_collateral: Amount = 0
    counterparty_collateral: Amount = 0
    arbitrator_collateral: Annotated[Amount | None, OMITTABLE] = None
    arbitrator_fee: Annotated[Amount | None, OMITTABLE] = None


@dataclass(slots=True, kw_only=True, config=SHAPE)
class BidCore(Paid):
    """Bid for unsold compute cores in this turn's auction, at an amount for each."""

    type: Literal["bid_core"]
    amount: Positive
    quantity: Positive = 1


@dataclass(slots=True, kw_only=True, config=SHAPE)
class Speak(Paid):
    """Say something to everybody."""

    type: Literal["speak"]
    message: Annotated[str, Field(strict=True, min_length=1)]


Action = Annotated[
    Mine
    | Stake
    | Unstake
    | Burn
    | Study
    | Job
    | Transfer
    | ProposeContract
    | SignContract
    | ConfirmDelivery
    | DisputeDelivery
    | ArbitratorRuling
    | SellInformation
    | BidCore
    | Speak,
    Field(discriminator="type"),
]
