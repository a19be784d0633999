"""The engine: one world in memory, its ledger on disk, and one lock between the two.

Authoritative state lives in memory; the ledger is its log and its snapshot. A turn is processed in
memory and committed in one transaction; if anything fails between the two, memory is thrown away
and read again from the ledger, so that it never knows more than the disk.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson
from sqlalchemy.exc import DBAPIError, NoResultFound

from sim_engine import PROTOCOL_VERSION
from sim_engine.collector import settle_garbage_collector
from sim_engine.errors import (
    Halted,
    KeyReused,
    Malformed,
    NotAllowed,
    StorageFailed,
    TurnOutOfOrder,
    TurnSealed,
    WorldExists,
)
from sim_engine.evidence import write_evidence
from sim_engine.intake import parse, take_in
from sim_engine.ledger import queries, rows, tables
from sim_engine.ledger.file import LedgerUnavailable, using, what_is_wrong
from sim_engine.ledger.journal import Intake, write_up, write_up_genesis
from sim_engine.ledger.store import Store
from sim_engine.observation import Observer, config_view
from sim_engine.pending import PendingPool
from sim_engine.rules.genesis import create_world
from sim_engine.rules.rejections import InvariantViolation
from sim_engine.rules.state import World
from sim_engine.rules.turn import process
from sim_engine.types.fields import MAX_AMOUNT
from sim_engine.types.requests import (
    INIT_ADAPTER,
    QUEUE_ADAPTER,
    TURN_ADAPTER,
    InitRequest,
    NewAgent,
    TurnRequest,
)

UNREADABLE: Final = (DBAPIError, InvariantViolation, NoResultFound)
"""What comes of reading a ledger whose rows no engine has written."""

TURN_COLUMNS: Final = tuple(tables.turns.columns.keys())

KEY_INDEX_BYTES: Final = 8
"""How much of a key's hash finds it; all of it is then compared."""

KEY_BYTES: Final = 32
"""Entropy of an agent's key and of a seed that nobody chose, in bytes."""


@dataclass(slots=True)
class InitAnswer:
    """The answer to ``/init``: whether the world is new, and the JSON."""

    created: bool
    content: bytes


@dataclass(slots=True)
class TurnAnswer:
    """The answer to ``/turn``: the JSON, whether it was given before, and numbers for the log."""

    content: bytes
    replayed: bool
    summary: dict[str, int]


@dataclass(slots=True)
class QueueAnswer:
    """The answer to ``/actions``: the JSON, and whether it was given before."""

    content: bytes
    replayed: bool


class Engine(Observer):
    """One world behind one lock. Methods may be called from several threads."""

    def __init__(self, store: Store, *, own_process: bool = False) -> None:
        """Take over an open ledger; use ``Engine.open``."""
        super().__init__(store)
        self.halted: str | None = None
        self._pool = PendingPool(store.connection)
        self._keys: dict[bytes, tuple[bytes, str]] = {}
        self._own_process = own_process
        if store.has_world():
            self._load_again()

    @classmethod
    def open(cls, db_path: Path, *, own_process: bool = False) -> Engine:
        """Open the world of a ledger file, or an empty file for a new one.

        ``own_process`` says that this process has no other job, so that the garbage collector may
        be tuned for a world that lives as long as the process. Raises DatabaseInUse if another
        engine has the file open, ForeignDatabase if it is not ours to write, LedgerUnavailable if
        the machine does not let it be written.
        """
        with using(db_path):
            return cls(Store(db_path), own_process=own_process)

    def close(self) -> None:
        """Wait for the turn in hand, then close the ledger."""
        with self._lock:
            self._store.close()

    def init(self, body: bytes) -> InitAnswer:
        """Create the world.  (rules §3)

        Raises Malformed, StorageFailed, or WorldExists for another world than the one that exists.
        """
        _, request = parse(body, INIT_ADAPTER)
        balances = _balances(request)
        request_hash = _init_hash(request, balances)
        with self._lock:
            with self._storage():
                self._store.require_files()
            if self._world is not None:
                if self._store_config()["init_request_hash"] != request_hash:
                    raise WorldExists(
                        "this engine has another world; start an engine on another DB_PATH"
                    )
                return InitAnswer(created=False, content=self._init_answer({}))
            self._require_running()
            keys = self._create(request, balances, request_hash)
            return InitAnswer(created=True, content=self._init_answer(keys))

    def submit_turn(self, body: bytes, idempotency_key: str | None = None) -> TurnAnswer:
        """Process the next turn, or answer again for the one that this request sealed.  (rules §4)

        Raises Malformed, TurnSealed, TurnOutOfOrder, KeyReused, Halted or StorageFailed; the world
        is then unchanged.
        """
        value, request = parse(body, TURN_ADAPTER)
        with self._lock:
            world = self._require_world()
            intake = take_in(world, value, request, self._pool.waiting)
            with self._storage("this turn"):
                self._store.require_files()
                sealed = self._sealed_before(world, request, intake, idempotency_key)
            if sealed is not None:
                return TurnAnswer(self.stored_turn(sealed), replayed=True, summary={"turn": sealed})
            self._require_running()
            return self._process(world, value, intake, idempotency_key)

    def enqueue(
        self, body: bytes, *, only_agent: str | None = None, idempotency_key: str | None = None
    ) -> QueueAnswer:
        """Queue an agent's actions for the next turn; a caller may be held to ``only_agent``.

        Raises Malformed, NotFound, NotAllowed, QueueFull, KeyReused, Halted or StorageFailed.
        """
        value, request = parse(body, QUEUE_ADAPTER)
        if only_agent is not None and request.agent_id != only_agent:
            raise NotAllowed("this key queues actions for its own agent only")
        with self._lock:
            world = self._require_world()
            self._require_running()
            try:
                with self._storage():
                    self._store.require_files()
                    key = request.idempotency_key or idempotency_key
                    queued = self._pool.queue(world, request, value, key)
            except InvariantViolation as violation:
                raise self._halt("this request", violation, value, world) from violation
            answer = {"agent_id": queued.agent_id, "ids": queued.ids, "for_turn": queued.for_turn}
            return QueueAnswer(orjson.dumps(answer), queued.replayed)

    def agent_of_key(self, key: str) -> str | None:
        """Return whose key this is, if anybody's.

        The key is hashed before anything is compared, and the hashes are compared in constant time.
        """
        key_hash = sha256(key.encode()).digest()
        known, agent_id = self._keys.get(key_hash[:KEY_INDEX_BYTES], (b"", ""))
        return agent_id if hmac.compare_digest(known, key_hash) else None

    def _process(
        self, world: World, value: Any, intake: Intake, idempotency_key: str | None
    ) -> TurnAnswer:
        """Process, seal and commit the next turn: all of it, or nothing."""
        try:
            with self._storage("this turn"), self._all_or_nothing():
                turn = process(world, intake.submitted)
                sealed = write_up(turn, intake)
                self._store.commit(sealed, idempotency_key)
        except InvariantViolation as violation:
            raise self._halt("this turn", violation, value, world) from violation
        self._sealed_turn = turn.number
        self._states = {}
        self._pool.clear()
        (row,) = sealed.appended["turns"]
        state = dict(zip(TURN_COLUMNS, row, strict=True))
        answer = queries.answer(state, sealed.appended["actions"], sealed.appended["blocks"])
        rejected = len(turn.outcomes) - turn.outcomes.count(None)
        summary = {
            "turn": turn.number,
            "applied": len(turn.outcomes) - rejected,
            "rejected": rejected,
            "blocks": len(turn.blocks),
            "inference_fees": state["inference_fees"],
        }
        return TurnAnswer(orjson.dumps(answer), replayed=False, summary=summary)

    def _halt(self, what: str, violation: InvariantViolation, value: Any, world: World) -> Halted:
        """Refuse all writes from now on; returns what to answer the request that came upon it."""
        self.halted = str(violation) + self._keep_evidence(str(violation), value, world)
        return Halted(f"nothing of {what} was kept: {self.halted}")

    def _keep_evidence(self, reason: str, value: Any, broken: World) -> str:
        """Write the evidence of a failed turn; returns where it is, or why it is nowhere."""
        try:
            path = write_evidence(self._store.path, reason, value, broken, self._world)
        except OSError as error:
            return f"; its evidence could not be written ({error.strerror})"
        return f"; the evidence is in {path.name}"

    def _sealed_before(
        self,
        world: World,
        request: TurnRequest,
        intake: Intake,
        idempotency_key: str | None,
    ) -> int | None:
        """Return the turn that this very request sealed before; None if it asks for the next.

        The number decides, and the key where there is no number. Raises TurnOutOfOrder, TurnSealed
        and KeyReused.
        """
        next_turn = world.turn + 1
        if request.turn is not None and request.turn > next_turn:
            raise TurnOutOfOrder(f"turn {request.turn} is ahead; the next turn is {next_turn}")
        with self._store.reading() as connection:
            if request.turn is not None and request.turn < next_turn:
                found = queries.request_of_turn(connection, request.turn)
            elif idempotency_key is not None:
                found = queries.request_of_key(connection, idempotency_key)
            else:
                return None
        if found is None:
            return None
        turn, request_hash = found
        if request.turn == next_turn:
            raise KeyReused(f"this idempotency key sealed turn {turn} before; use a new one")
        if request_hash != intake.request_hash():
            raise TurnSealed(
                f"turn {turn} was sealed by another request; GET /turns/{turn} shows it,"
                f" the next turn is {next_turn}"
            )
        return turn

    def _create(
        self, request: InitRequest, balances: dict[str, int], request_hash: str
    ) -> dict[str, str]:
        """Create the world and its keys; returns the keys, which are stored as hashes only."""
        seed = secrets.token_hex(KEY_BYTES) if request.seed is None else request.seed
        config = {**config_view(request.config), "protocol_version": PROTOCOL_VERSION}
        config_rows: list[rows.Row] = [(name, str(number)) for name, number in config.items()]
        config_rows += [("seed", seed), ("init_request_hash", request_hash)]
        config_rows.sort()
        keys: dict[str, str] = {}
        if request.agent_keys:
            keys = {agent_id: secrets.token_urlsafe(KEY_BYTES) for agent_id in balances}
        key_hashes = [(agent_id, sha256(key.encode()).digest()) for agent_id, key in keys.items()]
        world = create_world(seed, balances, request.config)
        with self._storage():
            self._store.create(write_up_genesis(world, config_rows), key_hashes)
        self._load_again()
        return keys

    def _init_answer(self, keys: dict[str, str]) -> bytes:
        """Write the answer to ``/init``, which stays the same for the same request."""
        world = self._require_world()
        with self._store.reading() as connection:
            turn_hash, genesis_hash = queries.genesis(connection)
        answer = {
            "turn": 0,
            "turn_hash": turn_hash,
            "genesis_hash": genesis_hash,
            "agents": len(world.roster),
            "config": config_view(world.config),
        }
        return orjson.dumps({**answer, "agent_keys": keys} if keys else answer)

    def _store_config(self) -> dict[str, str]:
        with self._store.reading():
            return self._store.config()

    def _require_running(self) -> None:
        if self.halted is not None:
            raise Halted(f"writes are refused since an invariant failed: {self.halted}")

    def _require_world(self) -> World:
        if self._world is None:
            self._require_running()
        return super()._require_world()

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Read the world again from the ledger unless the block runs to its end."""
        done = False
        try:
            yield
            done = True
        finally:
            if not done:
                self._load_again()

    @contextmanager
    def _storage(self, what: str = "this request") -> Iterator[None]:
        """Say of a ledger that can not be written that nothing was kept."""
        try:
            yield
        except (DBAPIError, LedgerUnavailable) as error:
            raise StorageFailed(
                f"nothing of {what} was kept ({what_is_wrong(error)}); free the disk or the file"
                " and send the same request again"
            ) from error

    def _load_again(self) -> None:
        """Read world, pool and keys from the ledger; halt if what it says can not be."""
        self._world = None
        self._states = {}
        try:
            world = self._store.load()
            self._pool.load(world)
            self._keys = {
                key_hash[:KEY_INDEX_BYTES]: (key_hash, agent_id)
                for agent_id, key_hash in self._store.agent_keys()
            }
        except UNREADABLE as failure:
            why = what_is_wrong(failure)
            self.halted = f"the ledger could not be read ({why}); `sim-engine verify` says where"
            return
        self._world = world
        self._sealed_turn = world.turn
        if self._own_process:
            settle_garbage_collector()


def _balances(request: InitRequest) -> dict[str, int]:
    """Return the first balances (tokens) in roster order. Raises Malformed if they can not be."""
    balances: dict[str, int] = {}
    for place, new in enumerate(request.agents):
        agent_id = new.agent_id if isinstance(new, NewAgent) else new
        own = new.balance if isinstance(new, NewAgent) else None
        if agent_id in balances:
            said = f"'{agent_id}' is in the roster twice; ids are unique"
            raise Malformed(said, [{"loc": ["agents", place], "message": said}])
        balances[agent_id] = request.config.initial_balance if own is None else own
    total = sum(balances.values())
    if total > MAX_AMOUNT:
        said = f"the balances add up to {total}, the most that can be issued is {MAX_AMOUNT}"
        raise Malformed(said, [{"loc": ["agents"], "message": said}])
    return balances


def _init_hash(request: InitRequest, balances: dict[str, int]) -> str:
    """Hash what an ``/init`` request asks for, so that the same request is known again."""
    asked = [
        request.seed,
        list(balances.items()),
        config_view(request.config),
        request.agent_keys,
    ]
    return sha256(orjson.dumps(asked)).hexdigest()
