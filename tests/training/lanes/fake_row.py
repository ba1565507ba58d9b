"""The process of a row that does what the row's id says."""

import sys
import time
from pathlib import Path

from training.leash import told

setup = told()
assert setup is not None
folder = Path(setup.home) / "fakes" / setup.id
(folder / f"began-{time.time_ns()}").touch()
if setup.id.startswith("breaks"):
    sys.exit(3)
if setup.id.startswith("ends"):
    (Path(setup.home) / f"{setup.id}.over").touch()
    sys.exit(0)
time.sleep(600)
