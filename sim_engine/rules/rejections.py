"""Two kinds of failure: a broken rule is data, a broken invariant is a bug."""

from __future__ import annotations

from sim_engine.types.rejection_codes import RejectionCode


class Rejected(Exception):
    """An action broke a rule: nothing moved, and the agent is told what to do about it.

    ``code`` names the rule; ``message`` is a sentence for the agent with the numbers that decided.
    """

    def __init__(self, code: RejectionCode, message: str) -> None:
        """Name the rule and say what the agent can do."""
        super().__init__(code, message)
        self.code = code
        self.message = message


class InvariantViolation(Exception):
    """Something that can not happen did: the engine must stop, not answer."""
