"""The command ``help``: what the library puts on spans and into metrics, from its own tables.

Of the commands it prints what their ``--help`` does.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping

import click

from energy_tracking.cli.commands import COMMANDS, OneOf, command, print_help
from energy_tracking.cli.main import DONE
from energy_tracking.cli.output import Output
from energy_tracking.terminal import WIDTH, with_known_signs

_Rows = Iterator[tuple[str, str]]


def _list_attributes() -> _Rows:
    from energy_tracking.telemetry.documented import list_attributes

    return list_attributes()


def _list_metrics() -> _Rows:
    from energy_tracking.telemetry.documented import list_metrics

    return list_metrics()


def _list_settings() -> _Rows:
    from energy_tracking.settings import all_settings_rows, name_setting

    for argument, variable, default, meaning in all_settings_rows():
        yield name_setting(argument, variable, default), meaning


TOPICS: Mapping[str, Callable[[], _Rows]] = {
    "attributes": _list_attributes,
    "metrics": _list_metrics,
    "settings": _list_settings,
}


@command("help")
@click.argument(
    "topic",
    required=False,
    metavar=f"[{'|'.join(TOPICS)}|COMMAND]",
    type=OneOf(dict.fromkeys((*TOPICS, *(row.name for row in COMMANDS)))),
)
@click.pass_obj
def help(output: Output, topic: str | None) -> int:
    """Explain every span attribute, metric or setting of the library, or a command."""
    if topic is None or topic not in TOPICS:
        print_help(topic)
        return DONE
    for name, meaning in TOPICS[topic]():
        print(name, file=output)
        # Signs that the terminal lacks are longer in ASCII: before the lines are cut.
        text = with_known_signs(meaning.replace("`", ""), output)
        for line in textwrap.wrap(text, WIDTH - 4):
            print(f"    {line}", file=output)
    return DONE
