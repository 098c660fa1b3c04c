"""Requests with their spans, sums and lists: on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import random
import sqlite3
import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import InvalidArgument
from orchestrator.storage.database import Database, open_database
from orchestrator.storage.request_search import ANY, RequestFilter, list_requests
from orchestrator.storage.requests import Requests, ServedRequest
from orchestrator.storage.rollups import RELATIVE_ERROR, RollupWindow, bin_of, bin_value, percentile
from orchestrator.storage.spans import flatten, nest, of_attempts
from orchestrator.storage.trace_policy import TracePolicy
from tests.support.postgres import postgres_server

NOW = 1_795_000_000.0
HOUR = 3_600.0


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def server(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "sqlite":
        yield ""
        return
    with postgres_server(tmp_path_factory.mktemp("pg")) as url:
        yield url


@pytest.fixture
def requests(server: str, tmp_path: Path) -> Iterator[Requests]:
    database = open_database(server or tmp_path / "r.db")
    found = Requests(database)
    with database.writing() as run:
        for table in ("requests", "trace_parts", "trace_contents", "rollups", "rollup_bins"):
            run(f"DELETE FROM {table}")
    yield found
    database.close()


def served(number: int, **fields: Any) -> ServedRequest:
    one = ServedRequest(f"{number:032x}", NOW + number, "acme", "search", "key_1", "chat", "auto", model="small")
    one.latency_s, one.cost_nano, one.status = 0.5, 1_000_000, 200
    return replace(one, **fields)


TREE = {
    "name": "answer",
    "children": [
        {"name": "route", "start_s": 0.0, "duration_s": 0.1, "attributes": {"chosen": "small"}},
        {
            "name": "draft",
            "start_s": 0.1,
            "duration_s": 0.4,
            "attributes": {"model": "small"},
            "children": [{"name": "verify", "start_s": 0.4, "duration_s": 0.1, "attributes": {"feedback": "no"}}],
        },
        {"name": "draft", "start_s": 0.5, "duration_s": 0.2, "attributes": {"model": "large"}},
    ],
}


def test_spans_are_rows_and_a_tree_again() -> None:
    rows = flatten(TREE)
    assert [(row["n"], row["parent"], row["depth"], row["name"]) for row in rows] == [
        (0, -1, 0, "route"),
        (1, -1, 0, "draft"),
        (2, 1, 1, "verify"),
        (3, -1, 0, "draft"),
    ]
    assert nest(rows) == TREE["children"]


@given(st.recursive(st.just([]), lambda inner: st.lists(inner, max_size=4), max_leaves=40))
def test_every_tree_comes_back(shape: list[Any]) -> None:
    def span(children: list[Any]) -> dict[str, Any]:
        found: dict[str, Any] = {"name": "s", "start_s": 0.0, "duration_s": 1.0}
        return found | ({"children": [span(child) for child in children]} if children else {})

    root = span(shape)
    assert nest(flatten(root)) == root.get("children", [])


def test_a_request_is_found_with_its_whole_trace(requests: Requests) -> None:
    requests.add([served(1, spans=flatten(TREE), trace={"model": "small"}, confidence=0.9)])
    found = requests.find("acme", f"{1:032x}")
    assert found is not None
    assert found["spans"] == 4
    assert found["confidence"] == 0.9
    assert found["trace"]["search"]["children"][2]["attributes"] == {"model": "large"}
    assert requests.find("other", f"{1:032x}") is None
    assert requests.find(None, f"{1:032x}") is not None


def test_a_large_trace_is_read_in_parts(requests: Requests) -> None:
    spans = of_attempts([{"model": "m", "seconds": 0.001}] * 1_050)
    requests.add([served(1, spans=spans)])
    id = f"{1:032x}"
    assert [len(requests.spans(id, part)) for part in range(7)] == [200] * 5 + [50, 0]
    assert requests.spans(id, 5)[-1]["n"] == 1_049
    assert len(requests.find("acme", id)["trace"]["search"]["children"]) == 1_050  # type: ignore[index]


def test_what_quotes_a_model_is_kept_only_where_the_policy_says_so(requests: Requests) -> None:
    content = {"question": [{"role": "user", "content": "My PIN is 4711"}], "answer": "4711 it is"}
    one = served(1, spans=flatten(TREE), content=content)
    requests.add([one])
    assert requests.content(one.id) is None
    assert "feedback" not in str(requests.find("acme", one.id))
    two = replace(one, id=f"{2:032x}")
    requests.add([two], TracePolicy(content=True, redact=lambda text: text.replace("4711", "****")))
    assert requests.content(two.id) == {
        "question": [{"role": "user", "content": "My PIN is ****"}],
        "answer": "**** it is",
    }
    assert "feedback" in str(requests.find("acme", two.id))


def test_texts_are_not_kept_where_the_hook_fails(requests: Requests) -> None:
    def broken(text: str) -> str:
        raise ValueError(text)

    one = served(1, spans=flatten(TREE), content={"answer": "secret"})
    requests.add([one], TracePolicy(content=True, redact=broken))
    assert requests.content(one.id) is None
    assert "feedback" not in str(requests.find("acme", one.id))


def test_long_texts_are_cut(requests: Requests) -> None:
    one = served(1, spans=flatten(TREE), content={"question": "x" * 5_000_000})
    requests.add([one], TracePolicy(content=True))
    kept = requests.content(one.id)
    assert kept is not None
    assert len(kept["question"]) < 21_000
    assert "5,000,000 characters" in kept["question"]


def test_texts_of_a_scope_and_below_are_forgotten(requests: Requests) -> None:
    scopes = ("acme/ann", "acme/ann/chat", "acme/anna")
    for number, scope in enumerate(scopes):
        requests.add(
            [served(number, scope=scope, spans=flatten(TREE), content={"answer": "a"})], TracePolicy(1.0, True)
        )
    assert requests.forget_texts("acme", "acme/ann") == 2
    assert [requests.content(f"{n:032x}") is None for n in range(3)] == [True, True, False]


def test_sampling_keeps_failures_and_escalations() -> None:
    policy = TracePolicy(sample=0.25)
    rng = random.Random(1)
    some = [served(0, id=f"{rng.getrandbits(128):032x}") for _ in range(4_000)]
    assert abs(statistics.fmean(policy.keeps_spans(one) for one in some) - 0.25) < 0.03
    assert all(policy.keeps_spans(replace(one, error="timeout")) for one in some)
    assert all(policy.keeps_spans(replace(one, escalated=True)) for one in some)


def test_a_request_that_is_not_sampled_still_counts(requests: Requests) -> None:
    requests.add([served(1, id="f" * 32, spans=flatten(TREE))], TracePolicy(sample=0.5))
    assert requests.head("acme", "f" * 32)["spans"] == 0  # type: ignore[index]
    assert requests.rollups.sums(RollupWindow(NOW, NOW + HOUR))[0]["requests"] == 1


def test_sums_agree_with_the_rows(requests: Requests) -> None:
    rng = random.Random(3)
    some = [
        served(
            number,
            at=NOW + rng.uniform(0, 40 * 86_400),
            model=rng.choice(("small", "large")),
            key=rng.choice(("key_1", "key_2")),
            cost_nano=rng.choice((None, 5, 70_000)),
            error=rng.choice(("", "", "", "timeout")),
            cached=rng.choice(("", "", "exact")),
            latency_s=rng.uniform(0.1, 3),
        )
        for number in range(1_500)
    ]
    for start in range(0, 1_500, 250):
        requests.add(some[start : start + 250])
    found = requests.rollups.sums(RollupWindow(NOW - 86_400, NOW + 41 * 86_400), ("model",))
    for row in found:
        mine = [one for one in some if one.model == row["model"]]
        assert row["requests"] == len(mine)
        assert row["errors"] == sum(bool(one.error) for one in mine)
        assert row["hits"] == sum(bool(one.cached) for one in mine)
        assert row["unpriced"] == sum(one.cost_nano is None for one in mine)
        assert row["cost_usd"] == pytest.approx(sum(one.cost_nano or 0 for one in mine) / 1e9)
    one_key = requests.rollups.sums(RollupWindow(NOW - 86_400, NOW + 41 * 86_400, key="key_2"))[0]
    assert one_key["requests"] == sum(one.key == "key_2" for one in some)


def test_what_is_kept_twice_counts_once(requests: Requests) -> None:
    one = served(1)
    requests.add([one, served(2)])
    requests.add([one, served(3)])
    found = requests.rollups.sums(RollupWindow(NOW, NOW + HOUR))[0]
    assert found["requests"] == 3


@settings(max_examples=200)
@given(st.lists(st.floats(1e-5, 5_000), min_size=1, max_size=60), st.sampled_from((0.5, 0.95, 0.99, 1.0)))
def test_percentiles_are_right_within_what_is_stated(values: list[float], share: float) -> None:
    bins: dict[int, int] = {}
    for value in values:
        bins[bin_of(value)] = bins.get(bin_of(value), 0) + 1
    exact = sorted(values)[max(int(-(-share * len(values) // 1)) - 1, 0)]
    found = percentile(bins, share)
    assert found is not None
    assert abs(found - exact) <= RELATIVE_ERROR * exact * 1.0001


def test_a_bin_stands_for_what_falls_into_it() -> None:
    assert bin_value(bin_of(0.3)) == pytest.approx(0.3, rel=RELATIVE_ERROR)
    assert percentile({}, 0.5) is None


def test_the_saving_comes_with_its_interval(requests: Requests) -> None:
    rng = random.Random(5)
    some = [served(n, cost_nano=1_000_000, reference_nano=int(rng.gauss(9e6, 2e6))) for n in range(400)]
    requests.add([*some, served(900, reference_nano=None), served(901, cost_nano=None, reference_nano=5)])
    found = requests.rollups.sums(RollupWindow(NOW, NOW + HOUR))[0]
    saved = [(one.reference_nano - 1_000_000) / 1e9 for one in some if one.reference_nano is not None]
    half = 1.96 * statistics.stdev(saved) * len(saved) ** 0.5
    assert found["compared"] == 400
    assert found["saved_usd"] == pytest.approx(sum(saved))
    assert found["saved_usd_high"] - found["saved_usd"] == pytest.approx(half, rel=1e-6)


def some_requests(count: int) -> list[ServedRequest]:
    rng = random.Random(9)
    return [
        served(
            number,
            at=NOW + rng.randrange(50) * 60.0,
            org=rng.choice(("acme", "umbrella")),
            model=rng.choice(("small", "large")),
            key=rng.choice(("key_1", "key_2")),
            error=rng.choice(("", "", "", "timeout", "overloaded")),
            cost_nano=rng.choice((None, 10, 10, 5_000_000)),
            latency_s=rng.choice((0.1, 0.1, 4.0)),
            escalated=rng.random() < 0.3,
            cached=rng.choice(("", "exact")),
        )
        for number in range(count)
    ]


WANTED = [
    {},
    {"org": "acme"},
    {"model": "large", "org": "umbrella"},
    {"key": "key_2", "error": ANY},
    {"error": "timeout"},
    {"min_usd": 0.001},
    {"min_s": 1.0, "org": "acme"},
    {"escalated": True, "cached": True},
    {"order": "cost"},
    {"order": "latency", "model": "small"},
    {"order": "cost", "min_s": 1.0},
]


@pytest.mark.parametrize("wanted", WANTED, ids=lambda wanted: ",".join(wanted) or "all")
def test_pages_give_every_row_once_in_order(requests: Requests, wanted: dict[str, Any]) -> None:
    some = some_requests(300)
    requests.add(some)
    chosen = RequestFilter(NOW, NOW + 40 * 60.0, **wanted)
    column = {"cost": "cost_usd", "latency": "latency_s"}.get(str(wanted.get("order")), "at")
    expected = [one for one in some if matches(one, chosen) and (column != "cost_usd" or one.cost_nano is not None)]
    found, cursor = [], ""
    for _ in range(100):
        page = list_requests(requests.database, chosen, limit=17, cursor=cursor)
        found += page.rows
        cursor = page.cursor
        if not cursor:
            break
    assert sorted(row["id"] for row in found) == sorted(one.id for one in expected)
    values = [row[column] for row in found]
    assert values == sorted(values, reverse=True)


def matches(one: ServedRequest, chosen: RequestFilter) -> bool:
    exact = all(getattr(chosen, name) in (None, getattr(one, name)) for name in ("org", "model", "key"))
    failed = chosen.error is None or (bool(one.error) if chosen.error == ANY else one.error == chosen.error)
    dear = chosen.min_usd is None or (one.cost_nano or 0) >= chosen.min_usd * 1e9
    slow = chosen.min_s is None or one.latency_s >= chosen.min_s
    flags = (one.escalated or not chosen.escalated) and (bool(one.cached) or not chosen.cached)
    return exact and failed and dear and slow and flags and chosen.since <= one.at < chosen.until


def test_a_page_that_looks_far_says_how_far_it_came(requests: Requests) -> None:
    requests.add([served(number, escalated=number < 3) for number in range(100)])
    chosen = RequestFilter(NOW, NOW + HOUR, escalated=True)
    page = list_requests(requests.database, chosen, max_scanned=40)
    assert page.rows == []
    assert page.searched_to == NOW + 60
    page = list_requests(requests.database, chosen, cursor=page.cursor, max_scanned=40)
    page = list_requests(requests.database, chosen, cursor=page.cursor, max_scanned=40)
    assert [row["id"] for row in page.rows] == [f"{number:032x}" for number in (2, 1, 0)]
    assert page.cursor == ""


@pytest.mark.parametrize("cursor", ["x", "AAAA", "W10", "bnVsbA", "'; DROP TABLE requests"])
def test_a_cursor_of_somebody_elses_making_is_refused(requests: Requests, cursor: str) -> None:
    with pytest.raises(InvalidArgument, match="no cursor"):
        list_requests(requests.database, RequestFilter(NOW, NOW + 1), cursor=cursor)


def test_old_spans_go_before_their_requests(requests: Requests) -> None:
    one = served(1, spans=flatten(TREE), content={"answer": "a"})
    requests.add([one, served(2, at=NOW + 86_400, spans=flatten(TREE))], TracePolicy(content=True))
    requests.forget(before=0.0, spans_before=NOW + HOUR)
    assert requests.spans(one.id, 0) == []
    assert requests.content(one.id) is None
    assert requests.head("acme", one.id) is not None
    assert len(requests.spans(f"{2:032x}", 0)) == 4
    requests.forget(before=NOW + HOUR)
    assert requests.head("acme", one.id) is None
    assert requests.head("acme", f"{2:032x}") is not None


def test_a_database_of_an_earlier_version_gets_its_sums(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    old = open_database(path)
    from orchestrator.storage.migrations import migrate
    from orchestrator.storage.request_schema import FIRST

    migrate(old, "requests", [FIRST])
    old.close()
    names = (
        "id, at, org, team, key, api, asked, model, status, prefill_tokens, cached_tokens, output_tokens, cost_nano, "
    )
    names += "latency_s, ttft_s, cached, scope, error, trace"
    with sqlite3.connect(path) as plain:
        for number in range(50):
            values = (f"r{number:02}", NOW + number, "acme", None, "k", "chat", "auto", "small", 200, 1, 0, 1, 7, 0.2)
            plain.execute(
                f"INSERT INTO requests ({names}) VALUES ({', '.join('?' * 19)})",
                (*values, None, "", "", "", '{"search": {"name": "answer", "children": [{"name": "route"}]}}'),
            )
    plain.close()
    database = open_database(path)
    requests = Requests(database)
    found = requests.rollups.sums(RollupWindow(NOW, NOW + HOUR))
    assert found[0]["requests"] == 50
    assert requests.find("acme", "r07")["trace"]["search"]["children"] == [{"name": "route"}]  # type: ignore[index]
    assert Requests(database).rollups.sums(RollupWindow(NOW, NOW + HOUR))[0]["requests"] == 50  # not summed up twice
    database.close()


def test_a_long_reading_keeps_no_writer_waiting(tmp_path: Path) -> None:
    database: Database = open_database(tmp_path / "r.db")
    requests = Requests(database)
    reader = database.reader()
    with database.writing() as run:
        run("INSERT INTO parts VALUES ('x', 1)")
        assert reader.read("SELECT count(*) FROM requests") == [(0,)]
    requests.add([served(1)])
    assert reader.read("SELECT count(*) FROM requests") == [(1,)]
    reader.close()
    database.close()
