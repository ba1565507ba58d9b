from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.signing import PublicKey
from gateway.store.certificates import Certificates
from gateway.store.rollouts import Rollout
from tests.training.rollout.world import World
from training.certificate import attempt
from training.rollout.process import Stages, roll_out
from training.rollout.rolling import Rolling


def test_a_promotion_is_certified_before_the_rollout_is_over(world: World, tmp_path: Path) -> None:
    id = world.start()
    states: list[str] = []

    def certify(rollout: Rollout) -> None:
        states.append(world.row().status)
        assert attempt(world.database, tmp_path, rollout.candidate, rollout) is None

    rolling = Rolling(id, replace(world.tools(), certify=certify), Stages())

    def step(name: str, *arguments: Any) -> dict[str, Any]:
        return rolling.end(*arguments) if name == "end" else rolling.do(name)

    roll_out(rolling, step)
    assert states == ["running"]  # one that is killed in between does it again
    assert world.row().status == "promoted"
    found = Certificates(world.database).get("new-1")
    assert found is not None
    told = found.statement["rollout"]
    assert told["status"] == "promoted"
    assert told["evidence"]["canary-50"]["failure"]["promote"] >= 20
    assert told["finished_at"] is not None
    key = PublicKey.load(tmp_path / "signing.pub")
    assert key.verifies(found.statement, found.signature)
