"""Filters on columns mean what a plain reading of each document would."""

from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.filters import Columns
from retrieval.records import Filter, Value

_ROWS: list[dict[str, Value]] = [
    {"n": 1.0, "team": "a", "open": True},
    {"n": 2.0, "team": "b", "open": False},
    {"n": "2", "team": "a"},
    {},
]


def _met(wanted: Filter, rows: list[dict[str, Value]] = _ROWS) -> list[int]:
    columns = Columns(lambda start, end: rows[start:end])
    return [n for n, met in enumerate(columns.meeting(wanted, len(rows))) if met]


def test_comparisons() -> None:
    assert _met(Filter(type="eq", key="team", value="a")) == [0, 2]
    assert _met(Filter(type="ne", key="team", value="a")) == [1, 3]
    assert _met(Filter(type="gt", key="n", value=1.0)) == [1]
    assert _met(Filter(type="gte", key="n", value=1.0)) == [0, 1]
    assert _met(Filter(type="lt", key="team", value="b")) == [0, 2]
    assert _met(Filter(type="lte", key="n", value="3")) == [2]
    assert _met(Filter(type="in", key="n", value=[1.0, "2"])) == [0, 2]
    assert _met(Filter(type="nin", key="n", value=[1.0, "2"])) == [1, 3]


def test_true_is_no_number_and_an_unknown_key_has_no_values() -> None:
    assert _met(Filter(type="eq", key="open", value=True)) == [0]
    assert _met(Filter(type="eq", key="open", value=1.0)) == []
    assert _met(Filter(type="eq", key="nothing", value="a")) == []
    assert _met(Filter(type="ne", key="nothing", value="a")) == [0, 1, 2, 3]


def test_compounds() -> None:
    a = Filter(type="eq", key="team", value="a")
    many = Filter(type="gte", key="n", value=1.0)
    assert _met(Filter(type="and", filters=(a, many))) == [0]
    assert _met(Filter(type="or", filters=(a, many))) == [0, 1, 2]
    assert _met(Filter(type="and", filters=(a, Filter(type="or", filters=(many, many))))) == [0]


def test_columns_grow_with_the_documents() -> None:
    rows = list(_ROWS)
    columns = Columns(lambda start, end: rows[start:end])
    wanted = Filter(type="eq", key="team", value="new")
    assert not columns.meeting(wanted, 4).any()
    rows.append({"team": "new"})
    assert columns.meeting(wanted, 5).tolist() == [False] * 4 + [True]
    assert not columns.meeting(wanted, 4).any()  # an older view sees no later document


_values = st.one_of(
    st.sampled_from(["", "a", "b", "ab"]), st.sampled_from([0.0, 1.0, -2.5]), st.booleans()
)
_filters = st.recursive(
    st.builds(
        Filter,
        type=st.sampled_from(["eq", "ne", "gt", "gte", "lt", "lte"]),
        key=st.sampled_from(["x", "y"]),
        value=_values,
    )
    | st.builds(
        Filter,
        type=st.sampled_from(["in", "nin"]),
        key=st.sampled_from(["x", "y"]),
        value=st.lists(st.sampled_from(["a", "b", 1.0])),
    ),
    lambda inner: st.builds(
        Filter, type=st.sampled_from(["and", "or"]), filters=st.lists(inner, min_size=1).map(tuple)
    ),
    max_leaves=5,
)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.dictionaries(st.sampled_from(["x", "y"]), _values), max_size=6),
    _filters,
)
def test_columns_agree_with_reading_each_document(
    rows: list[dict[str, Value]], wanted: Filter
) -> None:
    assert _met(wanted, rows) == [n for n, row in enumerate(rows) if _plainly(wanted, row)]


def _plainly(wanted: Filter, row: dict[str, Value]) -> bool:
    if wanted.type == "and":
        return all(_plainly(part, row) for part in wanted.filters)
    if wanted.type == "or":
        return any(_plainly(part, row) for part in wanted.filters)
    value, other = row.get(wanted.key), wanted.value
    if isinstance(other, list):
        among = any(type(value) is type(one) and value == one for one in other)
        return among == (wanted.type == "in")
    same_kind = type(value) is type(other)
    if wanted.type == "eq":
        return same_kind and value == other
    if wanted.type == "ne":
        return not (same_kind and value == other)
    if not same_kind:
        return False
    less, equal = value < other, value == other  # type: ignore[operator]
    return {"lt": less, "lte": less or equal, "gt": not less and not equal, "gte": not less}[
        wanted.type
    ]
