"""For all tests: no setting of the caller's shell counts, and no test depends on speed."""

import os

from hypothesis import settings

for name in [name for name in os.environ if name.startswith("MICROMDM_") or name == "DM"]:
    del os.environ[name]

settings.register_profile("micromdm", deadline=None)
settings.load_profile("micromdm")
