"""The commands that make calls: ``demo``, and ``run`` for a program of the user's own."""

from __future__ import annotations

import re

import click

from energy_tracking.cli.commands import command
from energy_tracking.cli.main import DONE, NOT_WRITTEN
from energy_tracking.cli.output import Output
from energy_tracking.errors import ConfigurationError, must_be, say_install


@command("demo")
@click.option("--gpu", metavar="NAME", help="GPU profile (default: ENERGY_TRACKING_GPU, or H100).")
@click.option(
    "--method",
    metavar="NAME",
    help="Estimator: reference or roofline (default: ENERGY_TRACKING_METHOD, or reference).",
)
@click.option("--spans", is_flag=True, help="Show two of the spans and the session too.")
@click.option("--otlp", metavar="URL", help="Also send it here, e.g. http://localhost:4318.")
@click.pass_obj
def demo(output: Output, gpu: str | None, method: str | None, spans: bool, otlp: str | None) -> int:
    """Track recorded calls of the real API: no key, no network, real token counts."""
    try:
        from energy_tracking.demo.run import run_demo
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"the demo needs the package {error.name!r}; {say_install('demo')}"
        ) from None
    if otlp is not None and not re.match("https?://[^/]", otlp):
        what = "an address by http or https, such as http://localhost:4318"
        raise ConfigurationError(must_be("--otlp", what, otlp))
    is_sent = run_demo(output, gpu=gpu, method=method, spans=spans, otlp_endpoint=otlp)
    return DONE if is_sent else NOT_WRITTEN


@command("run", context_settings={"allow_interspersed_args": False})
@click.option("-m", "as_module", is_flag=True, help="PROGRAM is a module.")
@click.argument("program", metavar="PROGRAM [ARGUMENT]...", nargs=-1, type=click.UNPROCESSED)
def run(as_module: bool, program: tuple[str, ...]) -> int:
    """Run a Python program with every OpenAI client tracked, then print the totals."""
    from energy_tracking.cli.run import run_program

    return run_program(program, as_module=as_module)
