import pytest

from training.catalog import entries
from training.planner.devices import DeviceError, device, gpus
from training.planner.fit import cards, choose, options
from training.planner.memory import Method, Run
from training.planner.serving import cache_bytes, cheapest

_GIB = 2**30
_8B = entries()["llama-3.1-8b"].shape
_70B = entries()["llama-3.3-70b"].shape


@pytest.mark.parametrize(
    ("gib", "chosen"),
    [(4, None), (14, Method.QLORA), (22.5, Method.LORA), (200, Method.LORA)],
)
def test_the_method_follows_from_the_memory(gib: float, chosen: Method | None) -> None:
    option = choose(options(_8B, Run(Method.FULL), gib * _GIB))
    assert (option and option.run.method) == chosen


def test_full_fits_where_there_is_room_but_adapters_are_preferred() -> None:
    found = options(_8B, Run(Method.FULL), 200 * _GIB)
    assert [option.verdict for option in found] == ["fits"] * 3
    only = choose(options(_8B, Run(Method.FULL), 200 * _GIB, [Method.FULL]))
    assert only is not None
    assert only.run.method is Method.FULL


def test_checkpointing_and_small_batches_come_only_where_they_must() -> None:
    wish = Run(Method.QLORA, 8, 256, checkpointing=False)
    roomy, close, small = (
        options(_8B, wish, gib * _GIB, [Method.QLORA])[0] for gib in (80, 16, 11)
    )
    assert (roomy.run.checkpointing, roomy.run.batch) == (False, 8)
    assert (close.run.checkpointing, close.run.batch) == (True, 8)
    assert small.run.checkpointing
    assert small.run.batch * small.accumulate == 8
    assert small.run.batch < 8
    kept = options(_8B, wish, 16 * _GIB, [Method.QLORA], keep=True)[0]
    assert kept.run == wish
    assert kept.verdict == "too large"


def test_margins_and_verdicts_agree() -> None:
    need = options(_8B, Run(Method.QLORA, 1, 64), 1e15, [Method.QLORA])[0].memory.total
    for share, verdict in ((0.95, "tight"), (0.5, "fits"), (1.1, "too large")):
        found = options(_8B, Run(Method.QLORA, 1, 64), need / share, [Method.QLORA], keep=True)[0]
        assert found.verdict == verdict
        assert found.margin == pytest.approx(1 - share, abs=0.01)


def test_a_model_of_70b_is_shared_out() -> None:
    run = Run(Method.FULL, 1, 256)
    count = cards(_70B, run, device("h100"))
    assert count is not None
    # 18 bytes a parameter: 1,183 GiB.
    assert 15 <= count <= 20
    assert cards(_70B, Run(Method.QLORA, 1, 256), device("h100")) == 1
    assert cards(_8B, Run(Method.LORA, 64, 8192, checkpointing=False), device("a10g")) is None


def test_a_device_that_is_not_known_is_named() -> None:
    assert device("RTX-4090").title == "RTX 4090"
    with pytest.raises(DeviceError, match=r"no GPU .a1.; known: .*h100.*and cpu"):
        device("a1")
    for gpu in gpus().values():
        assert gpu.price
        assert gpu.source.startswith("https://")


def test_this_machine_has_memory_and_speed() -> None:
    cpu = device("cpu")
    assert cpu.cpu
    assert cpu.price is None
    assert cpu.memory_bytes > 2**30
    assert cpu.flops > 1e10


def test_serving_a_larger_model_costs_more() -> None:
    small, large = cheapest(_8B), cheapest(_70B)
    assert small.count == 1
    assert large.count * large.device.memory_bytes > 2 * _70B.parameters
    assert large.dollars_per_million > 3 * small.dollars_per_million
    assert cache_bytes(_8B, 1000) == 1000 * 2 * 2 * 32 * 8 * 128
