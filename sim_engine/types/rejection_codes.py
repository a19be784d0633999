"""The codes of rejected actions, one for each rule that an action can break."""

from __future__ import annotations

from enum import StrEnum


class RejectionCode(StrEnum):
    """Why an action was rejected: the name of the rule that it broke.  (rules §6)

    The order is the order in which the rules are checked; an action that breaks several is named by
    the first.
    """

    ACTION_POINTS_EXHAUSTED = "action_points_exhausted"
    ONCE_PER_TURN = "once_per_turn"
    SPEECH_LIMIT = "speech_limit"
    TOO_LONG = "too_long"
    INVALID_TERMS = "invalid_terms"
    UNKNOWN_AGENT = "unknown_agent"
    UNKNOWN_CONTRACT = "unknown_contract"
    SELF_DEALING = "self_dealing"
    NOT_A_PARTY = "not_a_party"
    WRONG_ROLE = "wrong_role"
    CONTRACT_NOT_OPEN = "contract_not_open"
    CONTRACT_NOT_ACTIVE = "contract_not_active"
    CONTRACT_NOT_DISPUTED = "contract_not_disputed"
    SETTLEMENT_IS_AUTOMATIC = "settlement_is_automatic"
    ALREADY_SIGNED = "already_signed"
    ALREADY_CONFIRMED = "already_confirmed"
    NO_CORE_FOR_SALE = "no_core_for_sale"
    BELOW_RESERVE = "below_reserve"
    MAX_STUDY_LEVEL = "max_study_level"
    INSUFFICIENT_STAKE = "insufficient_stake"
    ALREADY_IN_POOL = "already_in_pool"
    TOO_MANY_CONTRACTS = "too_many_contracts"
    INSUFFICIENT_FUNDS = "insufficient_funds"
