"""What a run can be planned on: a small table of GPUs with its sources, and this machine's CPU."""

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_TABLE = Path(__file__).with_name("devices.yaml")


class DeviceError(ValueError):
    """A device that is not known; the message lists those that are."""


@dataclass(frozen=True, slots=True)
class Device:
    """A processor and what it costs.

    Args:
        name: How options call it.
        title: How people call it.
        memory_bytes: Memory of one card (or of the machine).
        flops: Peak operations a second in the precision that is trained in.
        bandwidth: Bytes a second between memory and processor.
        price: US dollars an hour; None where nothing is paid by the hour.
        source: Where the price is from, and of when.
        cpu: Whether it is a CPU.
    """

    name: str
    title: str
    memory_bytes: float
    flops: float
    bandwidth: float
    price: float | None
    source: str
    cpu: bool = False


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What the table assumes of every device; `devices.yaml` says where each number is from."""

    utilisation: float
    layer_seconds: float
    bandwidth_share: float
    context_gib: float
    cpu_core_tflops: float
    cpu_bandwidth: float


@cache
def assumptions() -> Assumptions:
    """Return the table's assumptions."""
    return Assumptions(**_table()["assumptions"])


@cache
def gpus() -> dict[str, Device]:
    """Return the GPUs of the table by name, smallest first."""
    found = {
        name: Device(
            name=name,
            title=row["title"],
            memory_bytes=row["memory_gib"] * 2**30,
            flops=row["tflops"] * 1e12,
            bandwidth=row["bandwidth"] * 1e9,
            price=row["price"],
            source=f"{row['price_source']} ({row['priced']})",
        )
        for name, row in _table()["gpus"].items()
    }
    return dict(sorted(found.items(), key=lambda item: (item[1].memory_bytes, item[1].flops)))


def device(name: str) -> Device:
    """Return a GPU of the table, or this machine for `cpu`.

    Raises:
        DeviceError: It is not known.
    """
    if name == "cpu":
        return this_machine()
    try:
        return gpus()[name.lower().replace("-", "").replace("_", "")]
    except KeyError:
        raise DeviceError(f"no GPU {name!r}; known: {', '.join(gpus())}, and cpu") from None


def this_machine() -> Device:
    """Return this machine's CPU: its memory, and a peak that its cores and their vectors allow."""
    cores = len(os.sched_getaffinity(0))
    wide = 1.0 if "avx512f" in Path("/proc/cpuinfo").read_text() else 0.5
    assumed = assumptions()
    return Device(
        name="cpu",
        title=f"this machine ({cores} cores)",
        memory_bytes=float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")),
        flops=cores * wide * assumed.cpu_core_tflops * 1e12,
        bandwidth=assumed.cpu_bandwidth * 1e9,
        price=None,
        source="",
        cpu=True,
    )


@cache
def _table() -> dict[str, Any]:
    import yaml

    table: dict[str, Any] = yaml.safe_load(_TABLE.read_text())
    return table
