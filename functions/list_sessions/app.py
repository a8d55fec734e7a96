"""`GET /v1/sessions`: an API Gateway event in, a page of sessions out."""

import gc

gc.disable()  # nothing that imports make is garbage, and looking for it takes a twelfth of a cold start

from typing import Any

from pydantic_core import from_json

from sessions import dynamodb, http, settings
from sessions.contract import page_request
from sessions.identity import organization_of
from sessions.observability import RequestLog
from sessions.paging import Pages

environment = settings.read(settings.ListSettings)
pages = Pages(dynamodb.client(from_json), environment.sessions_table, environment.counts_table)
origins = http.Origins(environment.cors_origins)
log = RequestLog()
gc.enable()


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """The answer to a REST proxy event, whatever happens."""
    log.begin(http.request_id(event))
    return http.respond(event, origins, get=list_sessions, refused=log.refused)


def list_sessions(event: http.Event) -> http.Answer:
    """200 with the page that the caller asks for; every refusal is an exception."""
    organization_id = organization_of(event)
    request = page_request(http.query_of(event))
    listed = pages.page(organization_id, request)
    answer = http.page_answer(listed.page, request)
    log.listed(organization_id, request, listed)
    return answer
