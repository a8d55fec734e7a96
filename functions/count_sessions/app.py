"""Keeps the counts from the stream of the sessions table: records in, the first one to deliver again out."""

from typing import Any

from sessions import dynamodb, settings
from sessions.counting import Counting, after, changes_of
from sessions.observability import write

environment = settings.read(settings.CountSettings)
counting = Counting(dynamodb.client(), environment.counts_table)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Names the first record of the first session that could not be counted, or none.

    Lambda delivers everything from that record on again, which changes nothing for the sessions that
    were counted, and after the retries of `template.yaml` sends a pointer to it to the failure queue.
    """
    changes = changes_of(event["Records"])
    outcome = counting.count({session_id: after(each) for session_id, each in changes.items()})
    failed = [session_id for session_id in changes if session_id in outcome.failed]
    uncounted = [session_id for session_id, each in changes.items() if each[-1].inserted and each[-1].keys is None]
    write(
        "count_sessions",
        "ERROR" if failed else "WARNING" if uncounted else "INFO",
        "not all counted" if failed else "counted",
        {
            "request_id": getattr(context, "aws_request_id", None),
            "records": len(event["Records"]),
            "failed_sessions": outcome.failed,
            "uncounted": uncounted,  # their writer left out the keys of the indexes
        },
        {
            "SessionsCounted": len(changes) - len(failed),
            "Transactions": outcome.transactions,
            "Retries": outcome.retries,
            "FailedRecords": sum(len(changes[session_id]) for session_id in failed),
        },
    )
    return {"batchItemFailures": [{"itemIdentifier": changes[failed[0]][0].sequence_number}] if failed else []}
