"""What the console changes: done once however often it is sent, and told clearly where not."""

import time
from dataclasses import replace

import msgspec
import pytest

from gateway.store.feedback import Feedback, FeedbackLog
from gateway.store.files import Files, StoredFile
from gateway.store.jobs import QUEUED, Job, Jobs
from gateway.store.keys import Keys
from gateway.store.releases import Releases, Target
from gateway.store.retraining import Retraining
from gateway.store.rollouts import PROMOTED, Rollouts
from gateway.store.traffic import Traffic, TrafficRecord
from tests.gateway.console.conftest import Desk, Visit

_RECORD = TrafficRecord(
    "chatcmpl-1", 1.0, "chat", None, "production", "new", None,
    [{"role": "user", "content": "why <i>?"}], None,
    {"choices": [{"message": {"role": "assistant", "content": "<u>so</u>"}}]}, "stop", 3, 4, 0.1,
    0.5, None, None, None, "done", 200, {}, None, None,
)  # fmt: skip


@pytest.fixture
def visit(desk: Desk) -> Visit:
    return desk.log_in()


def _at(desk: Desk, alias: str = "production") -> list[str]:
    return [target.release for target in Releases(desk.database).aliases().get(alias, ())]


def test_a_promotion_sent_twice_moves_once(desk: Desk, visit: Visit) -> None:
    expected = msgspec.json.encode([Target("new", 1.0, "live")]).decode()
    fields = {"alias": "production", "expected": expected, "reason": "better"}
    assert "serves old from now on" in visit.told(visit.post("/releases/old/promote", **fields))
    assert "already" in visit.told(visit.post("/releases/old/promote", **fields))
    assert _at(desk) == ["old"]
    assert Releases(desk.database).moves("production", 1)[0].why == "better"


def test_of_two_promotions_the_second_is_told(desk: Desk, visit: Visit) -> None:
    page = visit.get("/releases/old/promote?alias=production").text
    assert "new" in page
    Releases(desk.database).point(
        "production", [Target("old", 0.5, "live"), Target("new", 0.5, "live")], by="rlt-1"
    )
    expected = msgspec.json.encode([Target("new", 1.0, "live")]).decode()
    answer = visit.post("/releases/old/promote", alias="production", expected=expected)
    assert answer.status_code == 409
    assert "moved by rlt-1 since you looked" in answer.text
    assert _at(desk) == ["new", "old"]


@pytest.mark.parametrize("expected", ["", "{", "[1]", '[{"release": 1}]'])
def test_a_form_that_is_not_whole(desk: Desk, visit: Visit, expected: str) -> None:
    answer = visit.post("/releases/old/promote", alias="production", expected=expected)
    assert answer.status_code in (400, 422)
    assert _at(desk) == ["new"]


def test_a_rollback_sent_twice_goes_back_once(desk: Desk, visit: Visit) -> None:
    fields = {"gone": "new", "reason": "worse"}
    refused = visit.post("/releases/roll-back/production", **fields)
    assert refused.status_code == 409
    assert "No engine of <code>old</code> is ready" in refused.text
    done = visit.post("/releases/roll-back/production", **fields, force="true")
    assert "production serves old again" in visit.told(done)
    again = visit.post("/releases/roll-back/production", **fields, force="true")
    assert "nothing was changed" in visit.told(again)
    assert _at(desk) == ["old"]


def test_a_rollout_is_started_steered_and_over(desk: Desk, visit: Visit) -> None:
    start = {"alias": "production", "candidate": "old", "approval": "human"}
    answer = visit.post("/rollouts", **start)
    assert "on its way" in visit.told(answer)
    second = visit.post("/rollouts", **start)
    assert second.status_code == 409
    assert "is on its way to <code>production</code>" in second.text
    (rollout,) = Rollouts(desk.database).all()
    assert rollout.plan == {"approval": "human"}
    at = f"/rollouts/{rollout.id}"
    assert "pauses" in visit.told(visit.post(f"{at}/pause"))
    assert "goes on" in visit.told(visit.post(f"{at}/resume"))
    assert "You approved" in visit.told(visit.post(f"{at}/approve"))
    assert "nothing was changed" in visit.told(visit.post(f"{at}/approve"))
    assert visit.post(f"{at}/fly").status_code == 404
    Rollouts(desk.database).write(rollout.id, status=PROMOTED)
    late = visit.post(f"{at}/abort")
    assert late.status_code == 409
    assert "promoted" in late.text


def test_a_retraining_is_asked_for_once(desk: Desk, visit: Visit) -> None:
    first = visit.told(visit.post("/drift/retrain", alias="production", reason="<b>look</b>"))
    assert "is asked for" in first
    assert "already" in visit.told(visit.post("/drift/retrain", alias="production"))
    (request,) = Retraining(desk.database).all()
    assert (request.reason, request.source) == ("<b>look</b>", "person")
    assert "&lt;b&gt;look&lt;/b&gt;" in visit.get("/").text
    assert visit.post("/drift/retrain", alias="nope").status_code == 404


def test_feedback_sent_twice_counts_once(desk: Desk, visit: Visit) -> None:
    Traffic(desk.database).add([_RECORD])
    page = visit.get("/traffic/chatcmpl-1").text
    assert "why &lt;i&gt;?" in page
    assert "&lt;u&gt;so&lt;/u&gt;" in page
    fields = {"score": "0", "correction": "Because.\r\nSo.", "made": "1"}
    assert "Noted" in visit.told(visit.post("/traffic/chatcmpl-1/feedback", **fields))
    assert "already" in visit.told(visit.post("/traffic/chatcmpl-1/feedback", **fields))
    (said,) = FeedbackLog(desk.database).of("chatcmpl-1")
    assert (said.score, said.correction) == (0.0, "Because.\nSo.")
    assert said.key_prefix == desk.admin[3:11]
    assert visit.post("/traffic/chatcmpl-1/feedback", made="2").status_code == 400
    assert visit.post("/traffic/chatcmpl-1/feedback", score="7").status_code == 422
    huge = visit.post("/traffic/chatcmpl-1/feedback", correction="x" * 100_001)
    assert huge.status_code == 422


def test_a_dispute_is_settled_by_agreeing_and_withdrawing(desk: Desk, visit: Visit) -> None:
    Traffic(desk.database).add([_RECORD, replace(_RECORD, completion_id="chatcmpl-2")])
    log = FeedbackLog(desk.database)
    for n, (key, words) in enumerate((("aaaaaaaa", "Yes."), ("bbbbbbbb", "No."))):
        log.add(Feedback(f"fb_{n}", f"chatcmpl-{n + 1}", key, 2.0 + n, None, None, words, None, {}))
    page = visit.get("/data").text
    assert page.count("This is right") == 2
    assert "source of its own" in visit.told(visit.post("/data/back", id="fb_0"))
    assert "You said so already" in visit.told(visit.post("/data/back", id="fb_0"))
    assert [f.correction for f in log.of("chatcmpl-1")] == ["Yes.", "Yes."]
    assert "Withdrawn: 1 correction." in visit.told(visit.post("/data/withdraw", ids="fb_1"))
    assert "already" in visit.told(visit.post("/data/withdraw", ids="fb_1"))
    assert "This is right" not in visit.get("/data").text
    assert visit.post("/data/back", id="fb_1").status_code == 404


def test_a_key_is_made_once_limited_and_revoked(desk: Desk, visit: Visit) -> None:
    fields = {"name": "app", "scopes": ["inference"], "tokens_per_day": "1,000"}
    made = visit.post("/keys", **fields)
    assert made.status_code == 200
    text = made.text.partition('id="secret">')[2].partition("<")[0]
    key = next(k for k in Keys(desk.database).all() if k.name == "app")
    assert text.startswith(f"dg-{key.prefix}-")
    assert key.limits.tokens_per_day == 1000
    again = visit.post("/keys", **fields)
    assert again.status_code == 409
    assert "is there already" in again.text
    assert text not in visit.get("/keys").text
    limited = visit.post(f"/keys/{key.prefix}/limits", requests_per_minute="60")
    assert "changed" in visit.told(limited)
    assert visit.post(f"/keys/{key.prefix}/limits", max_concurrency="many").status_code == 400
    assert visit.post(f"/keys/{key.prefix}/limits", max_concurrency="0").status_code == 400
    assert "revoked for good" in visit.told(visit.post(f"/keys/{key.prefix}/revoke"))
    assert "already" in visit.told(visit.post(f"/keys/{key.prefix}/revoke"))
    own = visit.post(f"/keys/{desk.admin[3:11]}/revoke")
    assert own.status_code == 409
    assert visit.post("/keys", name="x", scopes=["root"]).status_code == 400
    assert visit.post("/keys", name=" ", scopes=["view"]).status_code == 400


def test_a_job_that_vanished_is_told(desk: Desk, visit: Visit) -> None:
    answer = visit.get("/jobs/ftjob-gone/live", headers={"hx-request": "true"})
    assert answer.status_code == 404
    assert "not there any more" in answer.text
    assert "<html" not in answer.text


def test_a_job_is_paused_and_cancelled(desk: Desk, visit: Visit) -> None:
    job = Job(
        "ftjob-1", None, time.time(), "production", "old", "file-1", None, {}, 1, None, {}, None,
        {}, None, QUEUED,
    )  # fmt: skip
    Jobs(desk.database).add(job)
    assert "waits for a worker" in visit.get("/jobs/ftjob-1").text
    assert "paused" in visit.told(visit.post("/jobs/ftjob-1/pause"))
    assert "paused already" in visit.told(visit.post("/jobs/ftjob-1/pause"))
    assert "cancelled" in visit.told(visit.post("/jobs/ftjob-1/cancel"))
    assert visit.post("/jobs/ftjob-1/resume").status_code == 409


def test_reports_and_results_are_shown_in_a_sandbox(desk: Desk, visit: Visit) -> None:
    folder = desk.home / "monitoring" / "reports" / "production"
    folder.mkdir(parents=True)
    (folder / "1.html").write_text("<script>1</script>")
    (folder / "secret.txt").write_text("no")
    answer = visit.get("/reports/production/1.html")
    assert answer.text == "<script>1</script>"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts")
    assert "allow-same-origin" not in policy
    assert visit.get("/reports/production/secret.txt").status_code == 404
    for id, purpose, status in (("file-r", "fine-tune-results", 200), ("file-t", "fine-tune", 404)):
        files = Files(desk.database, desk.home / "files")
        partial = files.partial()
        partial.write_text("<script>2</script>")
        files.add(StoredFile(id, None, 1.0, "report.html", purpose, 18, "0" * 64, None), partial)
        answer = visit.get(f"/files/{id}")
        assert answer.status_code == status
        assert ("sandbox" in answer.headers["content-security-policy"]) == (status == 200)


def test_the_playground_asks_in_the_name_of_the_key(desk: Desk, visit: Visit) -> None:
    question = {"model": "production", "messages": [{"role": "user", "content": "why?"}]}
    path = "/console/playground/ask"
    assert visit.client.post(path, json=question).status_code == 403
    headers = {"x-driftgate-form": visit.token}
    answer = visit.client.post(path, json=question | {"documents": "off"}, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["x-driftgate-release"] == "new"
    asked = answer.json()
    assert asked["messages"] == question["messages"]
    assert (asked["stream"], asked["retrieval"]) == (True, {"mode": "off"})
    wrong = visit.client.post(path, json=question | {"n": 5}, headers=headers)
    assert wrong.status_code == 422
    looker = desk.log_in(desk.looker)
    refused = looker.client.post(path, json=question, headers={"x-driftgate-form": looker.token})
    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "insufficient_scope"
    assert len(desk.answers.asked) == 2
