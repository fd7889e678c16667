"""What the speed of a stream says of the batch, and where it says nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from energy_tracking.errors import ConfigurationError
from energy_tracking.estimator.deployment import deploy
from energy_tracking.estimator.roofline.constants import CALIBRATED
from energy_tracking.estimator.roofline.step import compute_decode_step
from energy_tracking.estimator.serving import ServingProfile
from energy_tracking.estimator.timing_evidence import (
    SLOW_NETWORK,
    find_reason_against,
    update_serving,
)
from energy_tracking.profiles.profile import ModelProfile
from small_profiles import DENSE, H100, request

PUBLIC = ServingProfile(concurrency_per_gpu=32, num_gpus=1, speculative=False)


def rate_at(concurrency: float, *, speculative: bool = False) -> float:
    """Tokens/s of one stream of 50 tokens in and 100 out: 100 of context on average."""
    serving = replace(PUBLIC, sequences=concurrency, speculative=speculative)
    seconds, _ = compute_decode_step(deploy(DENSE, H100, serving), CALIBRATED, 100)
    return 1 / seconds


def timed(
    rate: float,
    *,
    model: ModelProfile = DENSE,
    serving: ServingProfile = PUBLIC,
    slow_network: float = SLOW_NETWORK,
) -> ServingProfile:
    return update_serving(
        model,
        H100,
        input_tokens=50,
        output_tokens=100,
        observed_tokens_per_second=rate,
        serving=serving,
        slow_network=slow_network,
    )


def width(serving: ServingProfile) -> float:
    least, most = serving.concurrency_range
    return math.log(most / least)


@pytest.mark.parametrize("concurrency", [64, 128, 256])
def test_a_timed_stream_shows_the_concurrency(concurrency: float) -> None:
    seen = timed(rate_at(concurrency), slow_network=0.01)
    least, most = seen.concurrency_range
    assert least <= concurrency <= most
    assert width(seen) < width(PUBLIC)


def test_a_fast_stream_is_evidence_against_a_crowd() -> None:
    assert timed(2 * rate_at(32)).central_concurrency < 32
    assert timed(2 * rate_at(32)).concurrency_range[1] < PUBLIC.concurrency_range[1]


def test_a_slow_network_is_not_taken_for_a_crowd() -> None:
    crawling = timed(rate_at(32) / 1000)
    assert crawling.central_concurrency == pytest.approx(32, rel=0.15)
    assert width(crawling) == pytest.approx(width(PUBLIC), rel=0.05)


def test_the_surer_the_network_the_stronger_the_evidence() -> None:
    doubtful, sure = (timed(rate_at(200), slow_network=share) for share in (0.5, 0.01))
    assert abs(math.log(sure.central_concurrency / 200)) < abs(
        math.log(doubtful.central_concurrency / 200)
    )
    assert width(sure) < width(doubtful)


def test_a_stream_faster_than_any_prediction_means_as_few_as_can_be() -> None:
    assert timed(1e9).central_concurrency == 1


def test_evidence_narrows_the_range_of_the_energy() -> None:
    parts = [
        request(gpu=H100, serving=serving).range_parts["batch"]
        for serving in (PUBLIC, timed(rate_at(64), slow_network=0.01))
    ]
    (low, high), (narrow_low, narrow_high) = parts
    assert narrow_high / narrow_low < high / low


# Speculative decoding.


def test_a_stream_faster_than_one_sequence_without_drafts_may_have_had_them() -> None:
    # Drafts take the step of an only sequence down to 0.76 of what it takes without.
    outran = rate_at(1, speculative=True)
    assert outran > 1.2 * rate_at(1)
    seen = timed(outran, serving=replace(PUBLIC, speculative=None))
    least, most = seen.concurrency_range
    assert 1 <= least <= seen.central_concurrency <= most
    assert width(seen) > 0


def test_unknown_drafts_make_the_evidence_weaker_than_known_ones() -> None:
    rate = rate_at(64)
    none, unknown, drafted = (
        timed(rate, serving=replace(PUBLIC, speculative=speculative), slow_network=0.01)
        for speculative in (False, None, True)
    )
    assert width(unknown) > width(none)
    # If drafts made it this fast, more sequences share the step.
    assert none.central_concurrency < unknown.central_concurrency < drafted.central_concurrency


def test_known_drafts_show_the_concurrency_too() -> None:
    drafting = replace(PUBLIC, speculative=True)
    seen = timed(rate_at(128, speculative=True), serving=drafting, slow_network=0.01)
    least, most = seen.concurrency_range
    assert least <= 128 <= most
    assert width(seen) < width(drafting)


# Refusals.


@pytest.mark.parametrize("grade", ["B", "C", "D", "E"])
def test_a_guessed_shape_is_refused_with_the_reason(grade: str) -> None:
    guessed = replace(DENSE, name="guess-9b", grade=grade)
    reason = find_reason_against(guessed)
    assert reason is not None
    for words in ("'guess-9b'", f"grade {grade}", "no proof of a small batch"):
        assert words in reason
    with pytest.raises(ConfigurationError, match="not published"):
        timed(100, model=guessed)


@pytest.mark.parametrize("family", ["closed", "seed"])
def test_a_closed_model_is_refused_whatever_its_grade(family: str) -> None:
    assert find_reason_against(replace(DENSE, family=family)) is not None
    with pytest.raises(ConfigurationError, match="timing evidence"):
        timed(100, model=replace(DENSE, family=family))


@pytest.mark.parametrize("family", ["open", "user"])
def test_a_published_shape_is_not_refused(family: str) -> None:
    assert find_reason_against(replace(DENSE, family=family)) is None


@pytest.mark.parametrize("rate", [0, -1, math.nan, math.inf])
def test_an_impossible_rate_is_refused(rate: float) -> None:
    with pytest.raises(ConfigurationError, match="observed_tokens_per_second"):
        timed(rate)


@pytest.mark.parametrize("share", [0, 1, -0.1, math.nan])
def test_an_impossible_probability_is_refused(share: float) -> None:
    with pytest.raises(ConfigurationError, match="slow_network"):
        timed(100, slow_network=share)


# What stays.


def test_the_evidence_keeps_the_rest_of_the_serving() -> None:
    said = replace(PUBLIC, weight_format="fp8", engine_year=2025)
    seen = timed(100, serving=said)
    assert (seen.num_gpus, seen.weight_format, seen.engine_year) == (1, "fp8", 2025)
    assert seen.speculative is False


def test_a_known_batch_needs_no_evidence() -> None:
    known = replace(PUBLIC, sequences=5)
    assert timed(1e9, serving=known) is known
    measured = PUBLIC.with_known_concurrency()
    assert timed(rate_at(200), serving=measured).central_concurrency == pytest.approx(32)
