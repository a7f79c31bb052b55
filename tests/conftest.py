"""Hypothesis profiles and options that all tests share."""

import os

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("dev", max_examples=30, deadline=None)
settings.register_profile(
    "ci",
    max_examples=100,
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("ci-without-jit", settings.get_profile("ci"), max_examples=25)
WITHOUT_JIT = "-without-jit" if os.environ.get("NUMBA_DISABLE_JIT") == "1" else ""
settings.load_profile(f"ci{WITHOUT_JIT}" if os.environ.get("CI") else "dev")


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files")


@pytest.fixture
def update_golden(request):
    """Whether golden files are to be rewritten instead of compared."""
    return request.config.getoption("--update-golden")
