"""Values that the query parameters accept and refuse."""

import pytest

from tests.service import AGENT, OTHER_AGENT, Service, session

AGENT_MESSAGE = "agent_id must be an agent's id: agent_ and 31 or 32 lower-case hexadecimal digits."
OFFSET_MESSAGE = "offset must be a whole number from 0 to 2147483647."
LIMIT_MESSAGE = "limit must be a whole number from 1 to 100."

NOT_NUMBERS = [
    "1.0",
    " 5",
    "5 ",
    "%2B5",
    "-1",
    "1_0",
    "1e1",
    "0x10",
    "5\n",
    "٣",
    "５",
    "²",
    "NaN",
    "true",
    "Null",
    "none",
]
NOT_NUMBERS += [" ", "1" * 11, "0" * 11, "9" * 5000, "1,2", "[1]", '"1"', "1;2", "\x00", "1%00"]

NOT_AGENTS = ["agent_" + digits for digits in ("", "1" * 30, "1" * 33, "A" * 32, "g" * 32, "1" * 32 + "\n", "１" * 32)]
NOT_AGENTS += [" " + AGENT, AGENT.upper(), "1" * 32, "agent_01933b5a-0000-7000-8000-000000000001", "null "]


@pytest.mark.parametrize(
    ("query", "offset", "limit"),
    [
        ("", 0, 20),
        ("offset=0", 0, 20),
        ("offset=&limit=&agent_id=", 0, 20),
        ("offset=null&limit=null&agent_id=null", 0, 20),
        ("offset=2147483647", 2147483647, 20),
        ("limit=1", 0, 1),
        ("limit=100", 0, 100),
        ("limit=007&offset=0000000003", 3, 7),
        ("agent_id=agent_" + "f" * 32, 0, 20),
    ],
)
def test_accepted_values_are_in_force(memory_service: Service, query: str, offset: int, limit: int) -> None:
    response = memory_service.get(query)
    assert (response.status, response.body) == (200, {"data": [], "total": 0, "offset": offset, "limit": limit})


@pytest.mark.parametrize("agent_id", [AGENT, OTHER_AGENT])
def test_agent_ids_of_31_and_32_digits_filter(memory_service: Service, agent_id: str) -> None:
    memory_service.put(session(1, agent_id=AGENT), session(2, agent_id=OTHER_AGENT))
    body = memory_service.get(f"agent_id={agent_id}").body
    assert ([each["agent_id"] for each in body["data"]], body["total"]) == ([agent_id], 1)


def unknown(name: str) -> str:
    return f"Unknown parameter {name!r}; the parameters are agent_id, offset, limit."


REFUSED = [
    *((f"offset={value}", OFFSET_MESSAGE) for value in (*NOT_NUMBERS, "2147483648", "9999999999")),
    *((f"limit={value}", LIMIT_MESSAGE) for value in (*NOT_NUMBERS, "0", "101", "2147483647")),
    *((f"agent_id={value}", AGENT_MESSAGE) for value in NOT_AGENTS),
    *(
        (f"{name}={value}&{name}={value}", f"{name} was given 2 times; give it at most once.")
        for name, value in (("limit", "5"), ("offset", ""), ("agent_id", "null"))
    ),
    *((f"{name}=1", unknown(name)) for name in ("agentId", "LIMIT", "cursor", "limit ", "status", "limit[]")),
    ("status=", unknown("status")),
    ("n" * 66 + "=1", unknown("n" * 64)),
]


@pytest.mark.parametrize(("query", "message"), REFUSED, ids=[query[:40] for query, _ in REFUSED])
def test_a_refused_value_is_a_400_that_says_why(memory_service: Service, query: str, message: str) -> None:
    response = memory_service.get(query)
    assert (response.status, response.body) == (400, {"error": {"code": "invalid_parameter", "message": message}})
