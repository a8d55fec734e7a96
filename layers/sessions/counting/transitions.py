"""What a marker becomes: pure functions over stream records and markers.

A session is counted where an index holds it: in the partition of `organization_id`, in that of `organization_agent`,
and in both under its month, day and ten minutes. What was counted for a session is written down in a row of its own,
the marker, as the very keys that were counted. Every transaction changes markers and count rows together, on the
condition that the markers still are what they were when they were read. So at any moment, whatever was repeated, lost
or crashed before, each bin is the number of markers that say so; all that is left to the callers is to bring every
marker to its session.

    record          marker            becomes
    INSERT          equal             unchanged
    INSERT          none, or another  the new image's keys
    REMOVE          equal             none
    REMOVE          none, or another  unchanged
    the session as it is now          the session's keys, or none

A marker that said only 'counted' would be wrong for good when put, delete, put of one id is delivered twice with other
keys: it could not tell which of the two puts it stands for.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sessions.schema import ID, IndexKeys, index_keys

INSERT: Final = "INSERT"
REMOVE: Final = "REMOVE"

Marker = IndexKeys | None
"""What is counted for a session; None for nothing."""

Transition = Callable[[Marker], Marker]
"""What the marker of a session becomes, given what it is."""


class MarkerUpdate(NamedTuple):
    """One session's marker as it was read, and as it is to be."""

    before: Marker
    after: Marker


class StreamChange(NamedTuple):
    """A record of the stream that matters for counting."""

    inserted: bool
    keys: Marker
    sequence_number: str


class StreamChanges(NamedTuple):
    """What a batch of stream records says."""

    by_session: dict[str, list[StreamChange]]
    """Changes of every session, sessions in the order of their first record."""
    without_image: dict[str, str]
    """Sessions whose record lacks its image, as if the stream had another view type, by the record's sequence number.
    What is to be counted for them is known only from the sessions table."""
    invalid: list[str]
    """What is wrong with each record that cannot be one of the sessions table, beginning with its event id."""

    @property
    def uncounted(self) -> list[str]:
        """Sessions that were inserted without the keys of an index: no index holds them, and nothing counts them."""
        return [each for each, changes in self.by_session.items() if changes[-1].inserted and changes[-1].keys is None]

    def first_to_repeat(self, failed: Container[str]) -> str | None:
        """The sequence number of the first record that must be delivered again, or None.

        Args:
            failed: sessions that could not be counted.
        """
        numbers = [changes[0].sequence_number for each, changes in self.by_session.items() if each in failed]
        return min([*numbers, *self.without_image], key=int, default=None)


def stream_changes(records: Iterable[Mapping[str, Any]]) -> StreamChanges:
    """The changes of every session in a batch of stream records; a record that cannot be read spoils no other one.

    Records of another kind are left out: the keys of a session never change after its creation.

    Args:
        records: as Lambda delivers them ('Using AWS Lambda with Amazon DynamoDB').
    """
    found = StreamChanges({}, {}, [])
    for record in records:
        try:
            kind, stream = record["eventName"], record["dynamodb"]
            if kind not in (INSERT, REMOVE):
                continue
            session_id = _sendable(stream["Keys"][ID]["S"])
            sequence_number = _sendable(stream["SequenceNumber"])
            int(sequence_number)
            image = stream.get("NewImage" if kind == INSERT else "OldImage")
            if image is None:
                found.without_image[sequence_number] = session_id
                continue
            keys = index_keys(session_id, image)
            for key in filter(None, keys or ()):
                _sendable(key)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            found.invalid.append(f"{_event_id(record)}: {type(error).__name__}: {error}")
        else:
            change = StreamChange(kind == INSERT, keys, sequence_number)
            found.by_session.setdefault(session_id, []).append(change)
    return found


def _sendable(text: object) -> str:
    """The same string.

    Raises:
        TypeError: it is not a string.
        ValueError: it has a lone surrogate, which no request can carry.
    """
    if not isinstance(text, str):
        raise TypeError(f"{type(text).__name__} instead of a string")
    text.encode()
    return text


def _event_id(record: Mapping[str, Any]) -> str:
    try:
        return str(record["eventID"])[:64]
    except (KeyError, TypeError):  # not even an object
        return "None"


def after_changes(changes: Sequence[StreamChange]) -> Transition:
    """What a marker becomes by changes, one after another."""

    def transition(marker: Marker) -> Marker:
        for change in changes:
            if change.inserted:
                marker = change.keys
            elif change.keys == marker:
                marker = None
        return marker

    return transition


def as_observed(keys: Marker) -> Transition:
    """What a marker becomes by a look at its session."""
    return lambda _: keys
