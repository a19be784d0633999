"""The rules of the economy, and nothing else.

Pure: no clock, no process randomness, no SQL, no HTTP, no logging. Everything here is a function of
the world before a turn and the requests for it, so that two machines fed the same requests reach
the same numbers.
"""
