"""What was measured, as records, and as `retrieval.json`, which an interrupted run goes on from."""

from pathlib import Path

import msgspec

from loadtests.bench.results import Machine


class Times(msgspec.Struct, frozen=True):
    """How long calls took, in milliseconds; `curve` has the quantiles 0.005, 0.015, … 0.995."""

    count: int
    p50: float
    p99: float
    curve: list[float]


class Interval(msgspec.Struct, frozen=True):
    """A mean and its 95 % interval, by bootstrap over questions."""

    mean: float
    low: float
    high: float


class Served(msgspec.Struct, frozen=True):
    """Searches through the service process.

    Attributes:
        passages: How many passages there are.
        perturbed: How many of them are copies of others with words shuffled and noise added.
        words: Words of a passage, on average.
        embedder: What embeds.
        times: Of hybrid searches for 10, one at a time, embedding and socket included.
        embedding: Of embedding the same questions through the socket, without any search.
        recall: Share of the 10 nearest by exact search on the same vectors that are found.
    """

    passages: int
    perturbed: int
    words: float
    embedder: str
    times: Times
    embedding: Times
    recall: float


class Large(msgspec.Struct, frozen=True):
    """The dense index by itself; sizes in MB (10^6 bytes), times in seconds.

    Attributes:
        vectors: How many vectors there are, of `dimensions` numbers.
        real: How many real vectors they were made from.
        times: Of searches for 10.
        recall: As of `Served`.
        lists: How many inverted lists a search looks at.
        build_s: Time to build.
        build_mb: Largest resident memory while it is built, pages of mapped files included.
        file_mb: The index's file.
        vectors_mb: The file of exact vectors, which is mapped.
        own_mb: Memory of a process that searches, mapped files apart.
        mapped_mb: Pages of mapped files that it holds besides; the system may take them back.
    """

    vectors: int
    dimensions: int
    real: int
    times: Times
    recall: float
    lists: int
    build_s: float
    build_mb: float
    file_mb: float
    vectors_mb: float
    own_mb: float
    mapped_mb: float


class Fresh(msgspec.Struct, frozen=True):
    """Upserts while searches run, and compaction under them; times in ms, moments in seconds.

    Attributes:
        passages: How many there are at the beginning.
        rate: Searches per second that were sent.
        searches: How many were sent.
        failed: How many failed, and the first reasons.
        visible: From the call of an upsert until a search has found it.
        visible_max: The longest of them.
        quiet: Searches outside compaction.
        compacting: Searches while a compaction ran.
        compactions: From when to when each ran.
        trace: A search a line: when it began and how long it took.
        upserts: An upsert a line: likewise.
    """

    passages: int
    rate: float
    searches: int
    failed: int
    reasons: list[str]
    visible: Times
    visible_max: float
    quiet: Times
    compacting: Times
    compactions: list[tuple[float, float]]
    trace: list[tuple[float, float]]
    upserts: list[tuple[float, float]]


class Figures(msgspec.Struct, frozen=True):
    """nDCG@10 and recall@10 of one mode, or of a difference of two."""

    ndcg: Interval
    recall: Interval


class Labelled(msgspec.Struct, frozen=True):
    """Quality on one labelled set.

    Attributes:
        name: The set.
        note: What exactly was taken.
        documents: How many documents.
        queries: How many questions.
        modes: Figures by mode.
        gains: Hybrid less each half, paired by question.
    """

    name: str
    note: str
    documents: int
    queries: int
    modes: dict[str, Figures]
    gains: dict[str, Figures]


class Changed(msgspec.Struct, frozen=True):
    """Facts asked before and after they change.

    Attributes:
        facts: How many change.
        others: Documents about other things of the same kinds.
        before_old: Answers before the change that cite what held then; all should.
        after_new: Answers after it that cite what holds now.
        after_old: Answers after it that cite, or say, what held before.
        wrong: What the others said, for people.
    """

    facts: int
    others: int
    before_old: int
    after_new: int
    after_old: int
    wrong: list[str]


class Results(msgspec.Struct):
    """All that was measured; None: not measured."""

    started: str
    command: str
    machine: Machine
    served: Served | None = None
    large: Large | None = None
    fresh: Fresh | None = None
    quality: list[Labelled] = []
    changed: Changed | None = None
    failures: dict[str, str] = {}

    def save(self, path: Path) -> None:
        """Write `retrieval.json`."""
        partial = path.with_suffix(".partial")
        partial.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")
        partial.rename(path)


def load(path: Path) -> Results:
    """Read `retrieval.json`; raises OSError or msgspec.MsgspecError."""
    return msgspec.json.decode(path.read_bytes(), type=Results)
