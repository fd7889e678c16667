"""The ``energy-tracking`` command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from energy_tracking.errors import ConfigurationError
from energy_tracking.report import table, two_digits
from energy_tracking.settings import settings_rows
from energy_tracking.tracker import default_catalogue
from energy_tracking.version import VERSION


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except ConfigurationError as error:
        print(f"energy-tracking: {error}", file=sys.stderr)
        return 2
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="energy-tracking",
        description="How much energy your LLM calls use.",
    )
    parser.add_argument("--version", action="version", version=f"energy-tracking {VERSION}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser(
        "demo", help="track recorded calls: no API key, no network, real token counts"
    )
    demo.add_argument("--gpu", help="GPU profile (default: ENERGY_TRACKING_GPU, else H100)")
    demo.add_argument(
        "--method", help="estimator (default: ENERGY_TRACKING_METHOD, else reference)"
    )
    demo.add_argument("--otlp", metavar="URL", help="also send it here, e.g. http://localhost:4318")
    demo.set_defaults(run=_demo)

    for name, run, text in (
        ("models", _models, "list the model profiles, with grade and source"),
        ("gpus", _gpus, "list the GPU profiles, with grade and source"),
        ("settings", _settings, "list the settings and their environment variables"),
    ):
        commands.add_parser(name, help=text).set_defaults(run=run)
    return parser


def _demo(options: argparse.Namespace) -> int:
    try:
        from energy_tracking.demo.run import run_demo
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"the demo needs the package {error.name!r}; install it with: "
            "pip install 'energy-tracking[demo]'"
        ) from None
    return run_demo(sys.stdout, gpu=options.gpu, method=options.method, otlp_endpoint=options.otlp)


def _models(options: argparse.Namespace) -> int:
    rows = [
        (
            model.name,
            two_digits(model.num_active_params / 1e9),
            "-" if model.num_total_params is None else two_digits(model.num_total_params / 1e9),
            model.grade,
            model.source,
        )
        for model in default_catalogue().models
    ]
    print(table(("model", "active 1e9", "total 1e9", "grade", "source"), rows))
    return 0


def _gpus(options: argparse.Namespace) -> int:
    rows = [
        (gpu.name, f"{gpu.peak_flops / 1e12:g}", f"{gpu.power_rating:g}", gpu.grade, gpu.source)
        for gpu in default_catalogue().gpus
    ]
    print(table(("gpu", "peak TFLOP/s", "power W", "grade", "source"), rows))
    return 0


def _settings(options: argparse.Namespace) -> int:
    for argument, variable, default, meaning in settings_rows():
        print(f"{argument}, {variable}" + (f" [{default}]" if default else ""))
        print(f"    {meaning}")
    return 0
