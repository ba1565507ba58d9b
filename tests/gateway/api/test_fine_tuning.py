"""`/v1/fine_tuning/jobs` with the official client; what a worker writes is written by hand."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
from openai.types.fine_tuning import FineTuningJob

from gateway.store.job_events import JobEvents, LiveWorker
from gateway.store.jobs import FAILED, ClaimLost, Jobs
from gateway.store.keys import Keys
from gateway.store.releases import Release, Releases, Target
from tests.gateway.running import RunningGateway, wait

_ROW = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'


@pytest.fixture(scope="module")
def client(gateway: RunningGateway) -> Iterator[openai.OpenAI]:
    releases = Releases(gateway.database)
    releases.register(Release("base-1", "base", "r", "/nowhere/base", {}, time.time()))
    releases.register(Release("base-2", "base", "r", "/nowhere/base2", {}, time.time()))
    releases.point("trainable", [Target("base-1", 0.3, "live"), Target("base-2", 0.7, "live")])
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as made:
        wait(lambda: "trainable" in {model.id for model in made.models.list()})
        yield made


@pytest.fixture
def tenant(gateway: RunningGateway, client: openai.OpenAI) -> Iterator[openai.OpenAI]:
    """A client whose key may train and nothing else."""
    _, text = Keys(gateway.database).create("tenant", ["training"])
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=text, max_retries=0) as made:
        with gateway.client(text) as raw:
            wait(lambda: raw.get("/v1/files").status_code == 200)
        yield made


def upload(client: openai.OpenAI, purpose: Any = "fine-tune") -> str:
    return client.files.create(file=("rows.jsonl", _ROW), purpose=purpose).id


def make(client: openai.OpenAI, **fields: Any) -> FineTuningJob:
    fields = {"model": "base-1", "training_file": upload(client)} | fields
    return client.fine_tuning.jobs.create(**fields)


def beside(job: FineTuningJob) -> dict[str, Any]:
    """What Driftgate tells beside OpenAI's fields."""
    assert job.model_extra is not None
    found: dict[str, Any] = job.model_extra["driftgate"]
    return found


def test_a_job_is_made_and_found_again(client: openai.OpenAI) -> None:
    file, valid = upload(client), upload(client, "evals")
    job = client.fine_tuning.jobs.create(
        model="trainable",
        training_file=file,
        validation_file=valid,
        method={
            "type": "supervised",
            "supervised": {"hyperparameters": {"n_epochs": 2, "batch_size": "auto"}},
        },
        seed=7,
        suffix="booking",
        metadata={"team": "é"},
        extra_body={"driftgate": {"recipe": "tiny-cpu", "set": {"max_steps": 3}}},
    )
    assert (job.object, job.status, job.model) == (
        "fine_tuning.job",
        "validating_files",
        "trainable",
    )
    assert (job.training_file, job.validation_file, job.seed) == (file, valid, 7)
    assert job.hyperparameters.n_epochs == 2
    assert job.hyperparameters.batch_size == "auto"
    assert job.method is not None
    assert job.method.supervised is not None
    assert job.metadata == {"team": "é"}
    assert (job.error, job.fine_tuned_model, job.finished_at) == (None, None, None)
    assert beside(job)["base_release"] == "base-2"  # the one with most traffic
    assert beside(job)["set"] == {"max_steps": 3}
    assert beside(job)["alias"] == "candidate"
    assert client.fine_tuning.jobs.retrieve(job.id) == job
    assert job.id in {found.id for found in client.fine_tuning.jobs.list()}
    (event,) = client.fine_tuning.jobs.list_events(job.id)
    assert (event.object, event.level, event.type) == ("fine_tuning.job.event", "info", "message")
    assert job.id in event.message


def test_a_job_without_a_worker_says_so(gateway: RunningGateway, client: openai.OpenAI) -> None:
    job = make(client)
    assert "no worker runs" in beside(job)["note"]
    events = JobEvents(gateway.database)
    events.seen(LiveWorker("w", time.time(), time.time(), "another"))
    assert "1 of 1 are busy" in beside(client.fine_tuning.jobs.retrieve(job.id))["note"]
    events.gone("w")
    while (taken := Jobs(gateway.database).claim("mine")) is not None and taken.id != job.id:
        pass  # those of other tests
    assert beside(client.fine_tuning.jobs.retrieve(job.id))["note"] is None


@pytest.mark.parametrize(
    ("fields", "error", "param"),
    [
        ({"model": "nope"}, openai.NotFoundError, "model"),
        ({"model": "production"}, openai.BadRequestError, "model"),  # a stub without weights
        ({"model": "\x00"}, openai.NotFoundError, "model"),
        ({"training_file": "file-none"}, openai.BadRequestError, "training_file"),
        ({"validation_file": "file-none"}, openai.BadRequestError, "validation_file"),
        ({"hyperparameters": {"n_epochs": 0}}, openai.BadRequestError, "hyperparameters"),
        ({"hyperparameters": {"depth": 2}}, openai.BadRequestError, "hyperparameters"),
        ({"method": {"type": "dpo"}}, openai.BadRequestError, "method"),
        ({"suffix": "a b"}, openai.BadRequestError, "suffix"),
        ({"suffix": "x" * 65}, openai.BadRequestError, "suffix"),
        ({"seed": -1}, openai.BadRequestError, "seed"),
        ({"metadata": {"a": 1}}, openai.BadRequestError, "metadata"),
        ({"metadata": {"a": "\x00"}}, openai.BadRequestError, "metadata"),
        ({"integrations": [{"type": "wandb"}]}, openai.BadRequestError, "integrations"),
        ({"extra_body": {"surprise": 1}}, openai.BadRequestError, "surprise"),
        ({"extra_body": {"driftgate": {"recipe": "../x"}}}, openai.BadRequestError, "driftgate"),
        ({"extra_body": {"driftgate": {"set": {"a": []}}}}, openai.BadRequestError, "driftgate"),
        ({"extra_body": {"driftgate": {"set": {"": 1}}}}, openai.BadRequestError, "driftgate"),
    ],
)
def test_mistakes_are_named(
    client: openai.OpenAI, fields: dict[str, Any], error: type[openai.APIStatusError], param: str
) -> None:
    with pytest.raises(error) as caught:
        make(client, **fields)
    assert (caught.value.param or "").split(".")[0] == param


def test_a_file_of_another_purpose_or_none_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="user_data") as caught:
        make(client, training_file=upload(client, "user_data"))
    assert caught.value.code == "invalid_file_purpose"
    file = upload(client)
    client.files.delete(file)
    with pytest.raises(openai.BadRequestError, match="There is no file"):
        make(client, training_file=file)


def test_tenants_do_not_see_each_other(client: openai.OpenAI, tenant: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        make(tenant, training_file=upload(client))
    assert refused.value.code == "file_not_found"
    theirs, own = make(client), make(tenant)
    jobs = tenant.fine_tuning.jobs
    assert [job.id for job in jobs.list()] == [own.id]
    for call in (
        jobs.retrieve, jobs.cancel, jobs.pause, jobs.resume, jobs.list_events, jobs.checkpoints.list
    ):  # fmt: skip
        with pytest.raises(openai.NotFoundError) as caught:
            call(theirs.id)
        assert caught.value.code == "job_not_found"
    with pytest.raises(openai.BadRequestError, match="go on after"):
        jobs.list(after=theirs.id)
    assert client.fine_tuning.jobs.retrieve(own.id).id == own.id


def test_only_admin_chooses_the_alias(client: openai.OpenAI, tenant: openai.OpenAI) -> None:
    wanted = {"driftgate": {"alias": "production"}}
    with pytest.raises(openai.PermissionDeniedError, match="candidate"):
        make(tenant, extra_body=wanted)
    assert beside(make(client, extra_body=wanted))["alias"] == "production"
    assert beside(make(tenant, extra_body={"driftgate": {"alias": None}}))["alias"] is None


def test_cancel_wins_once_and_stays(gateway: RunningGateway, client: openai.OpenAI) -> None:
    job = make(client)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: client.fine_tuning.jobs.cancel(job.id), range(4)))
    assert {each.status for each in found} == {"cancelled"}
    assert found[0].finished_at is not None
    told = [event.message for event in client.fine_tuning.jobs.list_events(job.id)]
    assert told.count("The job was cancelled.") == 1
    for call in (client.fine_tuning.jobs.resume, client.fine_tuning.jobs.pause):
        with pytest.raises(openai.BadRequestError, match="cancelled"):
            call(job.id)


def test_a_finished_job_cannot_be_cancelled(gateway: RunningGateway, client: openai.OpenAI) -> None:
    job = make(client)
    jobs = Jobs(gateway.database)
    while (taken := jobs.claim("t")) is not None and taken.id != job.id:
        pass
    error = {"code": "x", "message": "it broke", "param": None}
    jobs.finish(job.id, "t", FAILED, error=error)
    found = client.fine_tuning.jobs.retrieve(job.id)
    assert found.error is not None
    assert (found.status, found.error.message) == ("failed", "it broke")
    with pytest.raises(openai.BadRequestError, match="failed"):
        client.fine_tuning.jobs.cancel(job.id)


def test_pause_takes_the_job_from_its_worker(
    gateway: RunningGateway, client: openai.OpenAI
) -> None:
    job = make(client)
    jobs = Jobs(gateway.database)
    while (taken := jobs.claim("t")) is not None and taken.id != job.id:
        pass
    assert str(client.fine_tuning.jobs.pause(job.id).status) == "paused"
    with pytest.raises(ClaimLost):
        jobs.renew(job.id, "t")
    assert client.fine_tuning.jobs.resume(job.id).status == "queued"
    with pytest.raises(openai.BadRequestError, match="not paused"):
        client.fine_tuning.jobs.cancel(job.id)
        client.fine_tuning.jobs.resume(job.id)


def test_the_client_pages_through_all(gateway: RunningGateway, tenant: openai.OpenAI) -> None:
    made = [make(tenant).id for _ in range(3)]
    assert [job.id for job in tenant.fine_tuning.jobs.list(limit=2)] == made[::-1]
    job = made[0]
    jobs, events = Jobs(gateway.database), JobEvents(gateway.database)
    while (taken := jobs.claim("t")) is not None and taken.id != job:
        pass
    for step in range(1, 6):
        events.add(job, f"step {step}", data={"step": step, "train_loss": 1 / step}, claim="t")
        events.add_checkpoint(job, "t", step, f"/c/{step}", {"valid_loss": 1.0})
    told = list(tenant.fine_tuning.jobs.list_events(job, limit=2))
    assert [event.message for event in told][:5] == [f"step {n}" for n in (5, 4, 3, 2, 1)]
    assert told[0].type == "metrics"
    assert told[0].data == {"step": 5, "train_loss": 0.2}
    kept = list(tenant.fine_tuning.jobs.checkpoints.list(job, limit=2))
    assert [checkpoint.step_number for checkpoint in kept] == [5, 4, 3, 2, 1]
    assert kept[0].metrics.valid_loss == 1.0
    assert kept[0].fine_tuning_job_id == job
    with pytest.raises(openai.BadRequestError, match="go on after"):
        tenant.fine_tuning.jobs.list_events(job, after="nope")
    with pytest.raises(openai.BadRequestError, match="go on after"):
        tenant.fine_tuning.jobs.checkpoints.list(job, after="nope")
