"""What `make run` starts; in a file of its own, since importing takes a moment in which people press Ctrl-C as well."""

import sys

try:
    from ops.local.server import main

    sys.exit(main())
except KeyboardInterrupt:
    sys.exit(0)
