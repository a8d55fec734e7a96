"""Changes the shared package and the handlers in every small way, and looks which changes no test notices.

python -m tests.mutants [--sample N] [--of MODULE] [--workers N] [--as-before]

Prints each survivor, and fails unless enough are killed and every survivor is explained in `equivalent.toml`.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import tomllib
from collections import Counter
from pathlib import Path
from typing import Final

from tests.mutants import runner
from tests.mutants.mutations import Mutant, mutants

SHARE_KILLED: Final = 0.95

PACKAGE: Final = runner.ROOT / "layers/sessions"
PATHS: Final = tuple(
    path.relative_to(runner.ROOT)
    for path in (
        *(path for path in sorted(PACKAGE.rglob("*.py")) if path.stem != "cold_start"),
        *(runner.ROOT / f"functions/{name}/app.py" for name in ("list_sessions", "authorize", "count_sessions")),
    )
)
"""`check_release` stands alone, on Lambda's runtime; tests/release are its tests. `cold_start.py` is a table of modules
that are not imported, in Lambda alone; tests/shipped look at what is."""

EQUIVALENT: Final = Path(__file__).with_name("equivalent.toml")


Key = tuple[str, str, str]
"""Module, scope and change of a mutant: what it is called in `equivalent.toml`."""


def explanations() -> dict[Key, int]:
    """How many survivors of a name behave as the original does."""
    entries = tomllib.loads(EQUIVALENT.read_text())["mutant"]
    found = {(each["module"], each["scope"], each["change"]): each.get("times", 1) for each in entries}
    if len(found) < len(entries):
        sys.exit(f"{EQUIVALENT} explains a change twice.")
    return found


def key(mutant: Mutant) -> Key:
    """What a mutant is called in `equivalent.toml`."""
    short = str(mutant.path).removeprefix("layers/sessions/").removeprefix("functions/")
    return short, mutant.scope, f"{mutant.before} -> {mutant.after}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, default=1, help="one mutant in so many")
    parser.add_argument("--of", default="", help="only modules whose path contains this")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--as-before", action="store_true", help="code and tests are those of the run before")
    arguments = parser.parse_args()

    runner.preload()
    began = time.monotonic()
    reach = runner.measure(PATHS, runner.ROOT / "build/mutants/reach.json", is_fresh=not arguments.as_before)
    print(f"{len(reach.seconds)} tests, {time.monotonic() - began:.0f} s", flush=True)

    chosen = [mutant for path in PATHS if arguments.of in str(path) for mutant in mutants(path, arguments.sample)]
    if not runner.passes_unchanged(reach):
        said = runner.UNCHANGED_LOG.read_text()[-2000:]
        sys.exit(f"The tests fail on the code as it is when the quick ones come first:\n{said}")
    known = explanations()
    survivors = run(chosen, reach, arguments.workers)
    named = Counter(map(key, survivors))
    # One name too many may be another change of the same text, which nobody has explained.
    explained = [mutant for mutant in survivors if named[key(mutant)] <= known.get(key(mutant), 0)]
    killed = len(chosen) - len(survivors)
    for mutant in survivors:
        print(f"{'explained' if mutant in explained else 'SURVIVES '} {mutant}")
    share = killed / (len(chosen) - len(explained)) if len(chosen) > len(explained) else 1.0
    print(
        f"{len(chosen)} mutants tried, {killed} killed, {len(explained)} equivalent, "
        f"{len(survivors) - len(explained)} survive: {share:.1%} of those that differ killed, "
        f"{time.monotonic() - began:.0f} s"
    )
    return 0 if share >= SHARE_KILLED and len(survivors) == len(explained) else 1


def run(chosen: list[Mutant], reach: runner.Reach, workers: int) -> list[Mutant]:
    """The mutants among these that no test notices."""
    waiting, running, survivors = list(reversed(chosen)), {}, []
    done = 0
    while waiting or running:
        while waiting and len(running) < workers:
            mutant = waiting.pop()
            running[runner.start(mutant, reach.of(mutant), reach)] = mutant
        pid, status = os.wait()
        runner.stop(pid)
        mutant = running.pop(pid)
        done += 1
        # Tests that cannot even be collected notice the change as well.
        if os.waitstatus_to_exitcode(status) in (0, 5):
            survivors.append(mutant)
            print(f"  {mutant}", file=sys.stderr, flush=True)
        if done % 100 == 0:
            print(f"{done} of {len(chosen)}, {len(survivors)} survive", flush=True)
    return sorted(survivors, key=chosen.index)


if __name__ == "__main__":
    sys.exit(main())
