"""Entry point of `make run`. Ctrl-C and TERM end it at once, even while it imports, loads or counts."""

import os
import signal
import sys
import threading

ENDING = {signal.SIGINT, signal.SIGTERM}


def end_on_signal() -> None:
    """End the process without waiting for anything: its data is in memory, or safe in another engine."""
    signal.sigwait(ENDING)
    if sys.stderr.isatty():
        os.write(2, b"\x1b[?25h")  # the cursor, which a progress bar hides
    os._exit(0)


if __name__ == "__main__":
    # Signal handlers would not do: Python runs them in the main thread alone, which may be blocked while the kernel
    # hands the signal to another thread.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    threading.Thread(target=end_on_signal, name="signals", daemon=True).start()
    from sessions_local.start import main

    sys.exit(main())
