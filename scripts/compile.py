"""`make compile`: builds the hot path of the gateway with mypyc, where there is a C compiler.

Instant where the build of the present sources is there already. Without a compiler it says so and
leaves the gateway to the interpreter, which costs speed and nothing else.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
os.environ["DRIFTGATE_COMPILED"] = "0"

from gateway.compiled import MODULES, build_folder  # noqa: E402 - the path comes first

_SETUP = """
from mypyc.build import mypycify
from setuptools import setup

setup(
    name="driftgate-compiled",
    packages=[],
    ext_modules=mypycify(
        ["--ignore-missing-imports", "--follow-imports=silent", {files}],
        opt_level="3",
        group_name="driftgate",
    ),
)
"""


def main() -> int:
    """Build, unless it is built."""
    folder = build_folder()
    if (folder / "complete").exists():
        return 0
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(os.environ.get("CC", compiler)) is None:
        print(
            f"No C compiler (`{compiler}`): the gateway runs interpreted, with about 60 % of the "
            "requests per second. Debian: apt-get install gcc."
        )
        return 0
    print("Compiling the hot path, about 40 s …", flush=True)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        shutil.copytree(ROOT / "gateway", work / "gateway")
        shutil.copytree(ROOT / "retrieval", work / "retrieval")
        files = ", ".join(f'"gateway/{module}.py"' for module in MODULES)
        (work / "setup.py").write_text(_SETUP.format(files=files))
        done = subprocess.run(
            [sys.executable, "setup.py", "build_ext", "--build-lib", "built"],
            cwd=work, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            print(done.stdout[-3000:] + done.stderr[-3000:], file=sys.stderr)
            return 1
        builds = sorted(folder.parent.glob("*"), key=lambda build: build.stat().st_mtime)
        for old in builds[:-3]:
            shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(work / "built", folder)
        (folder / "complete").touch()
    return 0


if __name__ == "__main__":
    sys.exit(main())
