"""Programs of others that tests start."""

import os
import shutil

import pytest


def installed(name: str, package: str) -> str:
    """Return a program's path; without it the test is skipped, in CI it fails."""
    found = shutil.which(name)
    if found is None:
        reason = f"{name} is not installed (Debian: apt-get install {package})"
        if "CI" in os.environ:
            pytest.fail(reason)
        pytest.skip(reason)
    return found
