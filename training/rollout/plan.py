"""How a candidate is rolled out: stages, shares, limits, levels."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError, field_validator
from pydantic.dataclasses import dataclass

Share = Annotated[float, Field(gt=0, lt=1)]
Seconds = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]


class PlanInvalid(ValueError):
    """A plan cannot be used; the message names the field."""


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid", strict=True))
class RolloutPlan:
    """How a candidate is rolled out; `docs/rollout.md` says how to choose.

    Attributes:
        start_timeout_s: How long the candidate's engine may take until it is ready.
        questions: Asked in staging; empty: the last prompts of the alias's traffic.
        staging_questions: How many of these are asked.
        max_tokens: Of an answer in staging.
        latency_ratio: How many times the old release's latency is too much: of the medians in
            staging, of the 95th percentiles in shadow.
        shadow_share: Share of the requests that are mirrored; 0: no shadow stage.
        shadow_requests: Mirrored requests that are compared.
        length_ratio: How many times longer or shorter the median answer may be.
        shares: Of the requests, in the canary stages.
        stage_requests: Requests that the candidate must have answered in each of them.
        least_scores: Scores of the candidate's answers from which on they decide too.
        stage_timeout_s: How long shadow, and each canary stage, may take; then it is rolled back.
        margin: By how much the candidate must be shown not to be worse.
        tolerance: By how much it may be worse without being rolled back.
        alpha_promote: Chance that one that is worse by the margin is promoted.
        alpha_rollback: Chance that one that is as good is rolled back by the canary's evidence.
        approval: Who must agree to the promotion: nobody (`auto`), a person (`human`), or people
            who compare answers of both releases blindly (`comparison`).
        warm_s: How long the old release is kept ready after it.
        settle_s: After a move of the alias, how long its requests do not count: until then some
            worker of the gateway may not know of it.
        late_s: After which time a request that went to the candidate should be in the log.
        poll_s: How often it looks.
    """

    start_timeout_s: Seconds = 1800.0
    questions: tuple[Annotated[str, Field(min_length=1, max_length=20_000)], ...] = ()
    staging_questions: Annotated[int, Field(ge=1, le=200)] = 20
    max_tokens: Annotated[int, Field(ge=1, le=4096)] = 64
    latency_ratio: Annotated[float, Field(ge=1)] = 1.5
    shadow_share: Annotated[float, Field(ge=0, le=1)] = 0.2
    shadow_requests: Annotated[int, Field(ge=1, le=10_000)] = 200
    length_ratio: Annotated[float, Field(gt=1)] = 3.0
    shares: Annotated[tuple[Share, ...], Field(min_length=1, max_length=10)] = (0.01, 0.05, 0.25)
    stage_requests: Count = 100
    least_scores: Count = 30
    stage_timeout_s: Annotated[float, Field(gt=0)] = 86_400.0
    margin: Annotated[float, Field(gt=0, lt=1)] = 0.03
    tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.0
    alpha_promote: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    alpha_rollback: Annotated[float, Field(gt=0, le=0.5)] = 0.01
    approval: Literal["auto", "human", "comparison"] = "auto"
    warm_s: Seconds = 3600.0
    settle_s: Seconds = 5.0
    late_s: Seconds = 120.0
    poll_s: Annotated[float, Field(gt=0, le=60)] = 1.0

    @field_validator("questions", "shares", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("shares")
    @classmethod
    def _rising(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError("each share must be above the one before")
        return value

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "RolloutPlan":
        """Read a plan from its fields; those that are left out have their defaults.

        Raises:
            PlanInvalid: A field is unknown, or its value is wrong.
        """
        try:
            plan = cls(**dict(fields))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
                raise PlanInvalid(f"`{field}`: there is no such field of a rollout") from None
            raise PlanInvalid(f"`{field}`: {first['msg']}") from None
        except TypeError as error:  # a name that is no string
            raise PlanInvalid(f"{error}") from None
        if plan.tolerance >= plan.margin:
            raise PlanInvalid("`tolerance`: must be below `margin`")
        return plan

    def fields(self) -> dict[str, Any]:
        """Return every field, as they are stored with the rollout."""
        values = asdict(self)
        return values | {"questions": list(self.questions), "shares": list(self.shares)}

    def stages(self) -> tuple[str, ...]:
        """Return the names of the stages, in their order."""
        canary = tuple(canary_name(share) for share in self.shares)
        shadow = ("shadow",) if self.shadow_share else ()
        return ("start", "staging", *shadow, *canary, "approval", "promote")


def canary_name(share: float) -> str:
    """Return the name of a canary stage: `canary-` and the per cent."""
    return f"canary-{share * 100:.6g}"
