"""What the package says, spelt out once: codes, messages, headers, limits and names that others rely on."""

from __future__ import annotations

import json

from sessions import api_keys, contract, errors, response_checks, responses, schema, settings
from sessions import attributes as items
from sessions import client as dynamodb
from sessions.counting import transitions
from sessions.counting import writer as transactions
from sessions.paging import finder as page
from sessions.paging import index, locate
from sessions_cli.items import item_of
from sessions_local import openapi_document as openapi
from tests.service import session


def test_every_error_has_its_status_code_message_and_headers() -> None:
    said = {
        error.code: (error.status, error.message, dict(error.headers), error.is_fault)
        for error in errors.ApiError.__subclasses__()
    }
    assert said == {
        "invalid_parameter": (400, "A query parameter is not valid.", {}, False),
        "unauthorized": (401, "The API key is missing, unknown, expired or revoked.", {}, False),
        "forbidden": (403, "X-Org-Id names an organization that this API key does not belong to.", {}, False),
        "not_found": (404, "There is nothing here; the list of sessions is at /v1/sessions.", {}, False),
        "method_not_allowed": (405, "/v1/sessions supports only GET.", {"Allow": "GET"}, False),
        "page_too_large": (
            500,
            "The page would exceed the largest possible response (6 MB); ask again with a lower limit.",
            {},
            True,
        ),
        "internal_error": (500, "Internal server error", {}, True),
        "unavailable": (
            503,
            "The service is busy or cannot be reached; try again shortly.",
            {"Retry-After": "1"},
            True,
        ),
    }
    assert str(errors.Forbidden()) == errors.Forbidden.message
    assert str(errors.Forbidden("another")) == "another"


def test_limits_are_those_that_their_comments_derive() -> None:
    assert (dynamodb.CONNECT_TIMEOUT, dynamodb.READ_TIMEOUT, dynamodb.ATTEMPTS) == (1.0, 3.0, 2)
    assert (dynamodb.DEADLINE, dynamodb.TIME_LIMIT, dynamodb.THREADS, dynamodb.BATCH_GET_KEYS) == (10.0, 15.0, 32, 100)
    assert (transactions.ACTIONS, transactions.TRIES) == (100, 30)
    assert (transactions.PAUSE, transactions.PAUSE_MOST) == (0.05, 0.25)
    assert (transactions.DEADLINE, transactions.TIME_LIMIT, transactions.OUT_OF_TIME) == (40.0, 52.0, "out of time")
    assert (index.TRANSFERRED_SKIP, index.PAGE_READS, page.UNCOUNTED_PAGES, locate.NEAR) == (600, 16, 10, 30)
    assert (responses.RESPONSE_BYTES_MAX, responses.ENVELOPE_BYTES, responses.PREFLIGHT_SECONDS) == (
        6_291_556,
        4_096,
        600,
    )
    assert (contract.INT32_MAX, contract.LIMIT_MAX, contract.LIMIT_DEFAULT) == (2_147_483_647, 100, 20)
    assert (items.NUMBER_DIGITS, schema.PARTITION_KEY_BYTES, response_checks.RETRY_DELAY) == (38, 2048, 0.05)


def test_names_are_those_that_writers_in_other_languages_use() -> None:
    assert (schema.ID, schema.ORGANIZATION_ID, schema.AGENT_ID, schema.CREATED_AT) == (
        "id",
        "organization_id",
        "agent_id",
        "created_at",
    )
    assert (schema.ORGANIZATION_AGENT, schema.CREATED_AT_ID, schema.SEPARATOR) == (
        "organization_agent",
        "created_at_id",
        "#",
    )
    assert (schema.SCOPE, schema.BUCKET, schema.MARKER_BUCKET, schema.MARKER_PREFIX) == (
        "scope",
        "bucket",
        "S",
        "session#",
    )
    assert (schema.KEY_HASH, schema.KEY_NAME, schema.EXPIRES_AT) == ("key_hash", "name", "expires_at")
    assert (schema.BY_ORGANIZATION, schema.BY_ORGANIZATION_AGENT) == (
        ("by_organization", "organization_id"),
        ("by_organization_agent", "organization_agent"),
    )
    assert (transitions.INSERT, transitions.REMOVE) == ("INSERT", "REMOVE")
    assert api_keys.DENIALS == ("no_key", "malformed", "unknown", "expired")
    assert settings.NO_STACK == "undefined"


def test_transient_codes_and_reasons_are_those_of_dynamodbs_documentation() -> None:
    assert {
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
        "TransactionConflictException",
        "TransactionInProgressException",
    } == dynamodb._TRANSIENT
    assert {
        "ConditionalCheckFailed",
        "ProvisionedThroughputExceeded",
        "ThrottlingError",
        "TransactionConflict",
    } == transactions._RETRYABLE


def test_an_invalid_item_is_named_with_every_field_that_is_not_valid() -> None:
    item = item_of(session(1)) | {"status": {"S": "x"}, "tags": {"L": [{"N": "1"}]}, "usage": {"M": {}}}
    _, invalid = page.read_sessions([item])
    fields = "status, tags.0, usage.input_tokens, usage.output_tokens"
    assert invalid == [(session(1)["id"], f"not valid: {fields}")]


def test_the_openapi_document_says_what_the_contract_says() -> None:
    assert json.loads(openapi.FILE.read_text()) == openapi.document()


def test_ids_are_formed_as_the_contract_says() -> None:
    patterns = {
        "id": "^session_[0-9a-f]{1,64}$",
        "organization_id": "^org_[0-9a-f]{1,64}$",
        "agent_id": "^agent_[0-9a-f]{1,64}$",
        "model_id": "^model_[0-9a-f]{1,64}$",
    }
    assert patterns == contract.ID_PATTERNS
