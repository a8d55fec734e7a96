"""Keeps the counts from the stream of the sessions table: records in, the first one to deliver again out.

Powertools' batch processor hands over one record at a time; here sessions are counted together, many to a transaction.
"""

from sessions import cold_start  # must be first: it keeps out modules that nobody uses

# isort: split

from typing import Any

from aws_lambda_powertools.utilities.data_classes import DynamoDBStreamEvent

from sessions import client as dynamodb
from sessions import settings
from sessions.counting.transitions import after_changes, stream_changes
from sessions.counting.writer import TIME_LIMIT, CountWriter
from sessions.observability import Observability

environment = settings.read(settings.CountSettings)
counts = CountWriter(dynamodb.client(), environment.counts_table, time_limit=dynamodb.TimeLimit(TIME_LIMIT))
observability = Observability()
cold_start.finish()


@observability.instrument
def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Names the first record that could not be counted, or none.

    Lambda delivers everything from that record on again, which changes nothing for the sessions that were counted, and
    after the retries of `template.yaml` sends a pointer to it to the failure queue.
    """
    changes = stream_changes(DynamoDBStreamEvent(event).records)
    outcome = counts.apply({session_id: after_changes(each) for session_id, each in changes.by_session.items()})
    failed = outcome.failed | dict.fromkeys(changes.without_image.values(), "the record has no image")
    first = changes.first_to_repeat(outcome.failed)
    observability.write(
        "error" if failed or changes.invalid else "warning" if changes.uncounted else "info",
        "not all counted" if failed or changes.invalid else "counted",
        {
            "records": len(event["Records"]),
            "failed_sessions": failed,
            "invalid_records": changes.invalid,
            "uncounted": changes.uncounted,
        },
        {
            "SessionsCounted": len(changes.by_session) - len(outcome.failed),
            "Transactions": outcome.transactions,
            "Retries": outcome.retries,
            "FailedRecords": sum(len(changes.by_session[each]) for each in outcome.failed) + len(changes.without_image),
            "InvalidRecords": len(changes.invalid),
        },
    )
    return {"batchItemFailures": [] if first is None else [{"itemIdentifier": first}]}
