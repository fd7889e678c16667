"""What users can set: arguments, environment variables and their defaults.

``settings`` has a field for each and ``arguments`` a key; ``readers`` turn what is given into what
is meant, ``names`` say in messages what was given, ``effects`` refuse what would have none, and
``process`` reads what holds for the whole process.
"""

from energy_tracking.settings.arguments import SettingArguments
from energy_tracking.settings.settings import (
    SERVING_SETTINGS,
    Settings,
    add_settings,
    all_settings_rows,
    document_settings,
    name_setting,
)

__all__ = [
    "SERVING_SETTINGS",
    "SettingArguments",
    "Settings",
    "add_settings",
    "all_settings_rows",
    "document_settings",
    "name_setting",
]
