"""`GET /v1/sessions`: returns a page of sessions for an event of API Gateway."""

import os
import time
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.event_handler.middlewares import NextMiddleware

from sessions import responses
from sessions.caller import caller_organization, header_values
from sessions.client import create_client
from sessions.contract import page_request
from sessions.errors import ApiError, InternalError, MethodNotAllowed, NotFound
from sessions.observability import Observability
from sessions.paging.finder import SessionFinder

finder = SessionFinder(create_client(), os.environ["SESSIONS_TABLE"], os.environ["COUNTS_TABLE"])
observability = Observability()
cors = responses.cors_config(os.environ["CORS_ORIGINS"])
app = APIGatewayRestResolver(cors=cors)


@app.get(responses.PATH)
def list_sessions() -> Response[str]:
    """Return the requested page; every refusal is an exception."""
    event = app.current_event
    authorizer = event.request_context.authorizer.get_context()
    organization_id = caller_organization(authorizer, header_values(event, "X-Org-Id"))
    request = page_request(event.resolved_query_string_parameters)
    listing = finder.find(organization_id, request)
    response: Response[str] = responses.page_response(listing.page, request)
    observability.log_page(organization_id, request, listing, app.context["began"])
    return response


@app.not_found
def method_not_allowed(_: Exception) -> Response[str]:
    """Return status 405: the path exists, so it is the method that has no route."""
    return refuse(MethodNotAllowed())


def refuse(error: Exception) -> Response[str]:
    observability.log_error(error, app.context["began"])
    return responses.error_response(error if isinstance(error, ApiError) else InternalError())


app.exception_handler(Exception)(refuse)


def require_known_path(router: APIGatewayRestResolver, next_middleware: NextMiddleware) -> Response[str]:
    """Refuse any other path with status 404 before its method is checked, preflights (OPTIONS) included."""
    if router.current_event.path != responses.PATH:
        raise NotFound
    response: Response[str] = next_middleware(router)
    return response


app.use([require_known_path])


@observability.instrument
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    app.append_context(began=time.perf_counter())
    # With a custom domain, `path` may start with a base path; `resource` is the route that the gateway matched.
    response = app.resolve({**event, "path": event["resource"]}, context)
    return responses.with_common_headers(response, event["requestContext"]["requestId"], varies=cors is not None)
