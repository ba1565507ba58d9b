"""Takes the pictures of the console that README.md and docs/ show, over a seeded store.

    python scripts/screenshots.py [NAME …]        # into docs/images/console-NAME.png
    python scripts/screenshots.py run             # the page of the last `make demo-loop`

Needs Chromium (Debian: apt-get install chromium). What is shown is a made-up bank's support; the
gateway, its pages and the engines' answers are real, the engines are stubs.
"""

import io
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.browser.driving import PHONE, Visitor, chromium  # noqa: E402 - the path comes first
from tests.browser.seeding import ROLLOUT  # noqa: E402
from tests.browser.world import seeded_gateway  # noqa: E402

_FOLDER = ROOT / "docs" / "images"
_STORY = ROOT / ".driftgate" / "loop" / "story.html"
_STORY_HEIGHT = 1350  # down to the end of the picture and of what it means
_COLOURS = 256
_MOST_BYTES = 200_000


@dataclass(frozen=True)
class Picture:
    """A page to be taken: where it is, how high, in which colours, on which screen."""

    path: str
    height: int
    scheme: str = "light"
    is_phone: bool = False


PICTURES = {
    "overview": Picture("/", 920),
    "rollout": Picture(f"/rollouts/{ROLLOUT}", 1000, "dark"),
    "drift": Picture("/drift", 860),
    "request": Picture("/traffic/{grounded}", 900),
    "phone": Picture("/", 844, is_phone=True),
}


def main(names: list[str]) -> int:
    """Take the pictures with these names, or all of the console."""
    if names == ["run"]:
        return _take_run()
    unknown = set(names) - set(PICTURES)
    if unknown:
        print(
            f"There is no {', '.join(sorted(unknown))}; there are {', '.join(PICTURES)}; and run."
        )
        return 2
    _FOLDER.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="dg-shots-") as home,
        seeded_gateway(Path(home)) as world,
        chromium() as browser,
    ):
        visitor = Visitor(browser, world, Path(home))
        for name in names or PICTURES:
            size = _take(visitor, name, PICTURES[name])
            print(f"console-{name}.png  {size / 1000:.0f} kB")
            if size > _MOST_BYTES:
                print(f"That is more than {_MOST_BYTES / 1000:.0f} kB.", file=sys.stderr)
                return 1
    return 0


def _take(visitor: Visitor, name: str, picture: Picture) -> int:
    page = visitor.log_in()
    page.emulate_media(color_scheme="dark" if picture.scheme == "dark" else "light")
    width = PHONE["width"] if picture.is_phone else 1280
    page.set_viewport_size({"width": width, "height": picture.height})
    visitor.open(page, picture.path.format(grounded=visitor.world.seeded.day.grounded))
    page.wait_for_load_state("networkidle")
    size = _keep(page.screenshot(), f"console-{name}.png")
    visitor.leave()
    return size


def _take_run() -> int:
    if not _STORY.is_file():
        print(f"There is no {_STORY.relative_to(ROOT)} yet: make demo-loop")
        return 2
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1000, "height": _STORY_HEIGHT})
        page.goto(_STORY.as_uri())
        print(f"loop-run.png  {_keep(page.screenshot(), 'loop-run.png') / 1000:.0f} kB")
    return 0


def _keep(taken: bytes, name: str) -> int:
    """Write a picture with few colours; returns its bytes."""
    picture = Image.open(io.BytesIO(taken)).convert("RGB")
    path = _FOLDER / name
    picture.quantize(_COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    return path.stat().st_size


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
