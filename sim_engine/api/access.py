"""Who asks, and what they may do: the operator's key, agents' keys, and engines without keys."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from fastapi import Request
from starlette.datastructures import Headers

from sim_engine.api.problems import Problem
from sim_engine.settings import Settings, is_loopback

# Names that no public domain can have, so that no foreign web page can come from one of them.
_PRIVATE_SUFFIXES: Final = (".localhost", ".local", ".internal", ".home.arpa", ".lan", ".test")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request, by the key that it showed."""

    kind: Literal["operator", "agent", "public"]
    agent_id: str | None = None

    @property
    def is_operator(self) -> bool:
        """Tell whether the caller may do everything."""
        return self.kind == "operator"

    def may_read_privately(self, agent_id: str) -> bool:
        """Tell whether the caller may see what is private to the agent: the agent itself may."""
        return self.is_operator or self.agent_id == agent_id


OPERATOR: Final = Caller("operator")
PUBLIC: Final = Caller("public")


class Access:
    """Tells who a caller is.

    Args:
        settings: the operator's key, or none for an engine that is open to whoever reaches it.
        agent_of_key: returns the agent of a key, or None.
    """

    def __init__(self, settings: Settings, agent_of_key: Callable[[str], str | None]) -> None:
        self._settings = settings
        self._operator_digest = (
            None if settings.operator_key is None else _digest(settings.operator_key)
        )
        self._agent_of_key = agent_of_key

    def identify(self, headers: Headers) -> Caller:
        """Return the caller.  Raises Problem ``invalid_key`` for a key that is nobody's."""
        if self._operator_digest is None:
            return OPERATOR
        shown = headers.get("authorization")
        if shown is None:
            return PUBLIC
        scheme, _, key = shown.partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer" or not key:
            raise Problem("invalid_key")
        # Digests are of one length, so that not even the length of the key shows in the time.
        if hmac.compare_digest(_digest(key), self._operator_digest):
            return OPERATOR
        agent_id = self._agent_of_key(key)
        if agent_id is None:
            raise Problem("invalid_key")
        return Caller("agent", agent_id)

    def check_origin(self, scope: Mapping[str, Any], headers: Headers) -> None:
        """Refuse what an engine without keys must not answer.

        Whoever reaches such an engine may do everything, so being reached is what has to be
        guarded: on its own machine, a browser may carry requests of any web page to it.

        Raises:
            Problem: ``exposed`` if the connection came in on an address that others can reach;
                ``foreign_page`` if a web page of another site sent the request.
        """
        if not self._settings.is_open or self._settings.allow_open:
            return
        if _is_address(own := (scope.get("server") or ("",))[0]) and not is_loopback(own):
            raise Problem("exposed")
        host = headers.get("host", "")
        origin = headers.get("origin")
        try:
            same_site = origin is None or urlsplit(origin).netloc == host
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:  # brackets of an IPv6 address that do not match
            raise Problem("foreign_page") from None
        if not same_site or not _is_private(name):
            raise Problem("foreign_page")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_private(name: str) -> bool:
    return "." not in name or _is_address(name) or name.endswith(_PRIVATE_SUFFIXES)


def caller_of(request: Request) -> Caller:
    """Return who sent a request that has passed the gate."""
    caller: Caller = request.scope["state"]["caller"]
    return caller


async def operator_only(request: Request) -> None:
    """Let only the operator pass."""
    caller = caller_of(request)
    if caller.kind == "public":
        raise Problem("key_required")
    if not caller.is_operator:
        raise Problem("forbidden")


async def any_key(request: Request) -> None:
    """Let the operator and agents pass."""
    if caller_of(request).kind == "public":
        raise Problem("key_required")
