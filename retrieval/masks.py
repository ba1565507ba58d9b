"""Which rows a search may find."""

import functools

import numpy as np
import numpy.typing as npt


class Mask:
    """The rows that may be found.

    Args:
        rows: For each row whether it may be found; None: all.
        total: How many rows there are.
    """

    def __init__(self, rows: npt.NDArray[np.bool_] | None, total: int) -> None:
        passing = total if rows is None else int(np.count_nonzero(rows))
        self.rows = None if passing == total else rows
        self.total, self.passing = total, passing

    @functools.cached_property
    def bits(self) -> npt.NDArray[np.uint8]:
        """One bit per row, the lowest first."""
        rows = np.ones(self.total, np.bool_) if self.rows is None else self.rows
        return np.packbits(rows, bitorder="little")

    def passing_rows(self) -> npt.NDArray[np.int64]:
        """The numbers of the rows that may be found."""
        return np.arange(self.total) if self.rows is None else np.flatnonzero(self.rows)
