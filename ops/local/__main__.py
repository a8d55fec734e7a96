"""What `make run` starts. Ctrl-C and TERM end it at once, also while it still imports, loads or counts."""

import os
import signal
import sys


def end_at_once(*_: object) -> None:
    """Ends the process without waiting for anything: its data is in memory, or safe in another engine."""
    if sys.stderr.isatty():
        os.write(2, b"\x1b[?25h")  # the cursor, which a progress bar hides
    os._exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, end_at_once)
    signal.signal(signal.SIGTERM, end_at_once)
    from ops.local.server import main

    sys.exit(main())
