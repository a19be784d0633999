"""How the engine refuses a request: one family of errors with HTTP status and code."""

from __future__ import annotations

from typing import Any, ClassVar


class RequestError(Exception):
    """A request that is refused, and that left everything as it was.

    ``detail`` tells the caller what to do; ``errors`` names places in the body, for a malformed
    one.
    """

    status: ClassVar[int]
    code: str
    title: ClassVar[str]

    def __init__(self, detail: str, errors: list[dict[str, Any]] | None = None) -> None:
        """Say what is wrong and what to do about it."""
        super().__init__(detail)
        self.detail = detail
        self.errors = errors


class Malformed(RequestError):
    """The body is no request of this kind: nothing of it is applied."""

    status = 422
    code = "malformed"
    title = "The request is malformed"


class WorldExists(RequestError):
    """A different world exists already: nothing is ever overwritten."""

    status = 409
    code = "world_exists"
    title = "A world exists already"


class NoWorld(RequestError):
    """There is no world yet."""

    status = 409
    code = "no_world"
    title = "There is no world yet"


class TurnSealed(RequestError):
    """The turn is sealed, by another request."""

    status = 409
    code = "turn_sealed"
    title = "The turn is sealed"


class TurnOutOfOrder(RequestError):
    """The turn is not the next one."""

    status = 409
    code = "turn_out_of_order"
    title = "The turn is out of order"


class NotAllowed(RequestError):
    """The caller's key does not give this right."""

    status = 403
    code = "forbidden"
    title = "Not allowed"


class QueueFull(RequestError):
    """The agent has as many actions in the pending pool as it may."""

    status = 409
    code = "queue_full"
    title = "The queue is full"


class KeyReused(RequestError):
    """An idempotency key came again with another request."""

    status = 409
    code = "idempotency_key_reused"
    title = "The idempotency key was used for another request"


class NotFound(RequestError):
    """Nothing has the name that was asked for; ``code`` says what kind of thing."""

    status = 404
    title = "Not found"

    def __init__(self, code: str, detail: str) -> None:
        """Name the kind of thing (``unknown_agent``, …) and what was asked for."""
        super().__init__(detail)
        self.code = code


class Halted(RequestError):
    """An invariant failed: reads go on, writes are refused until somebody has looked."""

    status = 503
    code = "halted"
    title = "The engine is halted"


class StorageFailed(RequestError):
    """The ledger could not be written; the world is as it was before the request."""

    status = 503
    code = "storage_failed"
    title = "The ledger could not be written"
