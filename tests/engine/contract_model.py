"""A model of one contract between parties of its own: rules §10 a second time, from the text.

Each deal of the state machine has a proposer and a counterparty that do nothing else, so that what
they own can be
predicted to the token. The arbitrator is shared; its balance is only ever moved by deals.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.engine.harness import (
    Json,
    core_forward,
    information,
    insurance,
    loan,
    pool,
    service,
)

ARBITRATOR, BANK = "z", "bank"
FEE, ARBITRATORS = 50, 251
COUNTERS = (
    "contracts_settled",
    "contracts_defaulted",
    "disputes_lost",
    "rulings_made",
    "rulings_missed",
)
SIGN_WINDOW, ATTEST_WINDOW, RULING_WINDOW = 2, 1, 2

# What each kind of deal puts into the pot, and who stands to be paid from it.
KINDS = (
    "loan",
    "forward",
    "service/automatic",
    "service/attested",
    "insurance/automatic",
    "insurance/attested",
    "information_sale/automatic",
    "information_sale/attested",
    "pool",
)
REACHABLE = {
    "loan": {"settled", "defaulted", "expired"},
    "forward": {"settled", "defaulted", "expired"},
    "service/automatic": {"settled", "defaulted", "expired"},
    "service/attested": {"settled", "defaulted", "ruled", "lapsed", "expired"},
    "insurance/automatic": {"settled", "expired"},
    "insurance/attested": {"settled", "ruled", "lapsed", "expired"},
    "information_sale/automatic": {"settled", "expired"},
    "information_sale/attested": {"settled", "defaulted", "ruled", "lapsed", "expired"},
    "pool": {"settled", "expired"},
}
PRICE, PREMIUM, REPAYMENT = 201, 21, 230


def slashed(collateral: int) -> int:
    return collateral * 5_000 // 10_000


@dataclass
class Books:
    """What everybody owns and is known for, as the rules predict it."""

    balance: dict[str, int]
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    destroyed: int = 0

    def pay(self, agent: str, amount: int) -> None:
        self.balance[agent] += amount

    def count(self, agent: str, name: str) -> None:
        own = self.counts.setdefault(agent, dict.fromkeys(COUNTERS, 0))
        own[name] += 1


@dataclass
class Deal:
    """A contract of one of the nine kinds; ``p`` proposes and ``q`` is its counterparty."""

    cid: str
    kind: str
    p: str
    q: str
    p_pays: bool  # the proposer is the payer: client, buyer, insurer, lender
    p_collateral: int
    q_collateral: int
    duration: int
    core_id: int
    turn: int
    status: str = "proposed"
    signed: set[str] = field(default_factory=set)
    due: int = 0
    ended: int | None = None
    confirmed: dict[str, int] = field(default_factory=dict)
    disputed: int = 0
    spoken: bool = False
    delivers: bool = False  # of a forward: the seller has the core
    abandoned: bool = False  # nobody signs it of its own accord

    @property
    def payer(self) -> str:
        return self.p if self.p_pays else self.q

    @property
    def payee(self) -> str:
        return self.q if self.p_pays else self.p

    @property
    def word(self) -> str:
        return f"word-of-{self.cid}-"

    @property
    def attested(self) -> bool:
        return self.kind.endswith("/attested")

    @property
    def collateral(self) -> dict[str, int]:
        return {self.p: self.p_collateral, self.q: self.q_collateral}

    @property
    def pot(self) -> int:
        """What the payer escrows with its signature and what is fought over at the end."""
        return {"forward": 0, "pool": 0}.get(self.kind, PRICE)

    @property
    def open(self) -> bool:
        return self.status in ("proposed", "active", "disputed")

    def proposal(self) -> Json:
        """The action that proposes it."""
        common: Json = {
            "counterparty": self.q,
            "arbitrator": ARBITRATOR,
            "duration": self.duration,
            "proposer_collateral": self.p_collateral,
            "counterparty_collateral": self.q_collateral,
            "arbitrator_collateral": ARBITRATORS,
        }
        payer, payee = ("proposer", "counterparty")[:: 1 if self.p_pays else -1]
        contract_type, _, settlement = self.kind.partition("/")
        condition = None
        if settlement == "automatic" and contract_type in ("service", "insurance"):
            condition = {"type": "spoke", "agent": self.payee, "contains": self.word}
        if contract_type == "loan":
            return loan(PRICE, REPAYMENT, lender=payer, **common)
        if contract_type == "forward":
            return core_forward(self.core_id, PRICE, seller=payee, **common)
        if contract_type == "service":
            return service(PRICE, provider=payee, condition=condition, **common)
        if contract_type == "insurance":
            return insurance(PREMIUM, PRICE, insurer=payer, condition=condition, **common)
        if contract_type == "information_sale":
            return information(PRICE, seller=payee, settlement=settlement, **common)
        return pool([self.q], ["mine"], "equal", **common)

    def owes(self, role: str) -> int:
        """What the signature in a role costs."""
        if role == "arbitrator":
            return ARBITRATORS
        agent = self.p if role == "proposer" else self.q
        premium = PREMIUM if self.kind.startswith("insurance") and agent == self.payee else 0
        pot = self.pot if agent == self.payer else 0
        return self.collateral[agent] + premium + pot + (FEE if role == "proposer" else 0)

    def escrow(self) -> int:
        """What the contract holds."""
        if not self.open:
            return 0
        held = sum(self.owes(role) for role in self.signed)
        if self.status != "proposed":
            held -= PREMIUM if self.kind.startswith("insurance") else 0
            held -= PRICE if self.kind == "loan" else 0
        return held

    # -- what happens ------------------------------------------------------------------------------

    def signer(self, role: str) -> str:
        return {"proposer": self.p, "counterparty": self.q, "arbitrator": ARBITRATOR}[role]

    def sign(self, books: Books, role: str, turn: int) -> None:
        self.signed.add(role)
        books.pay(self.signer(role), -self.owes(role))
        if len(self.signed) == 3:
            self.status, self.due = "active", turn + self.duration
            if self.kind == "loan":
                books.pay(self.payee, PRICE)
            if self.kind.startswith("insurance"):
                books.pay(self.payer, PREMIUM)
            if self.kind == "information_sale/automatic":
                self.settle(books, turn, to=self.payee)

    def confirm(self, books: Books, agent: str, turn: int) -> None:
        self.confirmed[agent] = turn
        if self.payer in self.confirmed:
            self.settle(books, turn, to=self.payee)

    def dispute(self, turn: int) -> None:
        self.status, self.disputed = "disputed", turn

    def rule(self, books: Books, ruling: str, turn: int) -> None:
        if ruling == "split":
            books.pay(self.payee, self.pot // 2)
            books.pay(self.payer, self.pot - self.pot // 2)
            self.return_collaterals(books)
        else:
            winner, loser = (self.p, self.q) if ruling == "proposer" else (self.q, self.p)
            books.pay(winner, self.pot)
            self.slash(books, loser, to=winner)
            books.count(loser, "disputes_lost")
        books.count(ARBITRATOR, "rulings_made")
        self.end(books, "ruled", turn)

    def phase_seven(self, books: Books, turn: int) -> None:
        """The contracts phase of a turn after the one of its activation."""
        if self.status == "active" and self.spoken:
            self.settle(books, turn, to=self.payee)
        elif self.status == "active" and self.attested:
            if turn == self.due + ATTEST_WINDOW:
                self.run_out(books, turn)
        elif self.status == "active" and turn == self.due:
            self.fall_due(books, turn)
        elif self.status == "disputed" and turn == self.disputed + RULING_WINDOW:
            self.lapse(books, turn)

    def clock(self, books: Books, turn: int) -> None:
        if self.status == "proposed" and turn == self.turn + SIGN_WINDOW:
            for role in self.signed:
                books.pay(self.signer(role), self.owes(role))
            self.status, self.ended = "expired", turn

    # -- endings -----------------------------------------------------------------------------------

    def end(self, books: Books, status: str, turn: int) -> None:
        books.pay(ARBITRATOR, ARBITRATORS + FEE)
        self.status, self.ended = status, turn

    def return_collaterals(self, books: Books) -> None:
        for agent, amount in self.collateral.items():
            books.pay(agent, amount)

    def slash(self, books: Books, loser: str, *, to: str) -> None:
        """A part of the loser's collateral to the other side, all else back."""
        self.return_collaterals(books)
        books.pay(loser, -slashed(self.collateral[loser]))
        books.pay(to, slashed(self.collateral[loser]))

    def settle(self, books: Books, turn: int, *, to: str) -> None:
        books.pay(to, self.pot)
        self.return_collaterals(books)
        for agent in (self.p, self.q):
            books.count(agent, "contracts_settled")
        self.end(books, "settled", turn)

    def default(self, books: Books, turn: int, *who: str) -> None:
        for agent in who:
            books.count(agent, "contracts_defaulted")
        self.end(books, "defaulted", turn)

    def run_out(self, books: Books, turn: int) -> None:
        """The attestation window is over and nobody has disputed."""
        if self.kind.startswith("insurance"):
            self.settle(books, turn, to=self.payer)
        elif self.confirmed.get(self.payee, turn) <= self.due:
            self.settle(books, turn, to=self.payee)
        else:
            books.pay(self.payer, self.pot)
            self.slash(books, self.payee, to=self.payer)
            self.default(books, turn, self.payee)

    def lapse(self, books: Books, turn: int) -> None:
        books.pay(self.payer, self.pot)
        self.return_collaterals(books)
        for agent in (self.p, self.q):
            books.pay(agent, ARBITRATORS // 2)
        books.destroyed += ARBITRATORS % 2
        books.pay(self.p, FEE)
        books.count(ARBITRATOR, "rulings_missed")
        self.status, self.ended = "lapsed", turn

    def fall_due(self, books: Books, turn: int) -> None:
        if self.kind == "loan":
            self.repay(books, turn)
        elif self.kind == "forward":
            self.deliver(books, turn)
        elif self.kind == "service/automatic":
            books.pay(self.payer, self.pot)
            self.slash(books, self.payee, to=self.payer)
            self.default(books, turn, self.payee)
        elif self.kind == "insurance/automatic":
            self.settle(books, turn, to=self.payer)
        else:
            self.settle(books, turn, to=self.p)

    def repay(self, books: Books, turn: int) -> None:
        borrower, lender = self.payee, self.payer
        paid = min(books.balance[borrower], REPAYMENT)
        missing = REPAYMENT - paid
        taken = min(missing, self.collateral[borrower])
        books.pay(borrower, -paid)
        books.pay(lender, paid + taken)
        self.return_collaterals(books)
        books.pay(borrower, -taken)
        if missing:
            lost = slashed(self.collateral[borrower] - taken)
            books.pay(borrower, -lost)
            books.destroyed += lost
            self.default(books, turn, borrower)
        else:
            for agent in (self.p, self.q):
                books.count(agent, "contracts_settled")
            self.end(books, "settled", turn)

    def deliver(self, books: Books, turn: int) -> None:
        seller, buyer = self.payee, self.payer
        pays = books.balance[buyer] >= PRICE
        if self.delivers and pays:
            books.pay(buyer, -PRICE)
            books.pay(seller, PRICE)
            self.settle(books, turn, to=seller)
        elif self.delivers:
            self.slash(books, buyer, to=seller)
            self.default(books, turn, buyer)
        elif pays:
            self.slash(books, seller, to=buyer)
            self.default(books, turn, seller)
        else:
            self.return_collaterals(books)
            self.default(books, turn, seller, buyer)
