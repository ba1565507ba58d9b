"""What a merge decides and leaves, with a stand-in for the processes that build one."""

import json
import math
import threading
import time
from pathlib import Path

import pytest
import yaml

from training import lineage, merge, recipe, run_folder
from training.candidate import Order
from training.merge import MergeError
from training.run_folder import RunError, RunFolder, digests, exclusive, read_json, write_json

_NAN = math.nan


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return _run(tmp_path / "run", "qlora-7b")


def _run(path: Path, name: str) -> RunFolder:
    base = path.parent / "base"
    base.mkdir(exist_ok=True)
    (base / "model.safetensors").write_bytes(b"base")
    (base / "tokenizer.json").write_text("{}")
    rows = path.parent / "valid.jsonl"
    rows.write_text("{}\n")
    folder = RunFolder(path)
    folder.adapter.mkdir(parents=True)
    (folder.adapter / "adapter_model.safetensors").write_bytes(b"adapter")
    folder.recipe.write_text(recipe.load(name).as_yaml())
    write_json(folder.config, {"base": str(base), "data": str(rows), "eval": str(rows)})
    write_json(folder.versions, {"torch": "2"})
    part = {"path": str(rows), "sha256": "ab", "rows": 3, "tokens": 9}
    described = {"path": str(base), "digests": digests(base)}
    write_json(
        folder.manifest, {"base": described, "train": part, "eval": part, "data_manifest": None}
    )
    numbers = {"loss": 0.5, "first_eval_loss": 2.0, "eval_loss": 0.4, "tokens_per_s": 10.0}
    write_json(
        folder.result,
        {
            **{"run": "", "adapter": "", "steps": 8, "total": 9, "best_step": 8, "seconds": 1.0},
            **numbers,
            **{"memory": 1, "warnings": []},
        },
    )
    return folder


class _Processes:
    """Stands in for the processes: writes what they write, with the divergences it is given."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        kl: dict[str, float],
        agreement: float = 1.0,
        computed: str = "float32",
    ) -> None:
        self.started: list[str] = []
        self._kl = kl
        self._agreement = agreement
        self._computed = computed
        monkeypatch.setattr(merge._Builder, "_process", self._process)

    def _process(self, task: str, order: Order) -> None:
        if task == "reference":
            self.started.append("reference")
            Path(order.reference).write_bytes(b"probe")
            return
        name = f"{order.kind}-{order.precision}"
        self.started.append(name)
        folder = Path(order.folder)
        folder.mkdir()
        (folder / "model.safetensors").write_text(name)
        (folder / "config.json").write_text("{}")
        (folder / "tokenizer.json").write_text("{}")
        figures = {
            "kl": self._kl[name],
            "worst_kl": 1.0,
            "positions": 5,
            "agreement": 1.0 if order.precision == "float32" else self._agreement,
            "prompts": 3,
            "computed": self._computed,
        }
        Path(f"{order.folder}.json").write_text(json.dumps(figures))


def test_the_closest_merge_is_kept_with_its_lineage(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kl = {"dequantised-bfloat16": 2e-4, "original-bfloat16": 0.5}
    processes = _Processes(monkeypatch, kl)
    out = tmp_path / "model"
    result = merge.merge(run.path, out)
    assert processes.started == ["reference", *kl]
    assert (result.kind, result.precision, result.kl) == ("dequantised", "bfloat16", 2e-4)
    assert (out / "model.safetensors").read_text() == "dequantised-bfloat16"
    assert [candidate.kl for candidate in result.candidates] == list(kl.values())
    release = read_json(out / lineage.RELEASE)
    assert release["adapter"] == digests(run.adapter)
    assert release["base"] == read_json(run.manifest)["base"]
    assert release["recipe"] == yaml.safe_load(run.recipe.read_text())
    assert lineage.changed(out, release) == []
    card = (out / "README.md").read_text()
    assert yaml.safe_load(card.split("---")[1])["base_model"] == "base"
    assert "| dequantised base, bfloat16 | 2.00e-04 |" in card
    assert not list(tmp_path.glob(".*partial"))


def test_a_changed_file_of_a_release_is_named(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _Processes(monkeypatch, {"dequantised-bfloat16": 0.0, "original-bfloat16": 0.0})
    out = merge.merge(run.path, tmp_path / "model").model
    (out / "model.safetensors").write_text("other")
    (out / "more.json").write_text("{}")
    assert lineage.changed(out, read_json(out / lineage.RELEASE)) == [
        "model.safetensors",
        "more.json",
    ]


@pytest.mark.parametrize(("computed", "kept"), [("float32", "float32"), ("bfloat16", "bfloat16")])
def test_one_answer_that_differs_is_enough_where_engines_compute_in_float32(
    computed: str, kept: str, run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kl = {"dequantised-bfloat16": 2e-4, "original-bfloat16": 0.5, "dequantised-float32": 1e-9}
    _Processes(monkeypatch, kl, agreement=0.98, computed=computed)
    result = merge.merge(run.path, tmp_path / "model")
    assert (result.kind, result.precision) == ("dequantised", kept)


def test_where_bfloat16_is_too_coarse_float32_is_written(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kl = {
        "dequantised-bfloat16": 2e-3,
        "original-bfloat16": 0.5,
        "dequantised-float32": 1e-9,
    }
    processes = _Processes(monkeypatch, kl)
    result = merge.merge(run.path, tmp_path / "model")
    assert processes.started == ["reference", *kl]
    assert (result.kind, result.precision) == ("dequantised", "float32")


@pytest.mark.parametrize(
    ("closest", "message"),
    [(2e-3, r"dequantised float32 0\.002; the limit is 0\.001"), (_NAN, "none \\(NaN\\)")],
)
def test_a_merge_that_differs_is_refused(
    closest: float,
    message: str,
    run: RunFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    far = _NAN if math.isnan(closest) else 0.5
    kl = {
        "dequantised-bfloat16": closest,
        "original-bfloat16": far,
        "dequantised-float32": closest,
    }
    _Processes(monkeypatch, kl)
    with pytest.raises(MergeError, match=message):
        merge.merge(run.path, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_an_evaluation_may_prefer_the_other_merge(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _Processes(monkeypatch, {"dequantised-bfloat16": 2e-4, "original-bfloat16": 0.5})
    result = merge.merge(run.path, tmp_path / "model", prefer=lambda p: "original" in p.name)
    assert (result.kind, result.kl) == ("original", 0.5)
    release = read_json(result.model / lineage.RELEASE)
    assert release["merge"]["judged_by"] == "evaluation"
    assert release["merge"]["kept"]["score"] == 1


def test_no_score_makes_up_for_nan(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _Processes(monkeypatch, {"dequantised-bfloat16": _NAN, "original-bfloat16": 0.5})
    result = merge.merge(run.path, tmp_path / "model", prefer=lambda p: "dequant" in p.name)
    assert result.kind == "original"


def test_what_was_built_before_a_kill_is_not_built_again(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kl = {"dequantised-bfloat16": 2e-4, "original-bfloat16": 0.5}
    first = _Processes(monkeypatch, {"dequantised-bfloat16": 2e-4})
    with pytest.raises(KeyError):  # ends in the second merge
        merge.merge(run.path, tmp_path / "model")
    assert first.started[:2] == ["reference", "dequantised-bfloat16"]
    # The folder of the second was begun; its process clears it.
    _forget(tmp_path / ".model.partial" / "original-bfloat16")
    second = _Processes(monkeypatch, kl)
    merge.merge(run.path, tmp_path / "model")
    assert second.started == ["original-bfloat16"]


def test_a_merge_that_is_there_is_returned(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kl = {"dequantised-bfloat16": 2e-4, "original-bfloat16": 0.5}
    _Processes(monkeypatch, kl)
    first = merge.merge(run.path, tmp_path / "model")
    again = _Processes(monkeypatch, kl)
    assert merge.merge(run.path, tmp_path / "model") == first
    assert again.started == []
    (run.adapter / "adapter_model.safetensors").write_bytes(b"another")
    with pytest.raises(MergeError, match="holds the merge of another run"):
        merge.merge(run.path, tmp_path / "model")
    with pytest.raises(MergeError, match="is there and holds no merge"):
        merge.merge(run.path, run.adapter)


def test_two_merges_do_not_share_a_folder(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _Processes(monkeypatch, {"dequantised-bfloat16": 2e-4, "original-bfloat16": 0.5})
    monkeypatch.setattr(run_folder, "_LOCK_S", 0.3)
    work = tmp_path / ".model.partial"
    with exclusive(work, "mine"), pytest.raises(RunError, match="another process merges into"):
        merge.merge(run.path, tmp_path / "model")
    assert merge.merge(run.path, tmp_path / "model").kl == 2e-4


def test_one_that_waited_takes_the_other_ones_merge(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kl = {"dequantised-bfloat16": 2e-4, "original-bfloat16": 0.5}
    _Processes(monkeypatch, kl)
    results: list[merge.MergeResult] = []
    with exclusive(tmp_path / ".model.partial", "mine"):
        waiting = threading.Thread(
            target=lambda: results.append(merge.merge(run.path, tmp_path / "model"))
        )
        waiting.start()
        time.sleep(0.3)
        made = merge.merge(_run(tmp_path / "again", "qlora-7b").path, tmp_path / "other")
        made.model.rename(tmp_path / "model")  # as the one that holds the folder would
    waiting.join(10)
    assert [result.kl for result in results] == [2e-4]
    assert not list(tmp_path.glob(".*partial"))


def test_a_merge_that_lacks_a_file_is_no_merge(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _Processes(monkeypatch, {"dequantised-bfloat16": 2e-4, "original-bfloat16": 0.5})
    (tmp_path / "base" / "chat_template.jinja").write_text("{{ messages }}")
    described = read_json(run.manifest)
    described["base"]["digests"] = digests(tmp_path / "base")
    write_json(run.manifest, described)
    with pytest.raises(MergeError, match=r"incomplete: chat_template\.jinja is missing"):
        merge.merge(run.path, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_an_adapter_on_an_unquantised_base_has_one_merge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes = _Processes(monkeypatch, {"original-bfloat16": 1e-5})
    merge.merge(_run(tmp_path / "run", "tiny-cpu").path, tmp_path / "model")
    assert processes.started == ["reference", "original-bfloat16"]


def test_a_base_that_has_changed_is_named(run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "base" / "model.safetensors").write_bytes(b"other")
    with pytest.raises(RunError, match=r"base has changed since .*: model\.safetensors"):
        merge.merge(run.path, tmp_path / "model")


def test_an_unfinished_run_is_not_merged(run: RunFolder, tmp_path: Path) -> None:
    run.result.unlink()
    with pytest.raises(RunError, match="holds no complete run"):
        merge.merge(run.path, tmp_path / "model")


@pytest.mark.slow
def test_a_process_that_fails_is_told(run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "valid.jsonl").write_text("no row\n")
    with pytest.raises(MergeError, match="merge into the dequantised base failed: "):
        merge.merge(run.path, tmp_path / "model")


def _forget(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
