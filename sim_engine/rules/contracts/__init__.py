"""Contracts: three signatures, an escrow, and an end that the rules enforce.  (rules §10)

``lifecycle`` leads a contract from its proposal to its activation or expiry, ``kinds`` says what
each type does on the way, ``attestation`` is the way of those that people settle, ``endings`` pays
out.
"""
