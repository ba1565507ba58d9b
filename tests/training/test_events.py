from pathlib import Path

from training.events import EventLog, Follower, read


def test_a_follower_hears_each_event_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log, follower = EventLog(path), Follower(path)
    assert list(follower.new()) == []
    log.add("step", 1, 10, loss=2.0)
    assert [(e.step, e.loss) for e in follower.new()] == [(1, 2.0)]
    assert list(follower.new()) == []
    log.add("eval", 1, 10, eval_loss=1.5)
    assert [e.eval_loss for e in follower.new()] == [1.5]


def test_a_line_that_is_being_written_is_read_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    EventLog(path).add("step", 1, 10, loss=2.0)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:20])
    follower = Follower(path)
    assert len(list(follower.new())) == 1
    path.write_bytes(whole + whole)
    assert len(list(follower.new())) == 1


def test_a_resumed_run_drops_what_it_will_do_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = EventLog(path)
    for step in (1, 2, 3):
        log.add("step", step, 10, loss=1.0 / step)
    with path.open("ab") as file:
        file.write(b'{"kind": "st')  # a crash in mid-line
    follower = Follower(path, skip=True)
    log.rewind(2)
    assert [event.step for event in read(path)] == [1, 2]
    assert list(follower.new()) == []
    log.add("step", 3, 10, loss=0.3)
    assert [event.loss for event in follower.new()] == [0.3]
