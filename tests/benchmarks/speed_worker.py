"""One contender in a process of its own: imports a handler, calls it as told, reports its times.

Runs on the runtime's Python with nothing on its path but the contender's own folders. The first line on
standard output reports the start; then each line on standard input, `{"event": ..., "times": n}`, is answered
by one line. What the handler itself prints goes nowhere.
"""

import sys
import time

BEGAN = time.perf_counter(), time.process_time()
KNOWN = frozenset(sys.modules)


class Context:
    """What Lambda passes to a handler, as far as the contenders look."""

    function_name = "list_sessions"
    function_version = "1"
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:list_sessions"
    memory_limit_in_mb = 512
    aws_request_id = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"


def main() -> None:
    folders, module = sys.argv[1].split(":"), sys.argv[2]
    sys.path[:0] = folders
    import json
    import os

    event = json.loads(os.environ["FIRST_EVENT"])
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    imported = time.perf_counter(), time.process_time()
    handler = __import__(module).handler
    ready = time.perf_counter(), time.process_time()
    response = handler(event, Context())
    responded = time.perf_counter(), time.process_time()
    report = {
        "import_ms": [(after - before) * 1000 for before, after in zip(imported, ready, strict=True)],
        "first_ms": [(after - before) * 1000 for before, after in zip(ready, responded, strict=True)],
        "response": response,
        "python": sys.version.split()[0],
        "modules": len(sys.modules.keys() - KNOWN),
    }
    print(json.dumps(report), file=replies)
    for line in sys.stdin:
        order = json.loads(line)
        began = time.process_time()
        for _ in range(order["times"]):
            response = handler(order["event"], Context())
        cpu_ms = (time.process_time() - began) * 1000 / order["times"]
        print(json.dumps({"cpu_ms": cpu_ms, "response": response}), file=replies)


main()
