"""Which values a profile rejects, and which profile a model name stands for."""

from __future__ import annotations

import gc
import math
import string
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from energy_tracking.errors import (
    ConfigurationError,
    ProfileError,
    UnknownGpuError,
    UnknownModelError,
    shown,
)
from energy_tracking.profiles.catalogue import Catalogue, NoProfile
from energy_tracking.profiles.model_names import find_readings, fold_name
from energy_tracking.profiles.profile import Quantity
from small_profiles import build_gpu, build_model

BIG, SMALL = build_model("gpt-4o", aliases=("chatgpt-4o-latest",)), build_model("gpt-4o-mini")
OPEN = build_model("openai/gpt-oss-20b", aliases=("gpt-oss-20b",))
DATED = build_model("gpt-4o-2024-05-13")
WITHOUT_PROFILE = {
    "text-embedding-3-small": NoProfile("an embedding model"),
    "gpt-secret": NoProfile("nothing is public", is_text_model=True),
}
CATALOGUE = Catalogue(
    (BIG, SMALL, OPEN, DATED, build_model("gpt-4")),
    (
        build_gpu("H100", corrected="H100-SXM"),
        build_gpu("H100-SXM", aliases=("H100-80GB-HBM3",)),
        build_gpu("MI300X"),
    ),
    WITHOUT_PROFILE,
)


# ---------- profiles --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "bound"),
    [
        ("num_active_params", 0, "from 1 to 1e+18"),
        ("num_layers", -1, "from 1 to 1e+06"),
        ("num_attn_heads", math.nan, "from 1 to 1e+06"),
        ("attn_head_dim", math.inf, "from 1 to 1e+06"),
        ("hidden_dim", None, "a number from 1"),
        ("hidden_dim", "4096", "a number from 1"),
        ("hidden_dim", True, "a number from 1"),
        ("reasoning_factor", 0, "from 0.001 to 1e+06"),
        ("samples", 0.5, "from 1 to 1e+06"),
        ("num_experts", -8, "whole number"),
        ("num_experts", 2.5, "whole number"),
        ("sliding_window", 0, "whole number from 1 to 1e+12 tokens"),
        ("num_active_params", 1e308, "from 1 to 1e+18"),
        ("num_active_params", 1e-320, "from 1 to 1e+18"),
        ("num_layers", 10**400, "from 1 to 1e+06"),
        ("samples", 1e300, "from 1 to 1e+06"),
        ("weight_bytes", 100, "from 0.04 to 8 bytes"),
        ("flops_per_tkn_factor", 1e200, "from 0.001 to 1e+06 FLOP"),
        ("weight_format", ["fp8"], "a string"),
        ("source", 5, "a string"),
        ("num_total_params", 7e9, "at most num_total_params"),
        ("num_kv_heads", 64, "at most num_attn_heads"),
        ("num_experts_per_token", 2, "at most num_experts"),
        ("num_active_params_low", 9e9, "at most num_active_params"),
        ("num_active_params_high", 7e9, "at most num_active_params_high"),
        ("num_sliding_layers", 33, "at most num_layers"),
        ("grade", "F", "'A'"),
        ("family", "opne", "'open'"),
        ("aliases", "one-name", "list of names"),
        ("aliases", ("",), "list of names"),
    ],
)
def test_an_impossible_model_is_refused_with_field_value_and_bound(
    field: str, value: object, bound: str
) -> None:
    with pytest.raises(ProfileError) as refused:
        build_model("mine", **{field: value})
    message = str(refused.value)
    assert "'mine'" in message
    assert field in message
    assert bound in message
    assert shown(value) in message


@pytest.mark.parametrize(
    ("field", "value", "bound"),
    [
        ("peak_flops", 0, "from 1e+06 to 1e+21 FLOP/s"),
        ("power_rating", -700, "from 0.001 to 1e+07 W"),
        ("gpu_prefill_util", 0, "from 1e-06 to 1"),
        ("gpu_decoding_util", 1.1, "from 1e-06 to 1"),
        ("power_decoding_util", math.nan, "from 1e-06 to 1"),
        ("power_rating", 1e308, "from 0.001 to 1e+07 W"),
        ("power_rating", 10**400, "from 0.001 to 1e+07 W"),
        ("peak_flops", 1e-300, "from 1e+06 to 1e+21 FLOP/s"),
        ("gpu_decoding_util", 1e-320, "from 1e-06 to 1"),
        ("memory_bandwidth", 0, "from 1 to 1e+18 bytes/s"),
        ("peak_flops_sparse", 300e12, "at most peak_flops_sparse"),
        ("family", "open", "'registry'"),
    ],
)
def test_an_impossible_gpu_is_refused_with_field_value_and_bound(
    field: str, value: object, bound: str
) -> None:
    with pytest.raises(ProfileError) as refused:
        build_gpu("mine", **{field: value})
    assert "'mine'" in str(refused.value)
    assert field in str(refused.value)
    assert bound in str(refused.value)


@pytest.mark.parametrize("name", ["", "  ", None, 4])
def test_a_profile_has_a_name(name: object) -> None:
    with pytest.raises(ProfileError, match="name must be"):
        build_model(name)  # type: ignore[arg-type]


def test_a_quantity_lies_in_its_range() -> None:
    with pytest.raises(ProfileError, match="value must be at most high, 2, got 3"):
        Quantity(3, low=1, high=2)
    with pytest.raises(ProfileError, match="value must be at least low, 1, got 0"):
        Quantity(0, low=1)
    assert Quantity(2, low=2, high=2).value == 2
    with pytest.raises(ProfileError, match="grade"):
        Quantity(3, grade="a")


def test_whole_numbers_become_floats_so_that_arrays_cannot_overflow() -> None:
    profile = build_model("mine", num_experts=8.0, num_experts_per_token=2)
    assert type(profile.num_layers) is type(profile.hidden_dim) is float
    assert type(profile.num_experts) is type(profile.num_experts_per_token) is int


def test_profiles_are_equal_by_their_numbers_and_usable_as_keys() -> None:
    same = replace(BIG, provenance={"num_layers": Quantity(32)})
    assert {BIG: 1}[same] == 1


# ---------- matching --------------------------------------------------------------------

MATCHES = [
    # name, profile, rule
    ("gpt-4o", "gpt-4o", "exact"),
    ("GPT-4O", "gpt-4o", "exact"),
    ("gpt-4o-mini", "gpt-4o-mini", "exact"),
    ("chatgpt-4o-latest", "gpt-4o", "alias"),
    ("gpt-4o-2024-08-06", "gpt-4o", "snapshot"),
    ("gpt-4o-20240806", "gpt-4o", "snapshot"),
    ("gpt-4-0613", "gpt-4", "snapshot"),
    ("gpt-4:20230613-v2", "gpt-4", "snapshot"),
    ("gpt-4o-2024-05-13", "gpt-4o-2024-05-13", "exact"),
    ("gpt-4o-mini-2024-07-18", "gpt-4o-mini", "snapshot"),
    ("openai/gpt-4o", "gpt-4o", "provider_prefix"),
    ("openrouter/openai/gpt-4o", "gpt-4o", "provider_prefix"),
    ("azure/GPT-4o-2024-08-06", "gpt-4o", "provider_prefix+snapshot"),
    ("openai/gpt-oss-20b", "openai/gpt-oss-20b", "exact"),
    ("gpt-oss-20b", "openai/gpt-oss-20b", "alias"),
    ("groq/openai/gpt-oss-20b", "openai/gpt-oss-20b", "provider_prefix+alias"),
    ("ft:gpt-4o:my-org::A1b2C3", "gpt-4o", "fine_tuned"),
    ("ft:gpt-4o-2024-08-06:my-org:my-name:id", "gpt-4o", "fine_tuned+snapshot"),
    ("ft:gpt-4o-mini-2024-07-18:my-org::id:ckpt-step-88", "gpt-4o-mini", "fine_tuned+snapshot"),
    ("ft:chatgpt-4o-latest-2024-08-06:o::i", "gpt-4o", "fine_tuned+snapshot+alias"),
    ("openai/ft:gpt-4o:my-org::id", "gpt-4o", "provider_prefix+fine_tuned"),
]


@pytest.mark.parametrize(("name", "profile", "rule"), MATCHES)
def test_a_name_matches_by_an_explicit_rule(name: str, profile: str, rule: str) -> None:
    match = CATALOGUE.match(name)
    assert match is not None
    assert (match.profile.name, match.rule) == (profile, rule)
    assert CATALOGUE.match(name) is match


@pytest.mark.parametrize(
    "name",
    [
        "gpt-4o-banana",
        "gpt-4o-min",
        "gpt-4om",
        "gpt-4o-",
        " gpt-4o",
        "my-gpt-4o",
        "gpt-4o-2024-13-06",
        "gpt-4o-2024-08-32",
        "gpt-4o-2024-08",
        "gpt-4o-1324",
        "gpt-4o-0632",
        "gpt-4o-0000",
        "gpt-4o-2024-08-06-2024-08-06",
        "gpt-4o/openai",
        "gpt-4o/",
        "/",
        "ft:",
        "ft:banana:my-org::id",
        "ft:ft:gpt-4o:a::b",
        "tf:gpt-4o:my-org::id",
        "",
        None,
    ],
)
def test_a_name_no_rule_explains_has_no_profile(name: str | None) -> None:
    assert CATALOGUE.match(name) is None
    assert CATALOGUE.explain_no_profile(name) is None


@given(st.one_of(st.none(), st.text(), st.text(alphabet="gpt-4omini:/0123456789ft.")))
def test_matching_never_raises(name: str | None) -> None:
    CATALOGUE.match(name, {"x": "gpt-4o", "y": "no such profile"}, "no such profile")
    CATALOGUE.explain_no_profile(name)


@given(
    st.sampled_from([profile.name for profile in CATALOGUE.models]),
    st.text(alphabet=string.ascii_letters + "-_. ", min_size=1),
)
def test_a_suffix_of_letters_never_matches(name: str, suffix: str) -> None:
    word = fold_name(name + suffix)
    assume(word not in {p.name for p in CATALOGUE.models})
    # A suffix with a row of its own, such as "-it", says that the model is the same.
    assume(
        not any(reading.rules and word.startswith(reading.name) for reading in find_readings(word))
    )
    assert CATALOGUE.match(word) is None


def test_a_long_chain_of_prefixes_and_dates_is_answered_at_once() -> None:
    name = "a/" * 10_000 + "gpt-4o" + "-2024-08-06" * 10_000
    assert CATALOGUE.match(name) is None


def test_the_users_mapping_comes_first_and_ignores_case() -> None:
    mapping = CATALOGUE.check_mapping({"My-Deployment": "GPT-4o-mini", "gpt-4o": "gpt-oss-20b"})
    for name, profile in (("my-deployment", SMALL), ("MY-Deployment", SMALL), ("gpt-4o", OPEN)):
        match = CATALOGUE.match(name, mapping)
        assert match is not None
        assert (match.profile, match.rule) == (profile, "mapping")
    assert CATALOGUE.match("other", mapping) is None
    unmapped = CATALOGUE.match("gpt-4", mapping)
    assert unmapped is not None
    assert unmapped.rule == "exact"


def test_a_mapping_to_an_unknown_profile_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError) as refused:
        CATALOGUE.check_mapping({"prod": "gpt-4o", "test": "gpt-4o-mimi"})
    assert str(refused.value).startswith("model_mapping['test'] must be ")
    assert "got 'gpt-4o-mimi'" in str(refused.value)
    assert "did you mean 'gpt-4o-mini'" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "default", "expected"),
    [
        ("who-knows", "gpt-4o-mini", "default"),
        ("", "gpt-4o-mini", "default"),
        (None, "gpt-4o-mini", "default"),
        ("gpt-4-0613", "gpt-4o-mini", "snapshot"),
        ("gpt-secret", "gpt-4o-mini", "default"),
        ("text-embedding-3-small", "gpt-4o-mini", None),
        ("who-knows", "no-such-profile", None),
        ("who-knows", None, None),
    ],
)
def test_the_default_stands_in_for_unknown_text_models_only(
    name: str | None, default: str | None, expected: str | None
) -> None:
    match = CATALOGUE.match(name, default=default)
    assert (match and match.rule) == expected


@pytest.mark.parametrize(
    "name",
    ["text-embedding-3-small", "azure/Text-Embedding-3-Small", "text-embedding-3-small-2024-01-25"],
)
def test_a_known_name_without_a_profile_states_why(name: str) -> None:
    assert CATALOGUE.match(name) is None
    assert CATALOGUE.explain_no_profile(name) == "an embedding model"
    assert CATALOGUE.explain_no_profile("gpt-4o") is None
    with pytest.raises(UnknownModelError, match="an embedding model"):
        CATALOGUE.model(name)


# ---------- looking up and registering --------------------------------------------------


def test_looking_up_a_model_takes_names_and_aliases_only() -> None:
    assert CATALOGUE.model("GPT-4o") is BIG
    assert CATALOGUE.model("chatgpt-4o-latest") is BIG
    with pytest.raises(UnknownModelError):
        CATALOGUE.model("gpt-4o-2024-08-06")


def test_an_unknown_model_names_the_nearest_and_how_to_register() -> None:
    with pytest.raises(UnknownModelError) as refused:
        CATALOGUE.model("gpt-4o-minni")
    for part in ("'gpt-4o-mini'", "register_model_profile(", "[models.'gpt-4o-minni']", "TOML"):
        assert part in str(refused.value)


def test_an_unknown_gpu_names_the_nearest_and_how_to_register() -> None:
    with pytest.raises(UnknownGpuError) as refused:
        CATALOGUE.gpu("H1000")
    for part in ("'H100'", "register_gpu_profile(", "[gpus.'H1000']", "TOML"):
        assert part in str(refused.value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("h100", "H100"),
        ("NVIDIA H100", "H100"),
        ("nvidia_h100_sxm", "H100-SXM"),
        ("H100 SXM", "H100-SXM"),
        ("NVIDIA H100 80GB HBM3", "H100-SXM"),
        ("AMD Instinct MI300X", "MI300X"),
    ],
)
def test_a_gpu_is_found_however_it_is_written(name: str, expected: str) -> None:
    assert CATALOGUE.gpu(name).name == expected


def test_a_registered_model_replaces_the_one_of_its_name() -> None:
    catalogue = CATALOGUE.copy()
    assert catalogue.match("gpt-4o-2024-08-06") is not None
    mine = build_model("GPT-4o", num_active_params=1e9, aliases=("my-4o",))
    catalogue.register_model(mine)
    for name in ("gpt-4o", "gpt-4o-2024-08-06", "chatgpt-4o-latest", "my-4o"):
        match = catalogue.match(name)
        assert match is not None
        assert match.profile is mine
    assert len(catalogue.models) == len(CATALOGUE.models)
    assert CATALOGUE.model("gpt-4o") is BIG
    assert CATALOGUE.match("my-4o") is None


def test_a_registered_model_wins_over_an_alias_and_a_name_without_profile() -> None:
    catalogue = CATALOGUE.copy()
    for name in ("chatgpt-4o-latest", "text-embedding-3-small"):
        catalogue.register_model(build_model(name))
        match = catalogue.match(name)
        assert match is not None
        assert (match.profile.name, match.rule) == (name, "exact")
        assert catalogue.explain_no_profile(name) is None


def test_a_registered_gpu_replaces_the_one_of_its_name() -> None:
    catalogue = CATALOGUE.copy()
    mine = build_gpu("h100", power_rating=300)
    catalogue.register_gpu(mine)
    assert catalogue.gpu("H100") is mine
    assert CATALOGUE.gpu("H100").power_rating == 400


def test_a_row_points_to_the_one_with_better_numbers() -> None:
    assert CATALOGUE.corrected_gpu(CATALOGUE.gpu("H100")).name == "H100-SXM"
    assert CATALOGUE.corrected_gpu(CATALOGUE.gpu("MI300X")).name == "MI300X"
    assert CATALOGUE.corrected_model(BIG) is BIG


def test_the_cache_of_names_stays_bounded() -> None:
    catalogue = CATALOGUE.copy()
    for number in range(5000):
        catalogue.match(f"deployment-{number}")
    catalogue.match("x" * 100_000)
    kept = catalogue._resolved
    assert len(kept) <= 4096
    assert max(len(name or "") for name in kept) <= 256


def test_a_users_alias_wins_over_a_shipped_name_and_what_led_to_it() -> None:
    catalogue = CATALOGUE.copy()
    mine = build_model("mine", aliases=("gpt-4o", "GPT-4o-Mini"), num_active_params=1e9)
    assert catalogue.match("openai/gpt-4o") is not None
    catalogue.register_model(mine)
    for name in ("gpt-4o", "GPT-4o", "openai/gpt-4o", "chatgpt-4o-latest", "gpt-4o-mini", "mine"):
        match = catalogue.match(name)
        assert match is not None
        assert match.profile is mine
        assert catalogue.model("gpt-4o") is mine
    # Others keep their names, and this catalogue alone is changed.
    assert catalogue.model("gpt-4o-2024-05-13") is DATED
    assert CATALOGUE.model("gpt-4o") is BIG


def test_of_two_profiles_that_claim_a_name_the_later_has_it() -> None:
    catalogue = CATALOGUE.copy()
    first, second = (
        build_model("first", aliases=("ours",)),
        build_model("second", aliases=("ours",)),
    )
    catalogue.register_model(first)
    catalogue.register_model(second)
    assert catalogue.model("ours") is second
    named = build_model("ours")
    catalogue.register_model(named)
    assert catalogue.model("ours") is named
    catalogue.register_model(first)
    assert catalogue.model("ours") is first
    turned = build_model("gpt-4o", aliases=("first",))
    catalogue.register_model(turned)
    assert catalogue.model("ours") is catalogue.model("first") is turned


def test_a_users_alias_wins_over_a_name_without_profile() -> None:
    catalogue = CATALOGUE.copy()
    mine = build_model("mine", aliases=("text-embedding-3-small",))
    catalogue.register_model(mine)
    match = catalogue.match("text-embedding-3-small")
    assert match is not None
    assert (match.profile, match.rule) == (mine, "alias")
    assert catalogue.explain_no_profile("text-embedding-3-small") is None


def test_a_users_gpu_alias_wins_over_a_shipped_name() -> None:
    catalogue = CATALOGUE.copy()
    mine = build_gpu("our-cluster", aliases=("h100",))
    catalogue.register_gpu(mine)
    assert catalogue.gpu("NVIDIA H100") is mine
    assert CATALOGUE.gpu("H100") is not mine


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_an_extension_sees_what_is_registered_below_it_and_its_own_wins(before: bool) -> None:
    base = CATALOGUE.copy()
    theirs, ours = build_model("theirs", aliases=("both",)), build_model("ours", aliases=("both",))
    gpu, our_gpu = build_gpu("theirs"), build_gpu("ours", aliases=("theirs",))
    if before:
        base.register_model(theirs)
        base.register_gpu(gpu)
    middle = base.extended()
    top = middle.extended()
    assert (top.match("theirs") is not None) == before
    top.register_model(ours)
    top.register_gpu(our_gpu)
    if not before:
        base.register_model(theirs)
        base.register_gpu(gpu)
    assert middle.model("theirs") is middle.model("both") is theirs
    assert top.model("theirs") is theirs
    assert top.model("both") is ours
    assert (base.gpu("theirs"), middle.gpu("theirs"), top.gpu("theirs")) == (gpu, gpu, our_gpu)
    assert base.match("ours") is None
    assert CATALOGUE.match("theirs") is None


def test_an_extension_is_not_kept_by_what_it_extends() -> None:
    base = CATALOGUE.copy()
    extension = weakref.ref(base.extended())
    gc.collect()
    assert extension() is None
    base.register_model(build_model("theirs"))


def test_no_registration_of_many_threads_is_lost() -> None:
    catalogue = CATALOGUE.copy()
    extensions = [catalogue.extended() for _ in range(3)]

    def register(thread: int) -> None:
        for number in range(20):
            catalogue.register_model(build_model(f"model-{thread}-{number}"))
            extensions.append(catalogue.extended())

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(register, range(8)))
    finally:
        sys.setswitchinterval(interval)
    for one in (catalogue, *extensions[:3]):
        assert len(one.models) == len(CATALOGUE.models) + 160
