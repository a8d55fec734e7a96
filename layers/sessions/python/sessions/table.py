"""The sessions table: Query on its two indexes, walks by cursor, and items as Sessions."""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, Final, NamedTuple

from pydantic_core import ValidationError

from sessions.contract import Session, session_of
from sessions.dynamodb import Item, Reader
from sessions.errors import PageTooLarge

BY_ORGANIZATION: Final = "by_organization"
BY_ORGANIZATION_AGENT: Final = "by_organization_agent"

ORGANIZATION_AGENT: Final = "organization_agent"
PARTITION_KEY: Final = {BY_ORGANIZATION: "organization_id", BY_ORGANIZATION_AGENT: ORGANIZATION_AGENT}
SORT_KEY: Final = "created_at_id"

FAR: Final = 200
"""Entries: a longer skip is counted by DynamoDB and not transferred, for one more round trip."""

TAKEN_PAGES: Final = 16
"""Cursor pages of 1 MB that entries are taken from. An entry is little smaller as JSON than it is stored, so
more can never fit into an answer of 6 MB, and would only fill the function's memory."""

NUMBER_DIGITS: Final = 38
"""Precision of DynamoDB's numbers ('Supported data types and naming rules in DynamoDB')."""


class Broken(NamedTuple):
    """An entry that is in the index and is not a Session."""

    id: str
    reason: str


class Listing(NamedTuple):
    """The sessions of an organization, or of one of its agents: one partition of one index."""

    organization_id: str
    agent_id: str | None

    @property
    def index_name(self) -> str:
        return BY_ORGANIZATION if self.agent_id is None else BY_ORGANIZATION_AGENT

    @property
    def scope(self) -> str:
        """The partition key in the index, and the scope of the count rows."""
        return self.organization_id if self.agent_id is None else f"{self.organization_id}#{self.agent_id}"


class Stretch(NamedTuple):
    """Entries that a walk returned, in the order it went, and whether it met the end of the index."""

    items: list[Item]
    skipped: int
    at_end: bool

    @property
    def seen(self) -> int:
        """How many entries the walk passed, returned ones included."""
        return self.skipped + len(self.items)


class Sessions:
    """One listing of the sessions table, read with one Reader."""

    def __init__(self, table: str, listing: Listing) -> None:
        self._table = table
        self._listing = listing

    def older(self, reader: Reader, below: str | None, skip: int, take: int) -> Stretch:
        """Entries from newest to oldest.

        Args:
            below: the sort key that all entries are older than; None starts at the newest entry.
            skip: entries to pass over.
            take: entries to return at most.
        """
        condition = "" if below is None else f"{SORT_KEY} < :bound"
        return self._walk(reader, self._query(descending=True, condition=condition, bound=below), skip, take)

    def newer(self, reader: Reader, start: str, skip: int, take: int) -> Stretch:
        """Entries from oldest to newest, beginning with the first whose sort key is `start` or above it."""
        query = self._query(descending=False, condition=f"{SORT_KEY} >= :bound", bound=start)
        return self._walk(reader, query, skip, take)

    def count(self, reader: Reader, pages: int) -> int | None:
        """How many entries the listing has, counted one by one; None when `pages` cursor pages do not suffice."""
        query = self._query(descending=True) | {"Select": "COUNT"}
        counted: int = 0
        for _ in range(pages):
            page = reader.query(**query)
            counted += page["Count"]
            if "LastEvaluatedKey" not in page:
                return counted
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]
        return None

    def sessions(self, items: Iterable[Item]) -> tuple[list[Session], list[Broken]]:
        """The items that are Sessions, and what is wrong with the others."""
        sessions: list[Session] = []
        broken: list[Broken] = []
        for item in items:
            entry = plain_map(item)
            try:
                session = session_of(entry)
                self._check_keys(session, entry)
            except ValidationError as error:
                fields = (".".join(map(str, fault["loc"])) or fault["type"] for fault in error.errors())
                broken.append(Broken(str(entry.get("id")), "not valid: " + ", ".join(fields)))
            except ValueError as error:
                broken.append(Broken(str(entry.get("id")), str(error)))
            else:
                sessions.append(session)
        return sessions, broken

    def _check_keys(self, session: Session, entry: dict[str, Any]) -> None:
        # Keys that contradict the fields would list an entry in another's place, or another's list.
        if entry[SORT_KEY] != f"{session['created_at']}#{session['id']}":
            raise ValueError(f"{SORT_KEY} contradicts created_at and id")
        composed = f"{session['organization_id']}#{session['agent_id']}"
        if entry.get(ORGANIZATION_AGENT, composed) != composed:
            raise ValueError(f"{ORGANIZATION_AGENT} contradicts organization_id and agent_id")

    def _walk(self, reader: Reader, query: dict[str, Any], skip: int, take: int) -> Stretch:
        skipped = 0
        while skip - skipped > FAR:
            page = reader.query(**query, Select="COUNT", Limit=skip - skipped)
            skipped += page["Count"]
            if "LastEvaluatedKey" not in page:
                return Stretch([], skipped, at_end=True)
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]
        items: list[Item] = []
        taken_pages = 0
        while True:
            page = reader.query(**query, Limit=skip - skipped + take - len(items))
            passed = min(skip - skipped, len(page["Items"]))
            skipped += passed
            items += page["Items"][passed:]
            taken_pages += bool(page["Items"][passed:])
            if taken_pages > TAKEN_PAGES:
                raise PageTooLarge
            if "LastEvaluatedKey" not in page:
                return Stretch(items, skipped, at_end=True)
            if len(items) == take:
                return Stretch(items, skipped, at_end=False)
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def _query(self, *, descending: bool, condition: str = "", bound: str | None = None) -> dict[str, Any]:
        partition_key, scope = PARTITION_KEY[self._listing.index_name], self._listing.scope
        values = {":scope": {"S": scope}} | ({} if bound is None else {":bound": {"S": bound}})
        return {
            "TableName": self._table,
            "IndexName": self._listing.index_name,
            "KeyConditionExpression": f"{partition_key} = :scope" + (f" AND {condition}" if condition else ""),
            "ExpressionAttributeValues": values,
            "ScanIndexForward": not descending,
        }


def plain_map(attributes: Item) -> dict[str, Any]:
    """An item, or a map within one, as JSON has it."""
    # Most values are texts, and a call for each of them would cost more than all the rest.
    return {name: value["S"] if "S" in value else plain(value) for name, value in attributes.items()}


def plain(value: dict[str, Any]) -> Any:
    """An attribute value of DynamoDB as JSON has it; sets become lists, binary values the base64 text that they were.

    Integers of up to 38 digits stay exact, other numbers become floats.
    """
    ((kind, content),) = value.items()
    return _PLAIN[kind](content)


def _number(text: str) -> int | float:
    digits = text.removeprefix("-")
    if digits.isdigit() and len(digits) <= NUMBER_DIGITS:
        return int(text)
    number = Decimal(text)  # engines that do not normalise return '1E+3' or '5.0' as they got it
    if number == number.to_integral_value() and number.adjusted() < NUMBER_DIGITS:
        return int(number)
    return float(text)


def _as_it_is(content: Any) -> Any:
    return content


_PLAIN: Final[dict[str, Callable[[Any], Any]]] = {
    "S": _as_it_is,
    "N": _number,
    "BOOL": _as_it_is,
    "NULL": lambda _: None,
    "M": plain_map,
    "L": lambda content: [value["S"] if "S" in value else plain(value) for value in content],
    "SS": _as_it_is,
    "NS": lambda content: [_number(number) for number in content],
    "B": _as_it_is,
    "BS": _as_it_is,
}
"""How each type of attribute reads ('Data types' in the DynamoDB developer guide)."""
