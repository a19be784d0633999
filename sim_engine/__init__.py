"""sim_engine: the authoritative world of a token economy for LLM agents, on a SQLite ledger."""

__version__ = "0.1.0"

PROTOCOL_VERSION = 1
"""Version of the rules and of the HTTP contract; it changes when either does."""
