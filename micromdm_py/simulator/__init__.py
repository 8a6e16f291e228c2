"""The simulated device behind `micromdm simulate`, `micromdm demo` and the tests."""
