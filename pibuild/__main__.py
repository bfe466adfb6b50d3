"""`python -m pibuild`."""

import sys

from pibuild.cli import main

sys.exit(main())
