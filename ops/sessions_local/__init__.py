"""The API on one machine: the handlers behind an HTTP front, on an embedded DynamoDB."""
