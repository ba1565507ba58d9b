"""Orders, steps as processes, and registration: what the workflow is made of."""

import dataclasses
import errno
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gateway.store.releases import Releases, Target, release_id
from training import workflow
from training.leash import Setup
from training.order import Order
from training.registration import register
from training.step_process import StepFailed, run_step
from training.workflow import Work

if TYPE_CHECKING:
    from .conftest import Home

_STEPS = "tests.training.fake_steps"


@pytest.fixture
def order(tmp_path: Path) -> Order:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("{}\n{}\n")
    made = Order(
        job="ftjob-1",
        folder=tmp_path / "job",
        base=tmp_path,
        base_release="base-1",
        base_model="base",
        base_revision="r1",
        training_file=rows,
        training_sha256="00",
        validation_file=None,
        recipe=None,
        overrides={},
        hyperparameters={"n_epochs": 2},
        seed=7,
        suffix=None,
        alias="candidate",
        owner="0123abcd",
        models_dir=tmp_path / "models",
    )
    made.save()
    return made


def changed(order: Order, **fields: Any) -> Order:
    new = dataclasses.replace(order, **fields)
    new.save()
    return new


def test_an_order_comes_back_from_its_folder(order: Order) -> None:
    assert Order.load(order.folder) == order
    other = changed(order, validation_file=order.training_file)
    assert Order.load(order.folder) == other


def test_a_step_tells_and_its_result_stays(order: Order) -> None:
    told: list[dict[str, Any]] = []
    assert run_step(_STEPS, "train", order.folder, told.append)["trained_tokens"] == 8
    assert [t["event"]["data"]["step"] for t in told if "event" in t] == [1, 2, 3, 4]
    assert [t["checkpoint"]["step_number"] for t in told if "checkpoint" in t] == [1, 2, 3, 4]
    assert all(t["estimate"] > time.time() - 60 for t in told if "estimate" in t)
    told.clear()
    again = run_step(_STEPS, "train", order.folder, told.append)
    assert (again, told) == (order.finished("train"), [])
    assert (order.folder / "ran.txt").read_text().count("begins") == 1


@pytest.mark.parametrize(
    ("how", "code", "text"),
    [
        ("fail", "invalid_training_file", "line 7"),
        ("crash", "step_failed", "ValueError: nobody foresaw this"),
        ("die", "step_failed", "signal 9"),
    ],
)
def test_a_step_that_fails_says_why(order: Order, how: str, code: str, text: str) -> None:
    order = changed(order, overrides={how: "merge"})
    with pytest.raises(StepFailed, match=text) as caught:
        run_step(_STEPS, "merge", order.folder, lambda _: None)
    assert caught.value.code == code
    assert order.result("merge") is None
    if how == "crash":
        assert "Traceback" in order.log("merge").read_text()


def test_a_module_that_cannot_be_loaded_is_told(order: Order) -> None:
    with pytest.raises(StepFailed, match=r"No module named 'training\.nothing'"):
        run_step("training.nothing", "merge", order.folder, lambda _: None)
    with pytest.raises(RuntimeError, match="has not finished"):
        order.finished("merge")


def _done(order: Order, home: "Home") -> Order:
    """Finish all steps before the registration, in the home's folders."""
    order = changed(order, folder=home.folder / "jobs" / order.job, models_dir=home.folder / "m")
    for step in ("prepare", "train", "merge", "evaluate"):
        run_step(_STEPS, step, order.folder, lambda _: None)
    return order


def test_registration_may_be_done_twice(order: Order, home: "Home") -> None:
    order = _done(order, home)
    first = register(order, home.database, home.files)
    assert register(order, home.database, home.files) == first
    release = Releases(home.database).get(first["fine_tuned_model"])
    assert release is not None
    assert release.id == release_id("base-tuned", {"model.safetensors": f"{7:064x}"})
    assert Path(release.path) == (order.models_dir / release.id).absolute()
    assert (Path(release.path) / "driftgate.json").is_file()
    assert [path.name for path in order.models_dir.iterdir()] == [release.id]
    assert len(first["result_files"]) == len(home.files.page()[0]) == 2
    assert Releases(home.database).aliases() == {
        "candidate": (Target(release.id, 1.0, "live"),),
    }


@pytest.mark.parametrize("killed_after", ["move", "row"])
def test_registration_goes_on_where_it_was_killed(
    order: Order, home: "Home", killed_after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = _done(order, home)
    broken = Releases.register if killed_after == "move" else Releases.point
    with monkeypatch.context() as patch:

        def die(*_: Any) -> None:
            raise KeyboardInterrupt

        patch.setattr(Releases, broken.__name__, die)
        with pytest.raises(KeyboardInterrupt):
            register(order, home.database, home.files)
    done = register(order, home.database, home.files)
    release = Releases(home.database).get(done["fine_tuned_model"])
    assert release is not None
    assert (Path(release.path) / "model.safetensors").is_file()


def test_the_metrics_of_a_step_are_one_row(order: Order, home: "Home") -> None:
    order = _done(order, home)
    for data in ({"step": 1, "loss": 9.0}, {"step": 1, "loss": 2.0}, {"step": 1, "valid": 3.0}):
        home.events.add(order.job, "x", data=data)
    home.events.add(order.job, "no metrics")
    done = register(order, home.database, home.files)
    csv = home.files.path(done["result_files"][0]).read_text().splitlines()
    assert csv == ["step,loss,valid", "1,2.0,3.0"]


def test_without_an_alias_nothing_is_pointed(order: Order, home: "Home") -> None:
    register(_done(changed(order, alias=None), home), home.database, home.files)
    assert Releases(home.database).aliases() == {}


def _work(home: "Home", job: str, claim: str = "t") -> Work:
    models = str(home.folder / "models")
    folder = str(home.folder)
    return Work(Setup(job, claim, home.url, "", folder, models, _STEPS, 0))


def test_the_order_step_links_the_files_and_survives_their_deletion(home: "Home") -> None:
    job = home.order()
    home.jobs.claim("t")
    (home.folder / "jobs" / job.id).mkdir(parents=True)
    _work(home, job.id).do("order", "validating_files", "validating_files")
    order = Order.load(home.folder / "jobs" / job.id)
    home.files.delete(job.training_file)
    assert order.training_file.read_bytes().count(b"\n") == 2
    assert order.training_file.suffix == ".jsonl"
    found = home.job(job.id)
    assert (found.status, found.step, found.attempts) == ("validating_files", "order", 0)


def test_a_full_disk_is_named(home: "Home", monkeypatch: pytest.MonkeyPatch) -> None:
    job = home.order()
    home.jobs.claim("t")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Order, "save", full)
    (home.folder / "jobs" / job.id).mkdir(parents=True)
    with pytest.raises(StepFailed, match="No space left") as caught:
        _work(home, job.id).do("order", "validating_files", "validating_files")
    assert caught.value.code == "disk_full"


def test_whoever_lost_the_claim_ends_itself(home: "Home", monkeypatch: pytest.MonkeyPatch) -> None:
    job = home.order()
    home.jobs.claim("another")
    ended: list[str] = []

    def end() -> None:
        ended.append("now")
        raise SystemExit

    monkeypatch.setattr(workflow, "end_group", end)
    work = _work(home, job.id)
    for call in (lambda: work.tell("x"), lambda: work.do("order", "running", "running")):
        with pytest.raises(SystemExit):
            call()
    assert len(ended) == 2
    assert home.told(job.id) == []
