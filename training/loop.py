"""How the loop of an alias is closed: when it is retrained, on what, and what must be shown.

`driftgate loop set ALIAS` writes the settings, `store.loops` keeps them. An alias without settings
is retrained only when a person asks for it, and then with the defaults.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from gateway.store.loops import StoredLoop
from training.rollout.plan import PlanInvalid, RolloutPlan
from training.timetable import Timetable, TimetableInvalid

Source = Literal["act", "warn", "schedule", "alert"]
Points = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
_STRICT = ConfigDict(extra="forbid", strict=True, frozen=True)


class LoopInvalid(ValueError):
    """Settings that cannot be used; the message names the field."""


class Gates(BaseModel):
    """What an offline evaluation must show beside the comparison on held-out rows.

    Attributes:
        capability: Not worse on any suite of general capability.
        hallucination: A file of questions with known true answers, on the workers' host: makes up
            no more than before.
        latency_p95_s: The longest 95th percentile of an answer's time, in seconds. It needs an
            endpoint to measure, so that a model evaluated in a job's process leaves it open.
    """

    model_config = _STRICT

    capability: bool = False
    hallucination: Name | None = None
    latency_p95_s: Annotated[float, Field(gt=0)] | None = None

    def required(self) -> tuple[str, ...]:
        """Return the names of the gates, as an evaluation has them."""
        asked = {
            "capability": self.capability,
            "hallucination": self.hallucination,
            "latency": self.latency_p95_s,
        }
        return tuple(name for name, value in asked.items() if value)


class Replay(BaseModel):
    """The attribution replay: which part is at fault.

    Attributes:
        cases: Questions with known answers that are asked, half of them about what drifted. Fewer
            than 59 of a half cannot show that as good as all of them are right.
        margin: How far below its usual level an alias may be and count as good.
        alpha: Chance of each of its tests to be wrong.
        max_tokens: Of an answer.
        documents: What it means where documents bring the answers back: that they are `enough`, and
            nothing is trained, or that they are a `bridge`, until a release knows it by itself.
    """

    model_config = _STRICT

    cases: Annotated[int, Field(ge=2, le=2000)] = 120
    margin: Points = 0.05
    alpha: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    max_tokens: Annotated[int, Field(ge=1, le=4096)] = 128
    documents: Literal["enough", "bridge"] = "enough"


class LoopSettings(BaseModel):
    """The settings of an alias's loop; `docs/loop.md` says how to choose.

    Attributes:
        approval: Who must agree to the promotion: nobody (`auto`), a person (`human`), or people
            who compare answers of both releases blindly (`comparison`).
        sources: What may retrain it, beside a person: `act` (harm), `warn` (drift that lasts),
            `schedule`, `alert` (a webhook of Alertmanager).
        warn_windows: Windows that drift must last.
        least_rows: New curated rows without which nothing is trained.
        schedule: A timetable, five fields of cron in UTC.
        cool_down_s: Time after a retraining in which none begins.
        most_per_30_days: Retrainings in 30 days.
        back_off_s: Time after one that did not end in a promotion; doubled with each further one.
        longest_back_off_s: The most that this becomes.
        train_from: The release in service, or the model that it descends from.
        recipe: The training recipe; None: one that fits the machine.
        overrides: Values in place of the recipe's.
        least_score: Mean score from which an answer is good.
        replay: Most rows of the release's own data set, as a share of the rows trained on.
        held_out: Share of the rows that the gates are decided on.
        cases: Most held-out rows that are asked, half of them new. Too few are INCONCLUSIVE, never
            a pass; with fewer than 5 new ones nothing is trained.
        key_rows: Most rows of one key.
        key_share: Most rows of one key, as a share of the rows trained on.
        sources_for_change: Keys that must agree on an answer that another one contradicts. A
            key of scope `admin` is enough alone.
        sources_for_news: Keys that must agree on a correction that nobody contradicts.
        margin: How much worse a candidate may be on a slice where it need not be better.
        margins: The same for single slices: `old`, `golden`.
        gates: What must be shown beside that.
        attribution: The replay before it.
        rollout: Fields of the rollout's plan that are not the default's.
    """

    model_config = _STRICT

    approval: Literal["auto", "human", "comparison"] = "human"
    sources: tuple[Source, ...] = ("act", "warn", "schedule", "alert")
    warn_windows: Count = 20
    least_rows: Count = 50
    schedule: str | None = None
    cool_down_s: Seconds = 86_400.0
    most_per_30_days: Count = 8
    back_off_s: Seconds = 21_600.0
    longest_back_off_s: Seconds = 604_800.0
    train_from: Literal["serving", "base"] = "serving"
    recipe: Name | None = None
    overrides: dict[str, bool | int | float | str | None] = {}
    least_score: Share = 0.8
    replay: Annotated[float, Field(ge=0, lt=1)] = 0.7
    held_out: Annotated[float, Field(gt=0, le=0.5)] = 0.2
    cases: Count = 400
    key_rows: Count = 500
    key_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    sources_for_change: Annotated[int, Field(ge=1, le=10)] = 2
    sources_for_news: Annotated[int, Field(ge=1, le=10)] = 1
    margin: Points = 0.03
    margins: dict[str, Points] = {}
    gates: Gates = Gates()
    attribution: Replay = Replay()
    rollout: dict[str, Any] = {}

    @field_validator("sources", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("schedule")
    @classmethod
    def _is_timetable(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                Timetable(value)
            except TimetableInvalid as error:
                raise ValueError(str(error)) from error
        return value

    @field_validator("rollout")
    @classmethod
    def _is_plan(cls, value: dict[str, Any]) -> dict[str, Any]:
        try:
            RolloutPlan.of(value)
        except PlanInvalid as error:
            raise ValueError(str(error)) from error
        return value

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "LoopSettings":
        """Read settings from their fields; those that are left out have their defaults.

        Raises:
            LoopInvalid: A field is unknown, or its value is wrong.
        """
        try:
            return cls.model_validate(dict(fields))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            if first["type"] == "extra_forbidden":
                raise LoopInvalid(f"`{field}`: there is no such setting of a loop") from None
            message = first["msg"].removeprefix("Value error, ")
            raise LoopInvalid(f"`{field}`: {message}") from None

    @classmethod
    def stored(cls, loop: StoredLoop | None) -> "LoopSettings":
        """Return the settings of an alias, or the defaults where it has none.

        Raises:
            LoopInvalid: What is stored was written by another version and cannot be used.
        """
        return cls() if loop is None else cls.of(loop.fields)

    def plan(self) -> RolloutPlan:
        """Return the plan of its rollouts; the loop's approval holds where the plan names none."""
        return RolloutPlan.of({"approval": self.approval} | self.rollout)

    def fields(self) -> dict[str, Any]:
        """Return every field, as JSON has it."""
        return self.model_dump(mode="json")
