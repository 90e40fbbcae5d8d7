"""`python -m semquery` is `semquery`."""

import sys

from semquery.cli import main

sys.exit(main())
