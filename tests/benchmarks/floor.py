"""The bare floor: one signed Query over a kept-alive connection, its body parsed once and written once.

What no implementation can do without, and nothing more: no model, no check, no total, no log.
"""

import hashlib
import hmac
import os
import time
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from pydantic_core import from_json, to_json

REGION = os.environ["AWS_REGION"]
ENDPOINT = urlsplit(os.environ["AWS_ENDPOINT_URL_DYNAMODB"])
HOST = f"{ENDPOINT.hostname}:{ENDPOINT.port}"
TARGET = "DynamoDB_20120810.Query"
SIGNED = "content-type;host;x-amz-date;x-amz-target"

connection = HTTPConnection(HOST)


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    given = event["multiValueQueryStringParameters"]
    query = {
        "TableName": os.environ["SESSIONS_TABLE"],
        "IndexName": "by_organization",
        "KeyConditionExpression": "organization_id = :scope",
        "ExpressionAttributeValues": {":scope": {"S": event["requestContext"]["authorizer"]["organization_id"]}},
        "ScanIndexForward": False,
        "Limit": int(given["limit"][0]),
    }
    body = to_json(query)
    connection.request("POST", "/", body, signed(body))
    response = from_json(connection.getresponse().read())
    return {"statusCode": 200, "body": to_json({"data": response["Items"]}).decode()}


def signed(body: bytes) -> dict[str, str]:
    """Headers with Signature Version 4 ('Create a signed AWS API request')."""
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    scope = f"{now[:8]}/{REGION}/dynamodb/aws4_request"
    headers = {
        "content-type": "application/x-amz-json-1.0",
        "host": HOST,
        "x-amz-date": now,
        "x-amz-target": TARGET,
    }
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    canonical = f"POST\n/\n\n{lines}\n{SIGNED}\n{hashlib.sha256(body).hexdigest()}"
    text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = ("AWS4" + os.environ["AWS_SECRET_ACCESS_KEY"]).encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    credential = f"Credential={os.environ['AWS_ACCESS_KEY_ID']}/{scope}"
    signature = hmac.new(key, text.encode(), "sha256").hexdigest()
    return headers | {"authorization": f"AWS4-HMAC-SHA256 {credential}, SignedHeaders={SIGNED}, Signature={signature}"}
