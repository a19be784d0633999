"""Double entry: the only code that moves a token.  (rules §2)"""

from __future__ import annotations

from typing import Final

from sim_engine.rules.rejections import InvariantViolation

Entry = tuple[int, int, str, str, int, str, str]
"""One movement: turn, seq, source, target, amount > 0 (tokens), reason, reference."""


class Reason:
    """Why tokens moved, as it stands in every entry."""

    GENESIS: Final = "genesis"
    INFERENCE: Final = "inference"
    FEE: Final = "fee"
    STAKE: Final = "stake"
    UNSTAKE: Final = "unstake"
    UNBONDED: Final = "unbonded"
    BURN: Final = "burn"
    TUITION: Final = "tuition"
    TRANSFER: Final = "transfer"
    BID: Final = "bid"
    BID_RETURN: Final = "bid_return"
    CORE_SALE: Final = "core_sale"
    WAGE: Final = "wage"
    MINE_REWARD: Final = "mine_reward"
    STAKE_REWARD: Final = "stake_reward"
    BURN_REWARD: Final = "burn_reward"
    BLOCK_FEES: Final = "block_fees"
    POOL_SHARE: Final = "pool_share"
    DIVIDEND: Final = "dividend"
    UNOWNED_DIVIDEND: Final = "unowned_dividend"
    INTEREST: Final = "interest"
    ESCROW: Final = "escrow"
    PRINCIPAL: Final = "principal"
    REPAYMENT: Final = "repayment"
    PREMIUM: Final = "premium"
    COVERAGE: Final = "coverage"
    PRICE: Final = "price"
    NET: Final = "net"
    RETURN: Final = "return"
    COLLATERAL: Final = "collateral"
    SLASH: Final = "slash"
    ARBITRATION: Final = "arbitration"


class Account:
    """A place that holds tokens. Only ``Books.move`` changes its balance."""

    __slots__ = ("balance", "name", "position")

    def __init__(self, name: str, position: int | None = None) -> None:
        """Open an account under its public name, with its agent's place in the roster if any."""
        self.name = name
        self.position = position
        self.balance = 0

    @property
    def may_be_negative(self) -> bool:
        """Tell whether the rules allow a balance below 0.  (rules §2)"""
        return self.name == "issuance" or self.name.startswith("agent:")


class Books:
    """The system accounts, and the journal of the turn in hand."""

    __slots__ = ("cores", "destroyed", "entries", "fees", "issuance", "touched", "turn")

    def __init__(self) -> None:
        """Open the four accounts that belong to no agent and no contract."""
        self.fees = Account("fees")
        self.cores = Account("cores")
        self.issuance = Account("issuance")
        self.destroyed = Account("destroyed")
        self.open_turn(0)

    def open_turn(self, turn: int) -> None:
        """Begin the journal of a turn."""
        self.turn = turn
        self.entries: list[Entry] = []
        self.touched: set[Account] = set()

    def move(
        self, source: Account, target: Account, amount: int, reason: str, reference: str = ""
    ) -> None:
        """Move tokens from one account to another; a movement of 0 is none.

        The caller has checked that the source may give so much. Raises InvariantViolation for an
        amount below 0, which no rule can ask for.
        """
        if amount <= 0:
            if amount == 0:
                return
            raise InvariantViolation(f"a movement of {amount} tokens for {reason} {reference}")
        source.balance -= amount
        target.balance += amount
        entries = self.entries
        entries.append(
            (self.turn, len(entries), source.name, target.name, amount, reason, reference)
        )
        self.touched.add(source)
        self.touched.add(target)

    @property
    def system(self) -> tuple[Account, Account, Account, Account]:
        """The accounts that belong to no agent and no contract."""
        return (self.fees, self.cores, self.issuance, self.destroyed)

    @property
    def issued(self) -> int:
        """All tokens ever issued."""
        return -self.issuance.balance

    @property
    def circulating(self) -> int:
        """Tokens issued and not destroyed.  (rules §2)"""
        return self.issued - self.destroyed.balance
