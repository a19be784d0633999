"""Loans: a principal now for a repayment at the due turn.  (rules §10)"""

from __future__ import annotations

from sim_engine.rules.books import Reason
from sim_engine.rules.contracts import endings
from sim_engine.rules.contracts.kind import ContractKind
from sim_engine.rules.in_hand import Turn
from sim_engine.rules.state import Agent, Contract
from sim_engine.types.fields import Party
from sim_engine.types.terms import LoanTerms


class Loan(ContractKind[LoanTerms]):
    """The lender funds the principal by signing; the borrower owes the repayment when due."""

    terms_type = LoanTerms

    def up_front(self, terms: LoanTerms, role: Party) -> int:
        """The lender pays in the principal."""
        return terms.principal if role == terms.lender else 0

    def activate(self, turn: Turn, contract: Contract) -> None:
        """Hand the principal to the borrower."""
        principal = self.terms(contract).principal
        endings.pay(turn, contract, self._borrower(contract), principal, Reason.PRINCIPAL)

    def advance(self, turn: Turn, contract: Contract) -> None:
        """Collect the repayment when it is due."""
        if turn.number == contract.due_turn:
            repayment = self.terms(contract).repayment
            endings.collect(turn, contract, self._borrower(contract), repayment, Reason.REPAYMENT)

    def _borrower(self, contract: Contract) -> Agent:
        return contract.other(contract.party(self.terms(contract).lender))
