"""The factors of the physical terms, one field each with its unit.

A new term is a field here, its use in ``step`` or ``prices``, and a prior in
``tests/benchmarks/fit.py``, which then writes its value into ``fitted``.
"""

from __future__ import annotations

from energy_tracking.estimator.roofline.fitted import FITTED
from energy_tracking.frozen import frozen


@frozen(kw_only=True)
class RooflineConstants:
    """Factors of the physical terms.

    Attributes:
        weights_time: Time of reading weights over that at peak bandwidth [1].
        cache_time: The same for the KV cache and recurrent state [1].
        compute_time: Time of decode FLOPs over that at peak [1].
        prefill_time: The same for prefill [1].
        link_time: Time of an exchange between GPUs over that at link bandwidth [1].
        layer_seconds: Fixed time per layer and step [s].
        sequence_seconds: Time per sequence and step: scheduling, sampling [s].
        early_layer_seconds: More per layer on an early engine [s].
        early_sequence_layer_seconds: More per sequence and layer, likewise [s].
        idle_power: Power of a board that waits, as a share of its rating [1].
        weight_byte_joules: Energy per byte of weights read [J/byte].
        weight_joules: Energy per weight multiplied in BF16; narrower ones in proportion [J].
        cache_byte_joules: Energy per byte of KV cache or state [J/byte].
        compute_power: Power rating share drawn by FLOPs at peak, decode [1].
        prefill_power: The same for prefill [1].
        expert_imbalance: More expert bytes read, per share of experts elsewhere, on an engine
            that does not balance them [1].
        quantised_overhead: Decode energy of weights below 16 bits on such an engine, over
            that of the terms above [1].
        mixture_prefill: More prefill FLOPs, per share of the experts a token leaves out [1].
        speculative_decode: Decode energy and time with speculative decoding over without [1].
        speculative_decode_low: The least such ratio measured [1].
        speculative_decode_high: The largest such ratio measured [1].
        error_factor: 90 % of unseen rows are predicted within this factor, batch and GPU
            known [1].
        crowded_error_factor: The same with ``cases.CROWD`` sequences or more [1].
        rate_sigma: Standard deviation of ln(predicted / measured step time) [1].
    """

    weights_time: float
    cache_time: float
    compute_time: float
    prefill_time: float
    link_time: float
    layer_seconds: float
    sequence_seconds: float
    early_layer_seconds: float
    early_sequence_layer_seconds: float
    idle_power: float
    weight_byte_joules: float
    weight_joules: float
    cache_byte_joules: float
    compute_power: float
    prefill_power: float
    expert_imbalance: float
    quantised_overhead: float
    mixture_prefill: float
    speculative_decode: float
    speculative_decode_low: float
    speculative_decode_high: float
    error_factor: float
    crowded_error_factor: float
    rate_sigma: float

    def __hash__(self) -> int:
        """By one of them: whoever fits others changes all."""
        return hash(self.error_factor)


CALIBRATED = RooflineConstants(**FITTED)
"""The values that the fit to measured points gave."""
