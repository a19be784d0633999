"""The fifteen actions: one handler each, in families.  (rules §6)

A handler has two labelled parts. CHECK rejects the action for the first rule that it breaks and
moves nothing; after EFFECT nothing can fail.
"""
