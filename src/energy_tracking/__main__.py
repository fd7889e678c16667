"""The command ``energy-tracking`` as ``python -m energy_tracking``."""

import sys

from energy_tracking.cli.main import main

sys.exit(main())
