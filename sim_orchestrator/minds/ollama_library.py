"""The official client of Ollama, imported whatever ``OLLAMA_HOST`` is.

The library makes a client of its own when it is imported, for the one address that it takes
``OLLAMA_HOST`` to be, and fails if it is none. Here several hosts may stand there with commas, and
a wrong one is to be named in a sentence.
"""

from __future__ import annotations

import os

_hosts = os.environ.pop("OLLAMA_HOST", None)
try:
    import ollama
finally:
    if _hosts is not None:
        os.environ["OLLAMA_HOST"] = _hosts

__all__ = ["ollama"]
