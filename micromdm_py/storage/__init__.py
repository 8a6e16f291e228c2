"""The store behind its interface: `base` states it, `lmdb` and `memory` keep it."""
