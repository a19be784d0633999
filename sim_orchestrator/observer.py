"""What the agents get to see: one look at the world a turn, then each agent's own view."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sim_orchestrator.engine_client import EngineClient, Json
from sim_orchestrator.minds.base import Decision, Observation

HISTORY_TURNS: Final = 5
SPEECH_TURNS: Final = 2
_READS_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class Sight:
    """The public world after a sealed turn, the same for everybody."""

    state: Json
    speech: Sequence[Json]

    @property
    def turn(self) -> int:
        """The last sealed turn; 0 before the first."""
        return int(self.state["turn"])


class Observer:
    """Looks at the world for all agents, and remembers the last few turns.

    Args:
        engine: where to look.
        personas: who each agent is told to be; the keys are the roster.
        config: the world's config.
    """

    def __init__(
        self, engine: EngineClient, personas: Mapping[str, str], config: Mapping[str, int]
    ) -> None:
        self._engine = engine
        self._personas = personas
        self._config = config
        self._history: deque[Json] = deque(maxlen=HISTORY_TURNS)
        self._speech: dict[int, list[Json]] = {}
        self._contents: dict[str, str] = {}
        self._notes: dict[str, str] = {}
        self._last: dict[str, Decision] = {}
        self._receipts: Sequence[Json] = ()
        self._tokens: dict[str, deque[int]] = defaultdict(lambda: deque(maxlen=HISTORY_TURNS))

    def remember(self, agent_id: str, decision: Decision) -> None:
        """Keep what an agent is told next turn: its notes, its mistakes, what its thinking took."""
        self._tokens[agent_id].append(sum(call.output_tokens for call in decision.calls))
        self._last[agent_id] = decision
        if decision.failure is None and decision.calls[-1].attempt:
            self._notes[agent_id] = decision.notes

    async def recall(self, turn: int) -> None:
        """Read again what an interrupted run had seen of the last turns."""
        for earlier in range(max(1, turn - HISTORY_TURNS + 1), turn + 1):
            self.sealed(await self._engine.sealed_turn(earlier))

    def sealed(self, answer: Json) -> None:
        """Add a sealed turn's answer to the history."""
        self._receipts = answer["receipts"]
        self._history.append(history_entry(answer, self._config["core_count"]))

    async def look(self) -> Sight:
        """Read the public world."""
        state = await self._engine.state()
        turn = int(state["turn"])
        recent = range(max(1, turn - SPEECH_TURNS + 1), turn + 1)
        self._speech = {
            each: self._speech[each] if each in self._speech else await self._engine.speech(each)
            for each in recent
        }
        speech = [{"turn": each, **message} for each in recent for message in self._speech[each]]
        await self._read_contents(state["contracts"])
        return Sight(state=state, speech=speech)

    async def observations(self, sight: Sight, agent_ids: Iterable[str]) -> dict[str, Observation]:
        """Read the private views of these agents and put together what each may know."""
        gate = asyncio.Semaphore(_READS_AT_ONCE)
        config = self._config
        history = tuple(self._history)
        income = tuple(entry["core_income"] for entry in history)
        contracts = self._contracts_by_agent(sight.state["contracts"])
        received = self._received()

        async def observe(agent_id: str) -> Observation:
            async with gate:
                agent = await self._engine.agent(agent_id)
            last = self._last.get(agent_id)
            return Observation(
                turn=sight.turn + 1,
                agent_id=agent_id,
                config=config,
                state=sight.state,
                agent=agent,
                speech=sight.speech,
                contracts=contracts.get(agent_id, ()),
                history=history,
                core_income=income,
                output_tokens=tuple(self._tokens[agent_id]),
                received=received.get(agent_id, ()),
                persona=self._personas[agent_id],
                notes=self._notes.get(agent_id, ""),
                dropped=last.dropped if last else (),
                failure=last.own_failure if last else None,
            )

        ids = list(agent_ids)
        return dict(zip(ids, await asyncio.gather(*map(observe, ids)), strict=True))

    def _received(self) -> dict[str, list[Json]]:
        """List the last turn's transfers by recipient; only a run's own agents' memos are known."""
        found: dict[str, list[Json]] = defaultdict(list)
        for receipt in self._receipts:
            sender, index = receipt["agent_id"], receipt["index"]
            actions = self._last[sender].actions if sender in self._last else []
            if receipt["type"] != "transfer" or receipt["status"] != "applied":
                continue
            # Actions that somebody queued at the engine have places behind the submitted ones.
            if index < len(actions) and actions[index]["type"] == "transfer":
                action = actions[index]
                memo = action.get("memo", "")
                found[action["to"]].append(
                    {"from": sender, "amount": action["amount"], "memo": memo}
                )
        return found

    async def _read_contents(self, contracts: Sequence[Json]) -> None:
        """Read the secret of each open information sale once, as the operator may."""
        known, self._contents = self._contents, {}
        for contract in contracts:
            if contract["contract_type"] == "information_sale":
                contract_id = contract["contract_id"]
                if contract_id not in known:
                    full = await self._engine.contract(contract_id)
                    known[contract_id] = full["terms"].get("content", "")
                self._contents[contract_id] = known[contract_id]

    def _contracts_by_agent(self, contracts: Sequence[Json]) -> dict[str, list[Json]]:
        found: dict[str, list[Json]] = defaultdict(list)
        for contract in contracts:
            for agent_id in involved(contract):
                found[agent_id].append(self._as_seen_by(agent_id, contract))
        return found

    def _as_seen_by(self, agent_id: str, contract: Json) -> Json:
        if contract["contract_type"] != "information_sale":
            return contract
        terms = {key: value for key, value in contract["terms"].items() if key != "content"}
        if may_read(agent_id, contract):
            terms["content"] = self._contents[contract["contract_id"]]
        return {**contract, "terms": terms}


def involved(contract: Mapping[str, Any]) -> list[str]:
    """Return the agents that a contract names: its parties, a pool's members, its arbitrator."""
    members = contract["terms"].get("members", ())
    named = (contract["proposer"], contract["counterparty"], *members, contract["arbitrator"])
    return list(dict.fromkeys(name for name in named if name))


def may_read(agent_id: str, contract: Mapping[str, Any]) -> bool:
    """Return whether an agent may read the content of an information sale.  (rules §10)"""
    seller_role = contract["terms"]["seller"]
    if agent_id == contract[seller_role]:
        return True
    if agent_id == contract["arbitrator"]:
        return bool(contract["status"] == "disputed")
    return bool(contract["status"] != "proposed")


def history_entry(answer: Mapping[str, Any], core_count: int) -> Json:
    """Sum a sealed turn's answer up as agents are shown it."""
    billing = answer["billing"]
    dividends = billing["dividends"]
    applied = Counter(
        receipt["type"] for receipt in answer["receipts"] if receipt["status"] == "applied"
    )
    return {
        "turn": answer["turn"],
        "applied": dict(applied),
        "output_tokens": billing["output_tokens"],
        "billed_tokens": billing["billed_tokens"],
        "fees": billing["fees"],
        # Only owned cores are listed; with none the pot is split all the same, for nobody.
        "core_income": dividends[0]["amount"] if dividends else billing["fees"] // core_count,
        "blocks": answer["blocks"],
    }
