"""Double entry: every movement, and balances that are nothing but their sums (rules §2)."""

from collections import Counter


class Books:
    """All movements of one world."""

    def __init__(self) -> None:
        self.balances: Counter[str] = Counter()
        self.entries: dict[int, list[tuple[str, str, int]]] = {}

    def move(self, turn: int, source: str, target: str, amount: int) -> None:
        """Enter one movement; an amount of 0 is no movement."""
        if amount == 0:
            return
        if amount < 0 or source == target:
            raise ArithmeticError(f"impossible entry: {amount} from {source} to {target}")
        self.entries.setdefault(turn, []).append((source, target, amount))
        self.balances[source] -= amount
        self.balances[target] += amount

    def balance(self, account: str) -> int:
        """Return the sum of the account's entries, in tokens."""
        return self.balances[account]

    def flows(self, turn: int) -> Counter[tuple[str, str]]:
        """Return what moved in one turn, summed for each (source, target)."""
        sums: Counter[tuple[str, str]] = Counter()
        for source, target, amount in self.entries.get(turn, []):
            sums[source, target] += amount
        return sums

    def supply(self) -> dict[str, int]:
        """Return issued, destroyed and circulating tokens (rules §2)."""
        issued = -self.balance("issuance")
        destroyed = self.balance("destroyed")
        return {"issued": issued, "destroyed": destroyed, "circulating": issued - destroyed}
