"""The two kinds of failure: what the person at the keyboard can mend, and what a client did."""

from http import HTTPStatus


class LocalModelError(Exception):
    """The local model can not be found, loaded or started; the text says what to do."""


class ApiError(Exception):
    """A request that is answered with `{"error": message}`, as Ollama does.

    Args:
        status: The HTTP status of the answer.
        message: What the client reads.
    """

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
