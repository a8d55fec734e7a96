"""Raw events: nobody is let in, nothing of another organization shows, nothing crashes that a caller could reach."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hostile import fuzz

# At the desk a few times as many as of other properties: an example takes a millisecond.
EXAMPLES = settings().max_examples * 10
many = settings(max_examples=EXAMPLES)


@many
@given(event=fuzz.list_events())
def test_what_a_caller_can_make_the_gateway_send_gets_a_response_of_the_contract(event: dict[str, Any]) -> None:
    with fuzz.functions():
        response, _ = fuzz.call("list_sessions", event)
    fuzz.check_list_response(event, response, by_gateway=True)


@many
@given(event=fuzz.changed(fuzz.example("list_deep_page")) | fuzz.junk)
def test_no_other_event_shows_anything_of_another_organization(event: Any) -> None:
    with fuzz.functions():
        response, _ = fuzz.call("list_sessions", event)
    fuzz.check_list_response(event, response, by_gateway=False)


@many
@given(event=fuzz.authorizer_events())
def test_only_a_live_key_in_its_header_is_let_in(event: dict[str, Any]) -> None:
    with fuzz.functions():
        policy, _ = fuzz.call("authorize", event)
    fuzz.check_policy(event, policy, by_gateway=True)


@many
@given(event=fuzz.changed(fuzz.example("authorize")) | fuzz.junk)
def test_no_other_event_lets_anybody_in(event: Any) -> None:
    with fuzz.functions():
        policy, _ = fuzz.call("authorize", event)
    fuzz.check_policy(event, policy, by_gateway=False)


@many
@given(hostile=st.lists(fuzz.stream_records, min_size=1, max_size=6))
def test_no_record_of_a_batch_keeps_the_others_from_being_counted(hostile: list[Any]) -> None:
    with fuzz.functions() as memory:
        batch, items = fuzz.records(hostile)
        response, _ = fuzz.call("count_sessions", {"Records": batch})
        fuzz.check_counted(memory, items, response)
