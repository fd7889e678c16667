"""The commands: a table, each row loaded when it is run.

A new command is a row of ``COMMANDS`` and a function in a module of its own, decorated by
``command``, that takes the ``Output`` and its options and returns an exit status. How mistakes in
what is typed are explained is here too, in the grammar of ``errors``, with the nearest name.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from gettext import gettext
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

import click

from energy_tracking.bounds import Bound, read_number
from energy_tracking.cli.output import Output, print_error
from energy_tracking.errors import (
    ConfigurationError,
    EnergyTrackingWarning,
    must_be,
    not_one_of,
)
from energy_tracking.version import VERSION

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType

PROGRAM = "energy-tracking"


class CommandRow(NamedTuple):
    """One command.

    Attributes:
        name: What is typed.
        help: What it does, in the list of commands.
        module: The module that has it, below this package.
    """

    name: str
    help: str
    module: str


COMMANDS = (
    CommandRow("demo", "see it work on recorded calls: no API key, no network", "programs"),
    CommandRow("run", "run a Python program with its OpenAI calls tracked", "programs"),
    CommandRow("report", "the energy of calls in any file that has them", "report"),
    CommandRow("estimate", "the energy of one request, before or after it is made", "estimates"),
    CommandRow("compare", "one request to several models, on several GPUs", "estimates"),
    CommandRow("backfill", "sum up the calls in files, and write them to a ledger", "sums"),
    CommandRow("ledger", "sum up a ledger, also by another method or GPU", "sums"),
    CommandRow("watch", "watch a ledger grow: power, models, last calls, budget", "watch"),
    CommandRow("meter", "measure a server that you run: joules per token, idle watts", "meter"),
    CommandRow("models", "list or search the model profiles, with their sources", "listing"),
    CommandRow("gpus", "list or search the GPU profiles, with their sources", "listing"),
    CommandRow("sources", "list or search where the profiles' numbers are from", "listing"),
    CommandRow("help", "explain every attribute, metric or setting, or a command", "reference"),
    CommandRow("settings", "list the settings and their environment variables", "listing"),
)


class Command(click.Command):
    """A command whose help goes where all output goes."""

    def get_help_option(self, ctx: click.Context) -> click.Option:
        """The option that prints the help, in any encoding."""
        return _HELP


class _Commands(click.Group):
    """The commands of the table; what lists them loads none."""

    def get_help_option(self, ctx: click.Context) -> click.Option:
        return _HELP

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [row.name for row in COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        row = next((row for row in COMMANDS if row.name == cmd_name), None)
        if row is None:
            return None
        module = import_module(f"energy_tracking.cli.{row.module}")
        found: click.Command = getattr(module, row.name)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and name not in self.list_commands(ctx):
            message = not_one_of("COMMAND", name, self.list_commands(ctx), "one of those listed")
            raise ConfigurationError(message)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(row.name, row.help) for row in COMMANDS])


def _print_help(ctx: click.Context, option: click.Parameter, is_given: bool) -> None:
    if is_given and not ctx.resilient_parsing:
        print(ctx.get_help(), file=ctx.obj)
        ctx.exit()


def print_help(name: str | None) -> None:
    """Print the help of a command, or of all, from inside of another one.

    Args:
        name: The command.
    """
    context = click.get_current_context().find_root()
    asked = None if name is None else _GROUP.get_command(context, name)
    if asked is not None:
        context = click.Context(asked, info_name=name, parent=context)
    print(context.get_help(), file=context.obj)


def _print_version(ctx: click.Context, option: click.Parameter, is_given: bool) -> None:
    if is_given and not ctx.resilient_parsing:
        print(f"{PROGRAM} {VERSION}", file=ctx.obj)
        ctx.exit()


def _make_flag(names: Sequence[str], callback: Callable[..., None], help: str) -> click.Option:
    return click.Option(
        names, is_flag=True, is_eager=True, expose_value=False, callback=callback, help=help
    )


_HELP = _make_flag(("-h", "--help"), _print_help, "Show this text.")
_GROUP = _Commands(
    name=PROGRAM,
    help="How much energy your LLM calls use. Every command has a --help of its own.",
    params=[_make_flag(("--version",), _print_version, "Show the version.")],
    no_args_is_help=False,
)


def command(name: str, **settings: Any) -> Callable[[Callable[..., int]], click.Command]:
    """Make a command of a function; its docstring is the help.

    Args:
        name: What is typed.
        **settings: Further settings of ``click.command``.
    """
    return click.command(name, cls=Command, **settings)


class OneOf(_ParamType):
    """A value out of a few; any other is answered with the nearest of them.

    Attributes:
        name: What help calls it.
        choices: The values.
    """

    def __init__(self, choices: Iterable[str]) -> None:
        """Take the values.

        Args:
            choices: All of them.
        """
        self.choices = tuple(choices)
        self.name = "|".join(self.choices)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value where it is one of the choices.

        Args:
            value: What was typed.
            param: The option.
            ctx: The command's.

        Raises:
            ConfigurationError: It is none of them.
        """
        if value not in self.choices:
            raise ConfigurationError(not_one_of(_name_option(param), value, self.choices))
        return value


class NumberIn(_ParamType):
    """A number within bounds.

    Attributes:
        name: What help calls it.
        bound: The bounds.
    """

    name = "number"

    def __init__(self, bound: Bound) -> None:
        """Take the bounds."""
        self.bound = bound

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number where it is within the bounds.

        Args:
            value: What was typed.
            param: The option.
            ctx: The command's.

        Raises:
            ConfigurationError: It is no number, or out of bounds.
        """
        return self.bound.check(_name_option(param), read_number(value))


def _name_option(param: click.Parameter | None) -> str:
    return param.opts[-1] if param is not None else ""


def run_command(arguments: Sequence[str] | None, output: Output) -> int:
    """Run what is typed; returns its exit status.

    Args:
        arguments: What is typed behind the program's name; that of this process if None.
        output: Where the command prints.

    Raises:
        ConfigurationError: What is typed is wrong, or a setting is.
        UnreadableLogError: Reading is strict, and an entry cannot be read.
        OutputError: The output cannot be written.
        KeyboardInterrupt: Somebody interrupts.
    """
    typed = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with _saying_warnings(), _GROUP.make_context(PROGRAM, typed, obj=output) as context:
            status = _GROUP.invoke(context)
    except click.exceptions.Exit as end:
        status = end.exit_code
    except click.UsageError as error:
        raise ConfigurationError(_explain(error, typed)) from None
    except ConfigurationError as error:
        raise type(error)(_name_as_typed(str(error), typed)) from None
    finally:
        # Also where the help was printed.
        output.flush()
    return status if isinstance(status, int) else 0


@contextmanager
def _saying_warnings() -> Iterator[None]:
    """Print our own warnings, such as that of an unknown variable, as all our messages."""
    show = warnings.showwarning

    def say(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, EnergyTrackingWarning):
            print_error(message)
        else:
            show(message, category, filename, lineno, file, line)

    warnings.showwarning = say
    try:
        yield
    finally:
        warnings.showwarning = show


def _explain(error: click.UsageError, typed: Sequence[str]) -> str:
    """What is wrong about what was typed, and what would be right."""
    context = error.ctx
    path = PROGRAM if context is None else context.command_path
    if isinstance(error, click.BadOptionUsage) and context is None:
        # Raised by a parser, which does not know whose it is.
        path = " ".join([PROGRAM, *(row.name for row in COMMANDS if [row.name] == typed[:1])])
    if isinstance(error, click.NoSuchOption) and context is not None:
        options = [name for one in context.command.get_params(context) for name in one.opts]
        options = [name for name in options if name.startswith("-")]
        return not_one_of(f"option of {path}", error.option_name, options, "one listed by --help")
    if isinstance(error, click.MissingParameter) and error.param is not None:
        is_argument = error.param.param_type_name == "argument"
        name = error.param.human_readable_name if is_argument else error.param.opts[-1]
        return f"{name} must be given; see: {path} --help"
    if isinstance(error, click.BadParameter) and error.param is not None:
        return f"{error.param.opts[-1]}: {error.message}"
    message = error.format_message()
    if message == gettext("Missing command."):
        names = ", ".join(row.name for row in COMMANDS)
        return f"COMMAND must be given, one of {names}; see: {path} --help"
    return f"{message.rstrip('.')}; see: {path} --help"


def _name_as_typed(message: str, typed: Sequence[str]) -> str:
    """A message about a setting, which names its option where that was typed."""
    from energy_tracking.settings.names import named

    for option in (word.partition("=")[0] for word in typed if word.startswith("--")):
        # Of several, as of `--gpus x,y`, one is wrong.
        setting = option.removeprefix("--").replace("-", "_").removesuffix("s")
        for name in (named(setting), setting):
            if re.match(rf"{re.escape(name)}s?[ \[]", message):
                return option + message.removeprefix(name).removeprefix("s")
    return message


def read_pairs(option: str, given: Iterable[str], example: str) -> dict[str, str]:
    """The pairs that an option such as ``--columns input=NAME,output=NAME`` gives.

    Args:
        option: The option.
        given: What is typed behind it, each time.
        example: How it is written.

    Raises:
        ConfigurationError: It is written in another way.
    """
    pairs: dict[str, str] = {}
    for pair in (part for text in given for part in text.split(",") if part):
        name, separator, value = pair.partition("=")
        if not (separator and name.strip() and value.strip()):
            raise ConfigurationError(must_be(option, f"pairs such as {example}", pair))
        name, value = name.strip(), value.strip()
        if pairs.setdefault(name, value) != value:
            both = f"{name}={pairs[name]},{name}={value}"
            raise ConfigurationError(must_be(option, "one value for each name", both))
    return pairs
