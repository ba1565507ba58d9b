"""The loop closes by itself: `make demo-loop`. SmolLM2 on two cores.

    python -m examples.loop [--data ../shared/data] [--out .driftgate/loop] [--quick] [--kills N]

A bank's assistant is fine-tuned on some topics and served. Customers keep asking; then new topics
come up. From there on nobody touches anything: the monitor finds it, documents ground the answers,
a job retrains on what customers corrected, gates compare, a canary is promoted. Then two releases
that should not be promoted are tried. Every request is accounted for, and the run is told as one
page, `story.html`. Ends with 1 where anything did not end as it must.
"""

import argparse
import sys
import time
from pathlib import Path

import openai
from rich.console import Console
from rich.text import Text

from examples.loop.run import Run, RunFailed
from examples.loop.settings import FULL, QUICK
from examples.loop.timeline import Moment

_COLOURS = {
    "step": "bold", "health": "bold magenta", "alias": "cyan", "retraining": "bold green",
    "rollout": "green", "job": "dim", "window": "dim", "trouble": "bold red", "kill": "bold red",
}  # fmt: skip

_WANTED = (
    "--data names a folder with banking77/train.csv and banking77/test.csv "
    "(https://github.com/PolyAI-LDN/task-specific-datasets)."
)


def main() -> int:
    """Run it; returns 1 where something did not end as it must."""
    options = _options()
    console = Console(highlight=False)
    began = time.time()

    def show(moment: Moment) -> None:
        minutes = (moment.at - began) / 60
        console.print(Text(f"{minutes:5.1f} min  {moment.text}", _COLOURS.get(moment.kind, "")))

    scenario = QUICK if options.quick else FULL
    try:
        run = Run(scenario, options.data, options.out, show, kills=options.kills)
    except OSError as error:
        console.print(Text(f"✗ {error.filename}: {error.strerror}. {_WANTED}", "bold red"))
        return 2
    try:
        story = run.play()
    except (RunFailed, RuntimeError, OSError, openai.APIError) as error:
        console.print(Text(f"✗ {error}", "bold red"))
        return 1
    for each in story.wrong:
        console.print(Text(f"✗ {each}", "bold red"))
    console.print(Text(f"{story.title}\n{options.out / 'story.html'}", "bold"))
    return 1 if story.wrong else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path(".driftgate/loop"))
    parser.add_argument("--quick", action="store_true", help="smaller: two topics and a new one")
    parser.add_argument(
        "--kills", type=int, default=0, help="processes killed by -9 at random moments"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
