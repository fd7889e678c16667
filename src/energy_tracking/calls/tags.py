"""Tags of sessions and of logged calls: which names and values they may have."""

from __future__ import annotations

import re
from collections.abc import Mapping

from energy_tracking.errors import ConfigurationError, must_be
from energy_tracking.usage.names import text_of

# Without dots: no attribute's name may begin with the whole name of another.
TAG_NAME = r"[A-Za-z][A-Za-z0-9_-]*"


def check_tags(tags: Mapping[str, str] | None) -> dict[str, str]:
    """A copy of tags.

    Raises:
        ConfigurationError: They are no mapping, or a name or value is of another form.
    """
    what = "a mapping of names, of letters, digits, '_' and '-', to strings"
    if not isinstance(tags, Mapping | None):
        raise ConfigurationError(must_be("tags", what, tags))
    for name, value in (tags or {}).items():
        if not (isinstance(name, str) and re.fullmatch(TAG_NAME, name) and isinstance(value, str)):
            raise ConfigurationError(must_be("tags", what, {name: value}))
    return {name: text_of(value) or "" for name, value in (tags or {}).items()}


def choose_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """A copy of those of a logged call, without names that no tag can have."""
    return check_tags({name: tags[name] for name in tags if re.fullmatch(TAG_NAME, name)})
