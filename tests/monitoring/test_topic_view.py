"""What the last prompts are about, and where the gateway must retrieve."""

import msgspec
import numpy as np

from monitoring.reference import Row, made
from monitoring.topic_view import TopicView
from retrieval.records import Area
from tests.monitoring.topics.test_topics import drawn, mixed


def _view() -> TopicView:
    vectors, texts = mixed(1, 600, card=0.5, pin=0.3, fee=0.2)
    rows = [Row(str(number), text, None, {}) for number, text in enumerate(texts)]
    return TopicView(made(rows, vectors, "a test"))


def test_a_new_topic_has_an_area_and_the_usual_ones_have_none() -> None:
    view = _view()
    vectors, texts = mixed(8, 300, card=0.43, pin=0.26, fee=0.17, watch=0.14)
    view.recall(texts, vectors)
    new, *usual = view.shown(look=True)
    assert new["news"].startswith("new: ")
    assert [topic["area"] for topic in usual if "area" in topic] == []
    area = msgspec.convert(msgspec.json.decode(msgspec.json.encode(new["area"])), Area)

    def inside(topic: str) -> float:
        asked, _ = drawn([topic] * 100, seed=77)
        return float((asked @ np.asarray(area.middle, np.float32) >= area.least).mean())

    assert inside("watch") > 0.75
    assert inside("card") == inside("pin") == inside("fee") == 0.0


def test_without_news_there_is_no_area() -> None:
    view = _view()
    vectors, texts = mixed(5, 200, card=0.5, pin=0.3, fee=0.2)
    view.recall(texts, vectors)
    assert not any(topic.get("area") for topic in view.shown(look=True))
