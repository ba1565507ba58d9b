"""The steps of a retraining: each writes what it found to the request, and may be done again.

A step returns a dictionary that goes into JSON. With `over` in it, an outcome and its words, the
retraining ends there.
"""

import hashlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.store.database import Database, StoreError
from gateway.store.files import Files, StoredFile
from gateway.store.health import Healths
from gateway.store.jobs import CANCELLED, FAILED, OVER, Job, Jobs
from gateway.store.loops import Loops
from gateway.store.releases import Release, Releases, leading
from gateway.store.retraining import CLOSED, TAKEN, Retraining, RetrainingRequest
from gateway.store.rollouts import ABORTED, PROMOTED, Rollout, Rollouts, RolloutUnderWay
from gateway.store.rollouts import OVER as ROLLED_OUT
from training.data.collecting import trusted
from training.data.manifest import sha256
from training.data.renewal import DECISIVE, HELD_OUT, NEW, TRAIN, renew
from training.gating import OVERRIDE, Gating
from training.leash import Setup, patiently
from training.loop import LoopSettings
from training.retraining import ending
from training.retraining.replay import Places, gather, replay
from training.rules import rules_of, shape_of

Result = dict[str, Any]
_POLL_S = 1.0
_FORCING = frozenset({"person", "schedule"})


class TakenBack(Exception):
    """A person has closed the request: what it started ends too."""


class Steps:
    """The steps of one retraining.

    Args:
        setup: What the process was told.
        poll_s: How often a job and a rollout are looked at, in seconds.
    """

    def __init__(self, setup: Setup, poll_s: float = _POLL_S) -> None:
        self.id, self._poll_s = setup.id, poll_s
        self._home = Path(setup.home)
        self._places = Places(self._home, setup.gateway_url)
        self._database = Database(setup.database_url)
        self._requests, self._releases = Retraining(self._database), Releases(self._database)
        self._jobs, self._rollouts = Jobs(self._database), Rollouts(self._database)
        self._files = Files(self._database, self._home / "files")

    def begin(self) -> Result:
        """Take the request up, and write down what everything after it rests on."""
        request = self._requests.get(self.id)
        if request is None or request.status == CLOSED:
            raise TakenBack
        self._requests.take(self.id)
        serving = leading(self._releases.aliases().get(request.alias, ()))
        if serving is None:
            return over("failed", f"There is no alias `{request.alias}`.")
        settings = LoopSettings.stored(Loops(self._database).get(request.alias))
        healths = Healths(self._database)
        before = healths.settled(request.alias)
        known = healths.get(request.alias)
        if known is None or known.state != "RETRAINING":
            told = {"request": self.id, "before": before.state, "release": serving}
            healths.put(request.alias, "RETRAINING", told)
        return {"alias": request.alias, "serving": serving, "settings": settings.fields()}

    def attribute(self, begun: Result) -> Result:
        """Ask which part is at fault."""
        request, settings = self._note(step="attribute"), LoopSettings.of(begun["settings"])
        serving = self._release(begun["serving"])
        collected = gather(self._database, self._places, request.alias, serving, settings)
        found = replay(
            self._database,
            self._places,
            request.alias,
            serving,
            settings,
            collected,
            purpose=self.id,
            seed=self._seed(),
            harmed=request.source == "act",
            forced=request.source in _FORCING,
        )
        self._note(attribution=found.as_dict())
        if found.verdict == "train":
            return {"verdict": found.verdict}
        short = found.verdict == "neither" and len(collected.new) < settings.least_rows
        return over("put_off" if short else found.verdict, found.reason)

    def curate(self, begun: Result) -> Result:
        """Make the data set, and two files of it."""
        request, settings = self._note(step="curate"), LoopSettings.of(begun["settings"])
        serving = self._release(begun["serving"])
        collected = gather(self._database, self._places, request.alias, serving, settings)
        rules = rules_of(settings, trusted(self._database))
        folder = self._home / "retraining" / self.id / "data"
        made = renew(collected, rules, shape_of(settings, self._seed()), folder)
        self._note(rows=made.new)
        told = f"{made.new} new rows may be learnt from"
        if made.new < settings.least_rows:
            needed = f"{settings.least_rows} are needed; {made.set_aside} were set aside."
            return over("put_off", f"{told}, and {needed}")
        if (exam := made.held_out.get(NEW, 0)) < DECISIVE:
            needed = f"{DECISIVE} are needed to show that a release is better"
            limits = "at most half; see `cases` and `key_share`"
            return over("put_off", f"{told}, {exam} of them may be held out ({limits}): {needed}.")
        files = {name: self._keep(folder / name) for name in (TRAIN, HELD_OUT)}
        return {"files": files, "train": dict(made.train), "held_out": dict(made.held_out)}

    def train(self, begun: Result, curated: Result) -> Result:
        """Have a job train, and wait until it is over."""
        settings, serving = LoopSettings.of(begun["settings"]), self._release(begun["serving"])
        id = self._named("ftjob")
        if self._jobs.get(id) is None:
            self._note(step="train")
            self._jobs.add(self._job(id, begun["alias"], serving, settings, curated["files"]))
        self._note(step="train", job=id)
        job = self._until(lambda: self._jobs.get(id), lambda job: job.status in OVER)
        if job.status == FAILED:
            return over("failed", f"The job {id} failed: {(job.error or {}).get('message')}")
        if job.status == CANCELLED:
            return over("cancelled", f"The job {id} was cancelled.")
        return {"release": job.fine_tuned_model}

    def gate(self, trained: Result) -> Result:
        """Let only a release go on whose evaluation has passed every gate."""
        self._note(step="gate")
        summary = self._release(trained["release"]).evaluation or {}
        verdict = summary.get("verdict")
        if verdict == "PASS":
            return {"verdict": verdict}
        open_gates = [
            f"{gate['name']} {gate['verdict']}: {gate['reason']}"
            for gate in summary.get("gates", ())
            if gate["verdict"] != "PASS"
        ]
        told = "; ".join(open_gates) or "its evaluation says no more"
        return over("rejected", f"{trained['release']} may not be served ({verdict}). {told}")

    def roll_out(self, begun: Result, trained: Result) -> Result:
        """Have it rolled out, and wait until that is over."""
        settings, id = LoopSettings.of(begun["settings"]), self._named("rlt")
        wanted = Rollout(
            id,
            begun["alias"],
            trained["release"],
            begun["serving"],
            settings.plan().fields(),
            request=self.id,
            job=self._named("ftjob"),
        )
        self._note(step="roll_out")
        while self._rollouts.get(id) is None:
            serving = leading(self._releases.aliases().get(begun["alias"], ()))
            if serving != begun["serving"]:
                told = f"`{begun['alias']}` serves {serving} by now, not {begun['serving']}."
                return over("cancelled", told)
            try:
                self._rollouts.add(wanted)
            except RolloutUnderWay:
                self._pause()
        self._note(step="roll_out", rollout=id)
        rollout = self._until(lambda: self._rollouts.get(id), lambda r: r.status in ROLLED_OUT)
        if rollout.status == PROMOTED:
            return over("promoted", f"`{begun['alias']}` serves {trained['release']}.")
        ended = "cancelled" if rollout.status == ABORTED else "rolled_back"
        return over(ended, rollout.reason or f"The rollout {id} was {ended}.")

    def settle(self, end: Result) -> Result:
        """Close the request, and put the health back."""
        ending.settle(self._database, self.id, end["outcome"], end["told"])
        return {}

    def take_back(self) -> None:
        """End what the request has started; a person closed it."""
        ending.take_back(self._database, self.id)

    def _job(
        self, id: str, alias: str, serving: Release, settings: LoopSettings, files: dict[str, str]
    ) -> Job:
        base = serving.base_release if settings.train_from == "base" else None
        gates = settings.gates
        gating = Gating(
            baseline=serving.id,
            superior_on=(NEW,),
            margin=settings.margin,
            margins=settings.margins,
            cases=settings.cases,
            suites=gates.capability,
            truth=gates.hallucination,
            latency_p95_s=gates.latency_p95_s,
            required=("integrity", *gates.required()),
        )
        return Job(
            id=id,
            key_prefix=None,
            created_at=time.time(),
            model=alias,
            base_release=base or serving.id,
            training_file=files[TRAIN],
            validation_file=files[HELD_OUT],
            hyperparameters={},
            seed=self._seed(),
            suffix=None,
            metadata={"retraining": self.id, "alias": alias},
            recipe=settings.recipe,
            overrides={**settings.overrides, OVERRIDE: gating.as_dict()},
            # The rollout points the alias `candidate` at it, once the gates have let it go on.
            alias=None,
        )

    def _keep(self, path: Path) -> str:
        """Keep a file for the job; the same each time, so that nothing is kept twice."""
        id = f"file-{_hashed(f'{self.id}/{path.name}')}"
        if self._files.get(id) is None:
            partial = self._files.partial()
            shutil.copyfile(path, partial)
            partial.chmod(0o600)
            lines = sum(1 for _ in path.open("rb"))
            self._files.add(
                StoredFile(
                    id, None, time.time(), f"{self.id}-{path.name}", "fine-tune",
                    path.stat().st_size, sha256(path), lines,
                ),
                partial,
            )  # fmt: skip
        return id

    def _note(self, **values: Any) -> RetrainingRequest:
        """Write to the request; TakenBack where a person has closed it."""
        self._requests.note(self.id, **values)
        request = self._requests.get(self.id)
        if request is None or request.status != TAKEN:
            raise TakenBack
        return request

    def _until(self, read: Callable[[], Any], is_over: Callable[[Any], bool]) -> Any:
        """Wait for a row to be over; TakenBack where a person has closed the request."""
        while True:
            try:
                row = read()
                if row is None or is_over(row):
                    return row
            except StoreError as error:
                print(f"the store is away: {error}", flush=True)
            self._pause()

    def _pause(self) -> None:
        time.sleep(self._poll_s)
        patiently(self._note)

    def _release(self, id: str) -> Release:
        release = self._releases.get(id)
        if release is None:
            raise KeyError(f"there is no release {id}")
        return release

    def _named(self, kind: str) -> str:
        return f"{kind}-{_hashed(self.id)}"

    def _seed(self) -> int:
        return int(_hashed(self.id)[:8], 16) & 0x7FFFFFFF


def over(outcome: str, told: str) -> Result:
    """Return what ends a retraining."""
    return {"over": {"outcome": outcome, "told": told}}


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]
