"""The wire contract of the engine: requests, actions, contract terms, conditions, config.

Everything that crosses HTTP is described here and nowhere else; nothing here knows of HTTP, SQL or
the rules.
"""
