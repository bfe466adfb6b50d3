"""`python -m pibuild`."""

import sys

from pibuild.commands.main import main

sys.exit(main())
