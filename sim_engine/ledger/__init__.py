"""The ledger: a world's whole history and its newest state in one SQLite file.

SQLite is the log and the snapshot; the authority while the engine runs is the world in memory,
which is loaded from here and never knows more than what is committed here.
"""
