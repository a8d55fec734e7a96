"""Pages and totals while the stream lags behind the table."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.service import AGENT, OTHER_AGENT, Service, in_memory, newest_first, session

# Few distinct moments, so that many sessions share five seconds, ten minutes, a day or a month.
rows = st.tuples(
    st.integers(0, 40),
    st.sampled_from(["09", "10"]),
    st.sampled_from(["00", "01"]),
    st.sampled_from([AGENT, OTHER_AGENT]),
)


def sessions_of(rows: list[tuple[int, str, str, str]]) -> list[dict[str, Any]]:
    return [
        session(number, created_at=f"2026-{month}-01T00:{minute}:00.000000Z", agent_id=agent_id)
        for number, month, minute, agent_id in rows
    ]


@given(
    counted=st.lists(rows, max_size=25, unique_by=lambda row: row[0]).map(sessions_of),
    created=st.lists(rows, max_size=4, unique_by=lambda row: row[0]).map(sessions_of),
    deleted=st.sets(st.integers(0, 24), max_size=4),
    scan_max=st.sampled_from([0, 1, 5, 100]),
    limit=st.integers(1, 8),
    agent_id=st.sampled_from([None, AGENT]),
)
def test_a_page_shifts_by_no_more_sessions_than_are_uncounted(
    counted: list[dict[str, Any]],
    created: list[dict[str, Any]],
    deleted: set[int],
    scan_max: int,
    limit: int,
    agent_id: str | None,
) -> None:
    with in_memory(scan_max=scan_max) as service:
        service.put(*counted)
        service.drain()
        gone = [each for number, each in enumerate(counted) if number in deleted]
        new = [each for each in created if each["id"] not in {old["id"] for old in counted}]
        for each in gone:
            service.delete(each["id"])
        service.put(*new)

        present = [each for each in counted if each not in gone] + new
        mine = [each for each in newest_first(present) if agent_id in (None, each["agent_id"])]
        uncounted = sum(agent_id in (None, each["agent_id"]) for each in (*gone, *new))
        query = f"&agent_id={agent_id}" if agent_id else ""
        for offset in range(len(mine) + 3):
            body = service.get(f"offset={offset}&limit={limit}{query}").body
            data, total = body["data"], body["total"]
            assert abs(total - len(mine)) <= uncounted
            if data:
                start = mine.index(data[0])
                assert data == mine[start : start + len(data)]
                assert abs(start - offset) <= uncounted
            # Where the page proves that there are more sessions, or no more, the page wins.
            if len(data) == limit:
                assert total >= offset + limit
            elif data:
                assert total == offset + len(data)
            else:
                assert total <= offset


def test_the_first_page_is_exact_before_sessions_are_counted(memory_service: Service) -> None:
    memory_service.put(*(session(number) for number in range(4)))
    memory_service.drain()
    memory_service.put(session(4))
    memory_service.delete(session(3)["id"])
    response = memory_service.get("limit=5")
    assert (response.ids, response.body["total"]) == ([session(number)["id"] for number in (4, 2, 1, 0)], 4)
