"""Protocol values and codecs: bytes in, frozen values out; no clock, randomness, network or disk."""
