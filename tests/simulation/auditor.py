"""The auditor: compares everything the engine says with books of its own, turn by turn."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from .reference import World
from .reference.shape import is_well_formed
from .reference.views import agent_view, contract_view, readable_information, state_view

BLOCK_FIELDS = ("hash", "kind", "height", "parent_hash", "producer", "status", "reward")
ENDED_MAX = 4  # ended contracts looked at in a turn; the entries show what happened to all
SECRETS_MAX = 5  # the newest sales of information, whose content is looked for each turn
SAMPLE = 7  # of what was checked when it happened, every seventh is checked again at the end
AGENT_ACCOUNTS = ("agent", "stake", "unbonding", "bid")
COMMON_ACCOUNTS = ("fees", "cores", "issuance", "destroyed")
ENTRIES_OF_TURN = (
    "SELECT seq, source, target, amount, reason FROM entries WHERE turn = ? ORDER BY seq"
)


class Port(Protocol):
    """What the auditor needs of an engine."""

    operator_key: str | None

    def post(self, path: str, body: Any, key: str | None = None) -> tuple[int, Any, dict[str, str]]:
        """Send a body; return status, answer and headers."""

    def get(self, path: str, key: str | None = None) -> Any:
        """Return what a key shows of a view; by default the operator's, "" stands for no key."""

    def restart(self) -> None:
        """Stop the engine and start it again on the same file."""

    def rows(self, query: str, *parameters: int | str) -> list[tuple[Any, ...]]:
        """Return rows of the ledger's file."""


class Difference(AssertionError):
    """The engine and the rules disagree; `path` names the value."""

    def __init__(self, path: str, expected: Any, got: Any) -> None:
        super().__init__(f"{path}: the rules say {expected!r}, the engine says {got!r}")
        self.path = path


def compare(path: str, expected: Any, got: Any) -> None:
    """Raise the first difference; what the engine says beyond the expected keys is its own."""
    if expected is None and got is None:
        return
    if isinstance(expected, dict):
        if not isinstance(got, dict):
            raise Difference(path, expected, got)
        for key, value in expected.items():
            compare(f"{path}.{key}", value, got.get(key))
    elif isinstance(expected, list):
        if not isinstance(got, list) or len(expected) != len(got):
            raise Difference(path, expected, got)
        for index, (one, other) in enumerate(zip(expected, got, strict=True)):
            compare(f"{path}[{index}]", one, other)
    elif type(expected) is not type(got) or expected != got:
        raise Difference(path, expected, got)


class Auditor:
    """Follows one world from its first request."""

    def __init__(self, port: Port, init_body: dict[str, Any]) -> None:
        self.port = port
        self.init_body = init_body
        if port.operator_key is not None:
            self.init_body = {**init_body, "agent_keys": True}
        self.agent_keys: dict[str, str] = {}
        self.world = World(init_body, turn_hash="")
        self.attempted = 0
        self.seen: dict[str, Any] = {}
        self.ledger: Counter[str] = Counter()
        self.blocks: list[dict[str, Any]] = []
        self.answers: list[dict[str, Any]] = []

    # -- requests --------------------------------------------------------------------------------

    def start(self) -> None:
        """Create the world and check what it starts with."""
        status, answer, _ = self.port.post("/init", self.init_body)
        if status != 201:
            raise Difference("POST /init status", 201, (status, answer))
        self.agent_keys = answer.pop("agent_keys", {})
        compare("agent_keys", self.port.operator_key is not None, bool(self.agent_keys))
        self.world.seal(answer["turn_hash"])
        expected = {
            "turn": 0,
            "genesis_hash": self.world.tip["hash"],
            "agents": len(self.world.roster),
            "config": self.world.config,
        }
        compare("POST /init", expected, answer)
        status, again, _ = self.port.post("/init", self.init_body)
        compare("POST /init again", [200, answer], [status, again])
        status, again, _ = self.port.post("/init", {**self.init_body, "seed": "another"})
        compare("another POST /init", [409, "world_exists"], [status, again["code"]])
        self.check_entries()
        self.check_state()

    def restart(self) -> None:
        """Restart the engine and check that it still says the same."""
        self.port.restart()
        self.check_state()

    def queue(self, agent_id: str, actions: list[dict[str, Any]]) -> None:
        """Queue actions for an agent's next turn and check that they are taken."""
        body = {"agent_id": agent_id, "actions": actions}
        if self.agent_keys:
            stranger = next(who for who in self.world.roster if who != agent_id)
            status, answer, _ = self.port.post("/actions", body, self.agent_keys[stranger])
            compare("POST /actions for another agent", 403, status)
        status, answer, _ = self.port.post("/actions", body, self.agent_keys.get(agent_id))
        if status != 202:
            raise Difference("POST /actions status", 202, (status, answer))
        self.world.queue(agent_id, actions)

    def turn(self, body: dict[str, Any]) -> dict[str, Any] | None:
        """Submit a turn and check its answer and all that follows; None if it was malformed."""
        self.attempted = self.world.turn + 1
        status, answer, _ = self.port.post("/turn", body)
        if not is_well_formed(body, self.world.agents):
            compare("POST /turn status", 422, status)
            self.check_state()
            return None
        if status != 200:
            raise Difference("POST /turn status", 200, (status, answer))
        expected = self.world.process(body)
        self.blocks += expected["blocks"]
        self.answers.append(answer)
        self.check_answer(expected, answer)
        self.world.seal(answer["turn_hash"])
        self.check_entries()
        self.check_state()
        ended = [
            cid
            for cid, contract in self.world.contracts.items()
            if contract["ended_turn"] == self.world.turn
        ]
        self.check_contracts(ended[:ENDED_MAX])
        self.check_speech()
        who = self.world.roster[self.world.turn % len(self.world.roster)]
        self.check_private(who, answer)
        if self.agent_keys:
            self.check_secrets(who)
        return expected

    def repeat(self, body: dict[str, Any]) -> None:
        """Send the last turn again, with another body, and a turn too far ahead."""
        stored = self.port.get(f"/turns/{self.world.turn}")
        status, answer, headers = self.port.post("/turn", body)
        compare("repeated POST /turn status", 200, status)
        compare("repeated POST /turn", stored, answer)
        compare("Idempotent-Replay", "true", headers.get("idempotent-replay"))
        other = {**body, "submissions": []}
        if body["submissions"]:
            status, answer, _ = self.port.post("/turn", other)
            compare("other body for a sealed turn", [409, "turn_sealed"], [status, answer["code"]])
        status, answer, _ = self.port.post("/turn", {**other, "turn": self.world.turn + 2})
        compare("turn ahead", [409, "turn_out_of_order"], [status, answer["code"]])
        self.check_state()

    # -- checks of one turn ----------------------------------------------------------------------

    def check_answer(self, expected: dict[str, Any], answer: dict[str, Any]) -> None:
        """Compare receipts, blocks (in any order), billing and supply."""
        compare("answer.turn", expected["turn"], answer["turn"])
        compare("answer.receipts", expected["receipts"], answer["receipts"])
        for key in ("billing", "supply"):
            compare(f"answer.{key}", expected[key], answer[key])
        compare_blocks("answer.blocks", expected["blocks"], answer["blocks"])

    def check_entries(self) -> None:
        """Check this turn's entries one by one, and what they add up to."""
        world = self.world
        flows: Counter[tuple[str, str]] = Counter()
        for seq, source, target, amount, reason in self.port.rows(ENTRIES_OF_TURN, world.turn):
            where = f"entries[{world.turn}, {seq}] ({reason})"
            for account in (source, target):
                if not self.is_account(account):
                    raise Difference(f"{where} account", "an account of rules §2", account)
            if source == target or type(amount) is not int or amount <= 0:
                raise Difference(where, "a positive movement", (source, target, amount))
            self.ledger[source] -= amount
            self.ledger[target] += amount
            flows[source, target] += amount
            if self.ledger[source] < 0 and not source.startswith(("agent:", "issuance")):
                raise Difference(f"{where} balance of {source}", ">= 0", self.ledger[source])
        expected = {f"{a} -> {b}": sum_ for (a, b), sum_ in world.books.flows(world.turn).items()}
        got = {f"{a} -> {b}": sum_ for (a, b), sum_ in flows.items()}
        for movement in sorted(expected.keys() | got.keys()):
            compare(f"entries {movement}", expected.get(movement, 0), got.get(movement, 0))
        for account in sorted(self.ledger.keys() | world.books.balances.keys()):
            compare(f"entries {account}", world.books.balance(account), self.ledger[account])
        compare("sum of all accounts", 0, sum(self.ledger.values()))

    def is_account(self, name: str) -> bool:
        """Tell whether an account is one of the table of rules §2."""
        kind, _, owner = name.partition(":")
        if kind == "contract":
            return owner in self.world.contracts
        return name in COMMON_ACCOUNTS or (kind in AGENT_ACCOUNTS and owner in self.world.agents)

    def check_state(self) -> None:
        """Compare `GET /state`: agents, cores, chain, supply, open contracts."""
        expected, got = state_view(self.world), self.port.get("/state")
        self.seen = got
        if self.world.turn == 0:  # no turn's fund has been sealed
            del expected["job_fund"]
        by_id = {contract["contract_id"]: contract for contract in got["contracts"]}
        wanted = [contract["contract_id"] for contract in expected["contracts"]]
        compare("state.contracts (ids)", sorted(wanted), sorted(by_id))
        for contract in expected.pop("contracts"):
            cid = contract["contract_id"]
            compare_contract(f"state.contracts.{cid}", contract, by_id[cid])
            content = by_id[cid]["terms"].get("content")
            compare(f"state.contracts.{cid}.terms.content", None, content)
        for one, other in zip(expected.pop("agents"), got["agents"], strict=True):
            compare_agent(f"state.agents.{one['agent_id']}", one, other)
        compare("state", expected, got)

    def check_contracts(self, ids: Any) -> None:
        """Compare `GET /contract/{id}` for some contracts."""
        for cid in ids:
            got = self.port.get(f"/contract/{cid}")
            compare_contract(f"contract.{cid}", contract_view(self.world, cid), got)

    def check_speech(self) -> None:
        """Compare what was said this turn, in the order of acting."""
        got = self.port.get(f"/speech/{self.world.turn}")
        said = [
            {"agent_id": who, "message": message} for who, message in self.world.today()["speech"]
        ]
        compare("speech", {"turn": self.world.turn, "messages": said}, got)
        order = [message["seq"] for message in got["messages"]]
        compare("speech.seq ascends", sorted(set(order)), order)

    def check_private(self, who: str, answer: Mapping[str, Any] | None = None) -> None:
        """Compare `GET /agent/{id}` with its private part."""
        got = self.port.get(f"/agent/{who}", self.agent_keys.get(who))
        path = f"agent.{who}"
        compare_agent(path, agent_view(self.world, who), got)
        private = got["private"]
        self.check_insights(f"{path}.private.insights", who, private["insights"])
        allowed = readable_information(self.world, who)
        for item in private["information"]:
            compare(
                f"{path}.private.information", allowed.get(item["contract_id"]), item["content"]
            )
        shown = {item["contract_id"] for item in private["information"]}
        bought = {cid for cid in allowed if self.is_bought_by(who, cid)}
        compare(f"{path}.private.information (bought)", [], sorted(bought - shown))
        if answer is not None:
            mine = [receipt for receipt in answer["receipts"] if receipt["agent_id"] == who]
            compare(f"{path}.private.receipts", mine, private["receipts"])

    def check_secrets(self, who: str) -> None:
        """Check that an agent sees the content it may read, that others and strangers do not."""
        allowed = readable_information(self.world, who)
        sales = [
            cid
            for cid, contract in self.world.contracts.items()
            if contract["contract_type"] == "information_sale"
        ]
        for cid in sales[-SECRETS_MAX:]:
            shown = self.port.get(f"/contract/{cid}", self.agent_keys[who])
            compare(f"content of {cid} for {who}", allowed.get(cid), shown["terms"].get("content"))
            shown = self.port.get(f"/contract/{cid}", "")
            compare(f"content of {cid} without a key", None, shown["terms"].get("content"))
        other = next(name for name in self.world.roster if name != who)
        for key in (self.agent_keys[who], ""):
            shown = self.port.get(f"/agent/{other}", key)
            compare(f"private part of {other}", None, shown.get("private"))

    def is_bought_by(self, who: str, cid: str) -> bool:
        """Tell whether an agent is the buyer of information under a contract."""
        contract = self.world.contracts[cid]
        is_party = who in (contract["proposer"], contract["counterparty"])
        return is_party and contract[contract["terms"]["seller"]] != who

    def check_insights(self, path: str, who: str, got: Sequence[Mapping[str, Any]]) -> None:
        """Check that insights are true, were learned then, and none about the future is missing."""
        learned = self.world.agents[who]["insights"]
        for insight in got:
            if dict(insight) not in learned:
                raise Difference(path, "something the agent has learned", insight)
        known = {insight["about_turn"] for insight in got}
        ahead = {i["about_turn"] for i in learned if i["about_turn"] > self.world.turn}
        compare(f"{path} (turns ahead)", sorted(ahead), sorted(known & ahead))

    # -- the whole world -------------------------------------------------------------------------

    def check_everything(self) -> None:
        """Compare every agent and block, some of the past, and the tables that people query."""
        world = self.world
        for who in world.roster:
            self.check_private(who)
        self.check_contracts(list(world.contracts)[::SAMPLE])
        for answer in self.answers[::SAMPLE]:
            compare("stored answer", answer, self.port.get(f"/turns/{answer['turn']}"))
        agents = [
            [who, world.balance(who), world.staked(who), agent["burn_score"], agent["study_level"]]
            for who, agent in sorted(world.agents.items())
        ]
        query = "SELECT agent_id, balance, staked, burn_score, study_level FROM agents"
        compare("table agents", agents, sorted(list(row) for row in self.port.rows(query)))
        cores = [[core_id, owner] for core_id, owner in enumerate(world.cores)]
        query = "SELECT core_id, owner FROM cores ORDER BY core_id"
        compare("table cores", cores, [list(row) for row in self.port.rows(query)])
        contracts = {cid: contract["status"] for cid, contract in world.contracts.items()}
        rows = self.port.rows("SELECT contract_id, status FROM contracts")
        compare("table contracts", [contracts, len(contracts)], [dict(rows), len(rows)])
        query = f"SELECT {', '.join(BLOCK_FIELDS)} FROM blocks WHERE kind != 'genesis'"
        stored = [dict(zip(BLOCK_FIELDS, row, strict=True)) for row in self.port.rows(query)]
        compare_blocks("table blocks", self.blocks, stored)


def compare_blocks(
    path: str, expected: Sequence[Mapping[str, Any]], got: Sequence[Mapping[str, Any]]
) -> None:
    """Compare a turn's blocks whatever their order."""
    by_hash = {block["hash"]: dict(block) for block in got}
    wanted = {block["hash"]: dict(block) for block in expected}
    compare(f"{path} (hashes)", sorted(wanted), sorted(block["hash"] for block in got))
    compare(path, wanted, by_hash)


def compare_agent(path: str, expected: dict[str, Any], got: dict[str, Any]) -> None:
    """Compare an agent; unbonding lots of the same release may be shown as one or several."""
    lots: Counter[int] = Counter()
    for lot in got["unbonding"]:
        lots[lot["release_turn"]] += lot["amount"]
    compare(path, expected, {**got, "unbonding": dict(lots)})
    compare(f"{path}.unbonding", expected["unbonding"], dict(lots))


def compare_contract(path: str, expected: dict[str, Any], got: dict[str, Any]) -> None:
    """Compare a contract; how confirmations, a dispute and a ruling are written is left open."""
    plain = {**expected, "confirmations": sorted(expected["confirmations"])}
    plain["dispute"] = expected["dispute"] is not None
    shown = {**got, "confirmations": sorted(got["confirmations"] or [])}
    shown["dispute"] = got["dispute"] is not None
    if isinstance(got["ruling"], dict):
        shown["ruling"] = got["ruling"]["ruling"]
    compare(path, plain, shown)
    compare(f"{path}.signatures", sorted(expected["signatures"]), sorted(got["signatures"]))
