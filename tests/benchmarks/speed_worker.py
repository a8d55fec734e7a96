"""One contender in a process of its own: imports a handler, calls it as told, and reports its times.

It runs on the runtime's Python with nothing on its path but the contender's folders. The first line on standard output
reports the start; then each line on standard input, `{"event": ..., "times": n}`, is answered by one line. The
handler's own output is dropped.
"""

import json
import os
import sys
import time


class Context:
    """The part of Lambda's context that the contenders read."""

    function_name = "list_sessions"
    function_version = "1"
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:list_sessions"
    memory_limit_in_mb = 512
    aws_request_id = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"


def main() -> None:
    folders, module = sys.argv[1].split(":"), sys.argv[2]
    sys.path[:0] = folders
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    def reply(times: int, began: tuple[float, float], response: object) -> None:
        wall, cpu = time.perf_counter() - began[0], time.process_time() - began[1]
        report = {"cpu_ms": cpu * 1000 / times, "wall_ms": wall * 1000 / times, "response": response}
        print(json.dumps(report), file=replies)

    event = json.loads(os.environ["FIRST_EVENT"])
    began = time.perf_counter(), time.process_time()
    handler = __import__(module).handler
    reply(1, began, handler(event, Context()))
    for line in sys.stdin:
        order = json.loads(line)
        began = time.perf_counter(), time.process_time()
        for _ in range(order["times"]):
            response = handler(order["event"], Context())
        reply(order["times"], began, response)


main()
