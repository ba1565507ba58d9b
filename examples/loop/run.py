"""The run, in the order in which it happens. It prepares and watches; the loop closes by itself."""

import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from examples.banking77 import INSTRUCTION
from examples.loop import settings
from examples.loop.accounts import account, read
from examples.loop.kills import Kill, Killer
from examples.loop.measure import Measured, measure
from examples.loop.service import Service
from examples.loop.settings import Scenario
from examples.loop.story import Story
from examples.loop.task import Task, build, reading
from examples.loop.timeline import Moment, Timeline
from examples.serving import serving
from gateway.store.examples import write_jsonl

_ROOT = Path(__file__).parents[2]
_ALIAS = "production"
_READ_S = 3.0  # until every worker of the gateway has read of it


class RunFailed(Exception):
    """The run could not go on."""


class Run:
    """One run.

    Args:
        scenario: How large it is.
        data: Folder with `banking77/`.
        out: Where everything of it is kept; what is there already is deleted.
        show: Called with what happens.
        kills: How many processes are killed by -9 at random moments, from the first customer on
            until the promotion.
    """

    def __init__(
        self,
        scenario: Scenario,
        data: Path,
        out: Path,
        show: Callable[[Moment], None],
        *,
        kills: int = 0,
    ) -> None:
        self._scenario = scenario
        self._out = out.absolute()
        self._show = show
        self._task: Task = build(data, scenario.sizes, seed=7)
        self._measured: list[Measured] = []
        self._wrong: list[str] = []
        self._shifted = 0.0
        self._promoted: float | None = None
        self._kills = kills
        self._killer = Killer(kills, seed=int(time.time()), show=self._tell_kill)

    def play(self) -> Story:
        """Do all of it, and tell it; raises what `playing` raises."""
        with self.playing() as (story, _):
            return story

    @contextlib.contextmanager
    def playing(self) -> Iterator[tuple[Story, Service]]:
        """Do all of it, and tell it; Driftgate serves on while the block runs.

        Raises:
            RunFailed: It could not go on.
            RuntimeError: Driftgate did not start.
            openai.APIError: A request of the run itself failed.
        """
        shutil.rmtree(self._out, ignore_errors=True)
        home = self._out / "home"
        home.mkdir(parents=True)
        own = {**settings.SERVE, **self._scenario.serve}
        with serving(home, own, again=self._kills > 0) as (url, key):
            self._service = Service(home, url, key)
            self._timeline = Timeline(self._service.database_url, self._show)
            self._timeline.start()
            try:
                self._index()
                self._teach()
                self._measure("the first release, before anything has changed")
                self._begin()
                self._shift()
                self._wait_for_promotion()
                if self._scenario.bad_candidates:
                    self._try_bad_candidates()
            finally:
                self._killer.stop()
                self._service.end_customers()
                self._timeline.close()
            story = self._story()
            story.write(self._out)
            yield story, self._service

    def _index(self) -> None:
        """One document for each intent, the new ones too: facts are written down early."""
        self._say("a document for each topic is indexed")
        store = self._service.index(self._task.documents)
        options = [x for name, value in settings.POLICY.items() for x in (f"--{name}", value)]
        options = [x.replace("_", "-") if x.startswith("--") else x for x in options]
        self._command("grounding", "policy", "set", "--alias", _ALIAS, "--store", store, *options)

    def _teach(self) -> None:
        """Fine-tune the first release on the known topics, and serve it."""
        from retrieval.embedder import SentenceTransformerEmbedder

        embedder = SentenceTransformerEmbedder(_ROOT / ".driftgate/models/all-minilm-l6-v2")
        rows = [*self._task.train, *reading(self._task, self._scenario.grounded_rows, embedder)]
        folder = self._out / "rows"
        folder.mkdir()
        write_jsonl(folder / "train.jsonl", rows)
        write_jsonl(folder / "valid.jsonl", list(self._task.valid))
        self._say(f"the first release is trained on {len(self._task.known)} topics")
        release = self._service.fine_tune(
            folder, {**self._scenario.trained(), "evaluation.cases": 8}
        )
        self._wait("an engine of the first release", lambda: self._service.answers(release), 600)
        self._first = release
        self._base = self._service.serving(_ALIAS)
        self._command("alias", "point", _ALIAS, release, "--reason", "the first release")
        self._service.drop("candidate")

    def _begin(self) -> None:
        """Customers come; nothing changes for a while."""
        questions = {
            part: [[row.question, row.answer] for name in names for row in self._task.traffic[name]]
            for part, names in (("known", self._task.known), ("new", self._task.new))
        }
        self._service.begin_customers(
            self._out, self._scenario.users, {"instruction": INSTRUCTION, **questions}
        )
        self._command("loop", "set", _ALIAS, "--file", str(self._loop_file()))
        self._customers(new=0.0, pause_s=settings.BUSY_S)
        self._say("customers ask about the known topics")
        self._killer.start()
        windows = self._scenario.usual_windows + 1
        self._wait("the reference and some usual windows", lambda: self._windows() >= windows, 1200)
        if self._service.health(_ALIAS) != "HEALTHY":
            self._wrong.append("an alarm before anything had changed")

    def _shift(self) -> None:
        """The new topics come up."""
        self._shifted = time.time()
        self._customers(new=self._scenario.new, pause_s=settings.BUSY_S)
        self._say(f"new topics: {self._scenario.new:.0%} of the questions")
        self._wait("the monitor finds it", lambda: self._service.health(_ALIAS) != "HEALTHY", 900)
        # Under WARN documents help where the first topic drifted, from then on with every answer.
        found = ("HEALTHY", "WARN")
        self._service.wait(lambda: self._service.health(_ALIAS) not in found, self._scenario.harm_s)
        time.sleep(_READ_S)
        with self._killer.held():
            self._wait("answers", lambda: self._service.answers(_ALIAS), 300)
            self._measure("the release is stale, documents ground its answers")

    def _wait_for_promotion(self) -> None:
        """Nobody does anything; while it trains, customers ask less, since they share its cores."""
        self._wait("a training begins", lambda: self._is_at("train"), 1500)
        self._customers(new=self._scenario.new, pause_s=settings.CALM_S)
        self._wait("a rollout begins", lambda: self._is_at("roll_out"), 2400)
        self._customers(new=self._scenario.new, pause_s=settings.BUSY_S)
        self._wait("the retraining has ended", self._over, 2400)
        self._killer.stop()
        if len(self._killer.killed) < self._kills:
            self._wrong.append(f"it was over after {len(self._killer.killed)} kills")
        ended = self._service.retrained()
        if ended is None or ended.outcome != "promoted":
            raise RunFailed(f"the retraining ended as {ended and ended.outcome}: {ended}")
        self._wait("answers", lambda: self._service.answers(_ALIAS), 300)
        self._promoted = self._service.promoted_at()
        self._second = self._service.serving(_ALIAS)
        self._measure("the new release")
        before, after = self._measured[0], self._measured[-1]
        if after.new.low <= before.new.high:
            self._wrong.append("the new release is not shown to be better on the new topics")
        if after.known.value < before.known.value - settings.LOOP["margin"]:
            self._wrong.append("the new release is worse on the known topics")

    def _is_at(self, step: str) -> bool:
        """Return whether the retraining is at a step, or over."""
        return self._service.retraining() == step or self._over()

    def _over(self) -> bool:
        """Return whether it has come to an end; one that a kill has spoilt is tried again."""
        ended = self._service.retrained()
        return ended is not None and (ended.outcome == "promoted" or not self._killer.killed)

    def _try_bad_candidates(self) -> None:
        """A release that must not pass the gates, and one that shows in the canary only."""
        for release, name in (
            (self._base, "the base, which was never fine-tuned"),
            (self._first, "the first release, which knows nothing of the new topics"),
        ):
            self._say(f"rolled out by mistake: {name}")
            self._wait("the slot is free", lambda: not self._service.targets("previous"), 300)
            rollout = self._service.roll_out(_ALIAS, release, settings.ROLLOUT)
            self._wait("the rollout has ended", partial(self._service.over, rollout), 1500)
            if self._service.serving(_ALIAS) != self._second:
                self._wrong.append(f"{name} was promoted")

    def _story(self) -> Story:
        lines = read(self._out / "requests.jsonl")
        accounts = account(lines, self._service.database_url)
        if not accounts.beside([kill.at for kill in self._killer.killed]).clean:
            self._wrong.append("not every request was answered whole, by the right release")
        title = "A model went stale, and was replaced by a better one, with nobody watching"
        return Story(
            title=title if not self._wrong else "A run of the loop that did not end as it must",
            began=self._timeline.began,
            shifted=self._shifted,
            promoted=self._promoted,
            moments=self._timeline.moments,
            evidence=self._timeline.evidence,
            threshold=settings.FALSE_ALARM_WINDOWS,
            measured=self._measured,
            kills=len(self._killer.killed),
            requests=lines,
            accounts=accounts,
            rollouts=self._service.rollouts(),
            attribution=self._service.attribution(),
            wrong=self._wrong,
            versions=self._service.versions(),
        )

    def _measure(self, when: str) -> None:
        rows = {
            part: [
                row for name in names for row in self._task.test[name][: self._scenario.test_rows]
            ]
            for part, names in (("known", self._task.known), ("new", self._task.new))
        }
        seen = measure(self._service.url, self._service.key, when, rows)
        self._measured.append(seen)
        told = f"{seen.known.value:.0%} right on known topics, {seen.new.value:.0%} on new ones"
        self._say(f"{when}: {told}")

    def _customers(self, *, new: float, pause_s: float) -> None:
        scene = {"new": new, "feedback": self._scenario.feedback, "pause_s": pause_s}
        path = self._out / "scene.partial"
        path.write_text(json.dumps(scene))
        path.replace(self._out / "scene.json")  # at once: it is read all the time

    def _loop_file(self) -> Path:
        path = self._out / "loop.yaml"
        path.write_text(json.dumps(self._scenario.closed(), indent=1))  # JSON is YAML
        return path

    def _windows(self) -> int:
        return sum(each.release == self._first for each in self._timeline.evidence)

    def _tell_kill(self, kill: Kill) -> None:
        self._timeline.tell(f"kill -9: {kill.part}", "kill", kill.at)

    def _say(self, text: str) -> None:
        self._timeline.tell(text)

    def _command(self, *arguments: str) -> None:
        """Run `driftgate`, as a person would."""
        done = subprocess.run(  # noqa: S603 - our own words
            [sys.executable, "-m", "gateway.cli", *arguments],
            env=self._service.environment(), cwd=_ROOT, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        if done.returncode != 0:
            raise RunFailed(f"driftgate {' '.join(arguments)}: {done.stderr or done.stdout}")

    def _wait(self, what: str, condition: Callable[[], bool], timeout_s: float) -> None:
        if not self._service.wait(condition, timeout_s):
            raise RunFailed(f"not within {timeout_s:.0f} s: {what}")
