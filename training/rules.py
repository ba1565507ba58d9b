"""What the settings of a loop mean for curation and for the data set."""

from training.data.curation import Rules
from training.data.renewal import Shape
from training.loop import LoopSettings


def rules_of(settings: LoopSettings, trusted: tuple[str, ...]) -> Rules:
    """Return what becomes a row; `trusted` are the keys whose word is enough alone."""
    return Rules(
        least_score=settings.least_score,
        cap=settings.key_rows,
        sources=settings.sources_for_change,
        uncontested=settings.sources_for_news,
        trusted=trusted,
    )


def shape_of(settings: LoopSettings, seed: int) -> Shape:
    """Return how the rows are shared out."""
    return Shape(
        held_out=settings.held_out,
        cases=settings.cases,
        replay=settings.replay,
        key_share=settings.key_share,
        seed=seed,
    )
