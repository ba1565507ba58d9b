"""Builds the dashboards: `python -m grafana.build --write` puts them into `grafana/dashboards`.

Without `--write` it says which files are not as the code would make them, and ends with status 1.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.cost import cost
from grafana.quality import quality
from grafana.rollout import rollout
from grafana.serving import serving

FOLDER = Path(__file__).parent / "dashboards"
DASHBOARDS: tuple[Callable[[], Dashboard], ...] = (serving, quality, rollout, cost)


def texts() -> dict[Path, str]:
    """Return the text of each dashboard's file, by its path."""
    return {
        FOLDER / f"{make.__name__}.json": json.dumps(
            make(), cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False
        )
        + "\n"
        for make in DASHBOARDS
    }


def main() -> int:
    """Write the files, or compare them; returns the exit status."""
    parser = argparse.ArgumentParser(description="Build Grafana's dashboards.")
    parser.add_argument("--write", action="store_true", help="write the files")
    write = parser.parse_args().write
    wrong = 0
    for path, text in texts().items():
        if path.is_file() and path.read_text() == text:
            continue
        if write:
            path.write_text(text)
        else:
            wrong += 1
        print(f"{path.name}: {'written' if write else 'is not what the code makes'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
