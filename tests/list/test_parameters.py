"""What the query parameters accept and refuse (section 1 of the contract), through the handler."""

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
    "NULL",
    "none",
    " ",
]
NOT_NUMBERS += ["1" * 11, "0" * 11, "9" * 5000, "1,2", "[1]", '"1"', "1;2", "\x00", "1%00"]


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
    ],
)
def test_accepted_values_are_in_force(service: Service, query: str, offset: int, limit: int) -> None:
    response = service.get(query)
    assert response.status == 200
    assert response.body == {"data": [], "total": 0, "offset": offset, "limit": limit}


@pytest.mark.parametrize("value", [*NOT_NUMBERS, "2147483648", "9999999999"])
def test_an_offset_that_is_not_an_int32_in_plain_digits_is_refused(service: Service, value: str) -> None:
    assert_refused(service, f"offset={value}", OFFSET_MESSAGE)


@pytest.mark.parametrize("value", [*NOT_NUMBERS, "0", "101", "2147483647"])
def test_limits_outside_1_to_100_are_refused(service: Service, value: str) -> None:
    assert_refused(service, f"limit={value}", LIMIT_MESSAGE)


@pytest.mark.parametrize(
    "value",
    [
        "agent_" + "1" * 30,
        "agent_" + "1" * 33,
        "agent_" + "A" * 32,
        "agent_" + "g" * 32,
        "agent_" + "1" * 32 + "\n",
        " agent_" + "1" * 32,
        "AGENT_" + "1" * 32,
        "1" * 32,
        "agent_",
        "agent_" + "１" * 32,
        "agent_01933b5a-0000-7000-8000-000000000001",
        "null ",
    ],
)
def test_agent_ids_of_another_form_are_refused(service: Service, value: str) -> None:
    assert_refused(service, f"agent_id={value}", AGENT_MESSAGE)


@pytest.mark.parametrize("agent_id", [AGENT, OTHER_AGENT])
def test_agent_ids_of_31_and_32_digits_are_both_real(service: Service, agent_id: str) -> None:
    service.put(session(1, agent_id=AGENT), session(2, agent_id=OTHER_AGENT))
    service.drain()
    response = service.get(f"agent_id={agent_id}")
    assert [entry["agent_id"] for entry in response.body["data"]] == [agent_id]
    assert response.body["total"] == 1


def test_an_agent_that_the_organization_does_not_have_has_an_empty_page(service: Service) -> None:
    service.put(session(1))
    service.drain()
    response = service.get("agent_id=agent_" + "f" * 32)
    assert response.status == 200
    assert response.body == {"data": [], "total": 0, "offset": 0, "limit": 20}


@pytest.mark.parametrize("query", ["limit=5&limit=5", "offset=&offset=1", "agent_id=null&agent_id=null"])
def test_a_parameter_given_twice_is_refused(service: Service, query: str) -> None:
    name = query.split("=")[0]
    assert_refused(service, query, f"{name} was given 2 times; it is given once or not at all.")


@pytest.mark.parametrize("name", ["agentId", "LIMIT", "cursor", "limit ", "status", "limit[]"])
def test_a_parameter_that_does_not_exist_is_refused_with_a_list_of_those_that_do(service: Service, name: str) -> None:
    assert_refused(service, f"{name}=1", f"There is no parameter {name!r}; there are agent_id, offset, limit.")


def test_of_a_long_name_of_a_parameter_64_characters_are_repeated(service: Service) -> None:
    name = "n" * 64
    assert_refused(service, f"{name}XX=1", f"There is no parameter {name!r}; there are agent_id, offset, limit.")


def test_an_unknown_parameter_is_refused_even_without_a_value(service: Service) -> None:
    assert_refused(service, "status=", "There is no parameter 'status'; there are agent_id, offset, limit.")


def assert_refused(service: Service, query: str, message: str) -> None:
    response = service.get(query)
    assert response.status == 400
    assert response.body == {"error": {"code": "invalid_parameter", "message": message}}
    assert response.headers["Content-Type"] == "application/json"
