"""Apple's device assignment service (DEP): tokens, sessions, calls, answers and faults, without a network.

Source: Apple, "Device Assignment"; MicroMDM's `dep` for what its clients see.
"""
