"""The world and its turn: the ten phases in their order (rules §3 and §4)."""

from typing import Any

from . import actions, blocks, labour, proposals, settlement
from .books import Books
from .defaults import DEFAULTS
from .numbers import TEN_THOUSAND, apportion


class World:
    """Everything that one economy is, predicted from its requests alone.

    Only two values are taken from outside: the seed, if `/init` chose it, and each turn's hash,
    whose form the rules leave open but on which the hashes of the next turn's blocks depend.
    """

    def __init__(self, body: dict[str, Any], turn_hash: str) -> None:
        self.seed: str = body["seed"]
        self.config: dict[str, int] = DEFAULTS | body.get("config", {})
        self.turn = 0
        self.turn_hash = turn_hash
        self.books = Books()
        self.agents: dict[str, dict[str, Any]] = {}
        for entry in body["agents"]:
            given = {"agent_id": entry} if isinstance(entry, str) else entry
            self._enter(given["agent_id"], given.get("balance", self.config["initial_balance"]))
        self.roster = list(self.agents)
        self.cores: list[str | None] = [None] * self.config["core_count"]
        self.contracts: dict[str, dict[str, Any]] = {}
        self.difficulty = max(1, len(self.roster) * self.config["mine_power"])
        self.tip = blocks.genesis()
        self.queued: list[tuple[str, list[dict[str, Any]]]] = []
        self.history: dict[int, dict[str, Any]] = {}

    def _enter(self, agent_id: str, balance: int) -> None:
        self.books.move(0, "issuance", f"agent:{agent_id}", balance)
        self.agents[agent_id] = {
            "agent_id": agent_id,
            "stake_since": 0,
            "unbonding": [],
            "burn_score": 0,
            "study_level": 0,
            "study_progress": 0,
            "suspended": False,
            "contracts_settled": 0,
            "contracts_defaulted": 0,
            "disputes_lost": 0,
            "rulings_made": 0,
            "rulings_missed": 0,
            "blocks_won": 0,
            "insights": [],
        }

    # -- what every phase needs ------------------------------------------------------------------

    def move(self, source: str, target: str, amount: int) -> None:
        """Enter a movement of the turn in hand."""
        self.books.move(self.turn, source, target, amount)

    def balance(self, agent_id: str) -> int:
        """Return an agent's liquid balance, which may be negative."""
        return self.books.balance(f"agent:{agent_id}")

    def staked(self, agent_id: str) -> int:
        """Return an agent's locked stake."""
        return self.books.balance(f"stake:{agent_id}")

    def can_pay(self, agent_id: str, amount: int) -> bool:
        """Tell whether an agent can pay: nothing costs nothing, even in debt (rules §2)."""
        return amount == 0 or self.balance(agent_id) >= amount

    def today(self) -> dict[str, Any]:
        """Return the record of the turn in hand, on which conditions of contracts count."""
        return self.history[self.turn]

    def queue(self, agent_id: str, listed: list[dict[str, Any]]) -> None:
        """Take actions that wait for the next turn, after the agent's own submission."""
        self.queued.append((agent_id, listed))

    # -- a turn ----------------------------------------------------------------------------------

    def process(self, body: dict[str, Any]) -> dict[str, Any]:
        """Apply one well-formed turn and return the answer that the engine must give."""
        self.turn += 1
        self.history[self.turn] = {
            "actions": [],
            "speech": [],
            "bids": [],
            "blocks": [],
            "inference_fees": {},
        }
        submissions = body["submissions"]
        billing = self._bill_inference(submissions)
        receipts = actions.run_all(self, submissions, self.queued)
        self.queued = []
        labour.auction_cores(self)
        labour.pay_wages(self)
        made = blocks.run_lotteries(self)
        billing["dividends"] = self._pay_dividends()
        settlement.walk(self)
        self._charge_interest()
        self._tick()
        return {
            "turn": self.turn,
            "receipts": receipts,
            "blocks": made,
            "billing": billing,
            "supply": self.books.supply(),
        }

    def seal(self, turn_hash: str) -> None:
        """Take the hash that the engine gave to the turn just processed."""
        self.turn_hash = turn_hash

    def _bill_inference(self, submissions: list[dict[str, Any]]) -> dict[str, Any]:
        """Charge overuse beyond the commons, even into debt (rules §5)."""
        per_agent = self.config["commons_per_agent"]
        commons = per_agent * len(self.roster)
        used = dict.fromkeys(self.roster, 0)
        for submission in submissions:
            used[submission["agent_id"]] = submission.get("inference", {}).get("output_tokens", 0)
        total = sum(used.values())
        billed = dict.fromkeys(self.roster, 0)
        if total > commons:
            overuse = {who: max(0, tokens - per_agent) for who, tokens in used.items()}
            billed = apportion(total - commons, overuse, self.roster)
        for who in self.roster:
            fee = billed[who] * self.config["inference_price_bps"] // TEN_THOUSAND
            self.today()["inference_fees"][who] = fee
            self.move(f"agent:{who}", "cores", fee)
        return {
            "output_tokens": total,
            "commons": commons,
            "billed_tokens": sum(billed.values()),
            "fees": sum(self.today()["inference_fees"].values()),
        }

    def _pay_dividends(self) -> list[dict[str, Any]]:
        """Share the inference fees among the cores (rules §5)."""
        each = self.books.balance("cores") // len(self.cores)
        paid = []
        for core_id, owner in enumerate(self.cores):
            self.move("cores", f"agent:{owner}" if owner else "destroyed", each)
            if owner:
                paid.append({"core_id": core_id, "owner": owner, "amount": each})
        return paid

    def _charge_interest(self) -> None:
        """Destroy the interest on debt, up to the credit limit (rules §11)."""
        for who in self.roster:
            debt = min(max(0, -self.balance(who)), self.config["credit_limit"])
            product = debt * self.config["debt_interest_bps"]
            interest = product // TEN_THOUSAND + (product % TEN_THOUSAND > 0)
            self.move(f"agent:{who}", "destroyed", interest)

    def _tick(self) -> None:
        """Release stake, expire proposals, then suspend debtors (rules §12)."""
        for who, agent in self.agents.items():
            due = [lot for lot in agent["unbonding"] if lot["release_turn"] <= self.turn]
            self.move(f"unbonding:{who}", f"agent:{who}", sum(lot["amount"] for lot in due))
            agent["unbonding"] = [lot for lot in agent["unbonding"] if lot not in due]
        proposals.expire(self)
        for who, agent in self.agents.items():
            agent["suspended"] = self.balance(who) < -self.config["credit_limit"]
