"""Names of buckets and their order, for any text that a writer may have put into a sort key."""

from hypothesis import given
from hypothesis import strategies as st

from sessions.buckets import LAST_CHARACTER, after, buckets_of

texts = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(["\ud7ff", "\ue000", LAST_CHARACTER]))


@given(prefix=texts.filter(lambda text: text.strip(LAST_CHARACTER) != ""), rest=texts)
def test_what_begins_with_a_prefix_lies_below_the_text_after_it_and_all_above_it_does_not(
    prefix: str, rest: str
) -> None:
    bound = after(prefix).encode()  # DynamoDB compares bytes
    assert prefix.encode() <= (prefix + rest).encode() < bound
    if rest.encode() >= prefix.encode() and not rest.startswith(prefix):
        assert rest.encode() >= bound


def test_an_entry_is_counted_by_month_hour_and_minute() -> None:
    assert buckets_of("2026-11-23T16:41:46.463925Z#session_1") == ("M2026-11", "H2026-11-23T16", "N2026-11-23T16:41")
