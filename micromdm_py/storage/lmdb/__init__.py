"""LMDB store: the only folder that imports lmdb."""
