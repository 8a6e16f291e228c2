"""The store in dicts: the model that other backends are tested against, and the store of fast tests."""
