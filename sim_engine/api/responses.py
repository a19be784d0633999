"""Answers from bytes that are JSON already."""

from __future__ import annotations

from starlette.responses import Response


def json_answer(content: bytes, status: int = 200, *, replayed: bool = False) -> Response:
    """Answer with JSON for nobody to keep: the next turn changes it, and keys what it shows."""
    headers = {"Cache-Control": "no-store"}
    if replayed:
        headers["Idempotent-Replay"] = "true"
    return Response(content, status, headers, media_type="application/json")
