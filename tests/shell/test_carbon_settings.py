"""CO2e stands where the energy is, once the settings name the electricity, and nowhere before."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from energy_tracking import ConfigurationError, Session, Tracker, track_energy
from energy_tracking.calls.carbon import GRAMS, Carbon
from energy_tracking.cli.main import main
from energy_tracking.telemetry.metrics import CARBON_METRIC
from loopback import CHAT_USAGE
from observed_calls import Watch

JOULES_PER_KWH = 3.6e6
GERMANY = 381
"""Of 2023 [g CO2e/kWh]: https://ember-energy.org/data/yearly-electricity-data/."""


def record(watch: Watch, **settings: Any) -> Any:
    tracker = Tracker(**watch.arguments | settings)
    return tracker.record(model="gpt-4o", usage=CHAT_USAGE)


@pytest.mark.parametrize("settings", [{"region": "Germany"}, {"grams_per_kwh": "381"}], ids=str)
def test_the_span_has_grams_with_their_range_and_source(
    watch: Watch, settings: dict[str, Any]
) -> None:
    estimate = record(watch, **settings).estimate
    named = {
        "total_carbon_grams": estimate.total_energy_joules,
        "total_carbon_low_grams": estimate.total_energy_low_joules,
        "total_carbon_high_grams": estimate.total_energy_high_joules,
        "calibrated_carbon_grams": watch.record.calibrated.total_energy_joules,  # type: ignore[union-attr]
    }
    for name, joules in named.items():
        grams = watch.attributes[f"energy_tracking.{name}"]
        assert grams == pytest.approx(joules / JOULES_PER_KWH * GERMANY), name
    assert watch.attributes["energy_tracking.grams_per_kwh"] == GERMANY
    source = watch.attributes["energy_tracking.carbon_source"]
    assert source == ("DE 2023, Ember" if "region" in settings else "as given")


def test_nothing_about_carbon_is_shown_unless_asked(watch: Watch) -> None:
    with Session() as session:
        record(watch)
    assert [name for name in watch.attributes if "carbon" in name or "grams" in name] == []
    assert "CO2e" not in str(session)
    assert "carbon" not in session.to_json()
    with pytest.raises(ConfigurationError, match="nothing is guessed"):
        session.carbon()


def test_a_counter_adds_up_grams(watch: Watch) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    one, other = (record(watch, region=region, meter_provider=provider) for region in ("DE", None))
    data: Any = reader.get_metrics_data()
    metrics = {m.name: m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics}
    (point,) = metrics[CARBON_METRIC].data.data_points
    assert metrics[CARBON_METRIC].unit == "g"
    assert point.value == pytest.approx(one.total_energy_joules / JOULES_PER_KWH * GERMANY)
    assert other.intensity is None
    provider.shutdown()


def test_a_session_adds_up_calls_of_several_zones(watch: Watch) -> None:
    with Session() as session:
        german = record(watch, region="DE")
        french = record(watch, region="FR")
        record(watch)
    found = session.carbon()
    grams = (
        german.total_energy_joules * GERMANY + french.total_energy_joules * 56
    ) / JOULES_PER_KWH
    assert found.total_carbon_grams == pytest.approx(grams, rel=1e-6)
    assert found.grams_per_kwh == pytest.approx((GERMANY + 56) / 2)
    assert found.source == "DE 2023, Ember; FR 2023, Ember"
    assert f"CO2e: {found}" in " ".join(str(session).split())
    assert "CO2e, calibrated:" in session._repr_html_()
    assert Carbon(**json.loads(session.to_json())["carbon"]) == found
    # An argument is for all that the session holds.
    assert session.carbon(region="FR").source == "FR 2023, Ember"


def test_the_rows_of_a_session_have_grams_where_the_electricity_is_known(watch: Watch) -> None:
    with Session() as session:
        german = record(watch, region="DE")
        record(watch, region="FR", gpu="B200")
        record(watch, gpu="A100")
    rows = list(csv.DictReader(session.to_csv().splitlines()))
    groups = json.loads(session.to_json())["groups"]
    grams = german.total_energy_joules / JOULES_PER_KWH * GERMANY
    for row, group in zip(rows, groups, strict=True):
        assert [row[name] for name in GRAMS] == [str(group.get(name, "")) for name in GRAMS]
        assert bool(row["total_carbon_high_grams"]) is (row["gpu"] != "A100")
        if row["gpu"] == "H100":
            assert float(row["total_carbon_grams"]) == pytest.approx(grams, rel=1e-6)
    known = sum(float(row["total_carbon_grams"] or 0) for row in rows)
    assert known == pytest.approx(session.carbon().total_carbon_grams)


def test_the_span_of_a_function_has_the_grams_of_the_calls_inside(watch: Watch) -> None:
    watch.every_call_has_a_span = False
    tracker = Tracker(**watch.arguments | {"region": "Germany"})

    @track_energy(**watch.arguments)
    def answer() -> None:
        for _ in range(2):
            tracker.record(model="gpt-4o", usage=CHAT_USAGE)

    answer()
    rollup: Any = watch.spans[-1].attributes
    for name in GRAMS[:4]:
        of_calls: list[Any] = [
            (span.attributes or {}).get(f"energy_tracking.{name}") for span in watch.spans[:-1]
        ]
        assert rollup[f"energy_tracking.rollup.{name}"] == pytest.approx(sum(of_calls), rel=1e-6)
    track_energy(**watch.arguments)(lambda: record(watch))()
    assert not [name for name in watch.spans[-1].attributes or {} if "carbon" in name]


def test_the_environment_names_the_zone_and_an_argument_wins(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENERGY_TRACKING_REGION", "UK")
    assert record(watch).intensity.source == "GB 2023, Ember"
    assert record(watch, region="France").intensity.grams_per_kwh == 56
    assert record(watch, grams_per_kwh=5).intensity.grams_per_kwh == 5
    monkeypatch.setenv("ENERGY_TRACKING_GRAMS_PER_KWH", "5")
    with pytest.raises(ConfigurationError, match=r"GRAMS_PER_KWH.*must be unset beside region"):
        Tracker()


def test_a_ledger_keeps_the_intensity_and_commands_show_it(
    watch: Watch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "energy.jsonl"
    record(watch, region="DE", ledger=path)
    for arguments, source in (([], "DE 2023, Ember"), (["--region", "UK"], "GB 2023, Ember")):
        assert main(["ledger", str(path), *arguments]) == 0
        assert source in " ".join(capsys.readouterr().out.split())
        assert main(["ledger", str(path), "--format", "json", *arguments]) == 0
        assert json.loads(capsys.readouterr().out)["carbon"]["source"] == source
        assert main(["ledger", str(path), "--format", "csv", *arguments]) == 0
        (row,) = csv.DictReader(capsys.readouterr().out.splitlines())
        assert float(row["total_carbon_grams"]) > 0
        assert main(["watch", str(path), "--once", *arguments]) == 0
        shown = capsys.readouterr().out
        assert source in " ".join(shown.split())
        assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize("command", ["estimate", "compare", "report"])
def test_commands_use_the_zone_of_the_environment(
    command: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    watch: Watch,
) -> None:
    record(watch, ledger=tmp_path / "energy.jsonl")
    monkeypatch.setenv("ENERGY_TRACKING_REGION", "Germany")
    arguments = {
        "estimate": ["--model", "gpt-4o", "--input", "10", "--output", "5"],
        "compare": ["--models", "gpt-4o"],
        "report": [str(tmp_path / "energy.jsonl")],
    }
    assert main([command, *arguments[command]]) == 0
    assert "DE 2023, Ember" in " ".join(capsys.readouterr().out.split())
