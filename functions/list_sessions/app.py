"""`GET /v1/sessions`: an API Gateway event in, a page of sessions out."""

from sessions import cold_start  # must be first: it keeps out modules that nobody uses

# isort: split

from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.event_handler.middlewares import NextMiddleware

from sessions import client as dynamodb
from sessions import responses, settings
from sessions.api_keys import caller_organization
from sessions.contract import page_request
from sessions.errors import ApiError, InternalError, MethodNotAllowed, NotFound
from sessions.events import header_values
from sessions.observability import Observability, RequestLog
from sessions.paging.finder import Pages

environment = settings.read(settings.ListSettings)
pages = Pages(dynamodb.client(), environment.sessions_table, environment.counts_table)
observability = Observability()
cors = responses.cors_config(environment.cors_origins)
app = APIGatewayRestResolver(cors=cors)


@app.get(responses.PATH)
def list_sessions() -> Response[str]:
    """200 with the page that the caller asks for; every refusal is an exception."""
    event = app.current_event
    authorizer = event.request_context.authorizer.get_context()
    organization_id = caller_organization(authorizer, header_values(event, "X-Org-Id"))
    request = page_request(event.resolved_query_string_parameters)
    result = pages.page(organization_id, request)
    response = responses.page_response(result.page, request)
    app.context["log"].listed(organization_id, request, result)
    return response


@app.not_found
def method_not_allowed(_: Exception) -> Response[str]:
    """405: Powertools found no route, and `known_path` has checked the path, so it is the method."""
    return refuse(MethodNotAllowed())


def refuse(error: Exception) -> Response[str]:
    """The response to a request that ended in an exception; of our own faults it says nothing."""
    app.context["log"].refused(error)
    return responses.error_response(error if isinstance(error, ApiError) else InternalError())


app.exception_handler(Exception)(refuse)


def known_path(router: APIGatewayRestResolver, next_middleware: NextMiddleware) -> Response[str]:
    """404 for another path, before the method is looked at: for a preflight (OPTIONS) there, too."""
    if router.current_event.path != responses.PATH:
        raise NotFound
    response: Response[str] = next_middleware(router)
    return response


app.use([known_path])


@observability.instrument
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """The response to a REST proxy event, whatever happens."""
    app.append_context(log=RequestLog(observability))
    # The route that the gateway matched: with a custom domain, `path` may begin with a base path.
    response = app.resolve({**event, "path": event["resource"]}, context)
    return responses.with_common_headers(response, event, varies=cors is not None)


cold_start.finish()
