"""Time and energy of one decode step, by what it moves, computes and waits for.

    time     t = bytes / bandwidth + FLOPs / peak + link + a * layers + b * B   [s]
    energy   E = idle * G * TDP * t + e_byte * bytes + e_weight * W + e_flop * FLOPs   [J]

A new term is a field of ``RooflineConstants`` and a summand of one of the costs below.
"""

from __future__ import annotations

from energy_tracking.estimator.deployment import Deployment
from energy_tracking.estimator.roofline.constants import RooflineConstants
from energy_tracking.estimator.roofline.work import compute_experts_read, take_larger
from energy_tracking.frozen import frozen


@frozen()
class StepCosts:
    """What a decode step costs, once and for each of what it moves; each [s] or [J].

    Attributes:
        fixed: Whatever the step does.
        per_weight: For each parameter read.
        per_sequence: For each sequence.
        per_pair: For each token that a sequence attends to.
    """

    fixed: float
    per_weight: float
    per_sequence: float
    per_pair: float


def compute_step_costs(
    site: Deployment, constants: RooflineConstants
) -> tuple[StepCosts, StepCosts]:
    """Time [s] and energy [J] of a decode step, all GPUs of a group together.

    With speculative decoding: per token of each sequence, since a step yields several.

    Args:
        site: The deployment.
        constants: Fitted factors.
    """
    seconds = _compute_seconds(site, constants)
    drafted = 1 + site.speculative * (constants.speculative_decode - 1)
    # Kernels for narrow weights were young on engines that did not balance experts either.
    quantised = (site.weight_bytes < 2) * site.unbalanced_engine
    dearer = drafted * (1 + quantised * (constants.quantised_overhead - 1))
    return (
        StepCosts(
            fixed=drafted * seconds.fixed,
            per_weight=drafted * seconds.per_weight,
            per_sequence=drafted * seconds.per_sequence,
            per_pair=drafted * seconds.per_pair,
        ),
        _compute_joules(site, constants, seconds, dearer),
    )


def compute_decode_step(
    site: Deployment, constants: RooflineConstants, context: float
) -> tuple[float, float]:
    """Time [s] and energy [J] of a decode step of the deployment's sequences.

    Args:
        site: The deployment.
        constants: Fitted factors.
        context: Mean tokens attended to per sequence [tokens].
    """
    weights = site.shared_params * site.attention_replicas + (
        site.expert_params
        * compute_imbalance(site, constants)
        * compute_experts_read(site.expert_share, site.sequences)
    )
    seconds, joules = (
        cost.fixed
        + cost.per_weight * weights
        + site.sequences * (cost.per_sequence + cost.per_pair * context)
        for cost in compute_step_costs(site, constants)
    )
    # A board held at its power limit slows down until it is within it.
    return take_larger(seconds, joules / (site.gpus * site.power_rating)), joules


def compute_imbalance(site: Deployment, constants: RooflineConstants) -> float:
    """Bytes of experts charged over those read [1].

    With experts spread over GPUs the busiest one sets the pace: the others' wait is charged as
    further reading, in the share of experts that live elsewhere. Engines of today move experts
    about so that none is the busiest.

    Args:
        site: The deployment.
        constants: Fitted factors.
    """
    elsewhere = 1 - 1 / site.expert_parallel
    return 1 + site.unbalanced_engine * constants.expert_imbalance * elsewhere


def _compute_seconds(site: Deployment, constants: RooflineConstants) -> StepCosts:
    """Time of a step without drafts [s]."""
    bandwidth = site.gpus * site.memory_bandwidth
    # Two all-reduces of the BF16 residual stream per layer, each sending every element
    # twice but for the share that is already there (ring all-reduce).
    link_bytes = 8 * site.layers * site.hidden_dim * (1 - 1 / site.gpus)
    layer_seconds = constants.layer_seconds + site.early_engine * constants.early_layer_seconds
    scheduling_seconds = constants.sequence_seconds + (
        site.early_engine * constants.early_sequence_layer_seconds * site.layers
    )
    return StepCosts(
        fixed=layer_seconds * site.layers,
        per_weight=constants.weights_time * site.weight_bytes / bandwidth,
        per_sequence=(
            constants.cache_time * _count_state_bytes(site) / bandwidth
            + constants.compute_time * _weight_flop_seconds(site) / site.gpus
            + constants.link_time * link_bytes / site.link_bandwidth
            + scheduling_seconds
        ),
        per_pair=(
            constants.cache_time * site.cache_bytes / bandwidth
            + constants.compute_time * _pair_flop_seconds(site) / site.gpus
        ),
    )


def _compute_joules(
    site: Deployment, constants: RooflineConstants, seconds: StepCosts, factor: float
) -> StepCosts:
    """Energy of a step that takes this long [J], times a factor [1].

    It is that of the idle boards, and of what is moved and multiplied.
    """
    idle_watts = constants.idle_power * site.gpus * site.power_rating
    compute_watts = constants.compute_power * site.power_rating
    weight_joules = (
        constants.weight_byte_joules * site.weight_bytes
        + constants.weight_joules * site.operand_bytes / 2
    )
    return StepCosts(
        fixed=factor * idle_watts * seconds.fixed,
        per_weight=factor * (idle_watts * seconds.per_weight + weight_joules),
        per_sequence=factor
        * (
            idle_watts * seconds.per_sequence
            + constants.cache_byte_joules * _count_state_bytes(site)
            + compute_watts * _weight_flop_seconds(site)
        ),
        per_pair=factor
        * (
            idle_watts * seconds.per_pair
            + constants.cache_byte_joules * site.cache_bytes
            + compute_watts * _pair_flop_seconds(site)
        ),
    )


def _count_state_bytes(site: Deployment) -> float:
    """Recurrent state moved per sequence [byte]: it is read and written."""
    return 2 * site.state_bytes


def _weight_flop_seconds(site: Deployment) -> float:
    """Time of one token's multiplications with weights at the peak of one GPU [s]."""
    return site.flops_per_weight * site.active_params / site.peak_flops


def _pair_flop_seconds(site: Deployment) -> float:
    """Time of one pair's attention at the peak of one GPU [s]."""
    return site.attention_flops / site.attention_peak_flops
