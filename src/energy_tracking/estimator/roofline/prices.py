"""What a deployment takes for each token and pair of tokens.

A request's energy is linear in them, so one set of prices serves every request. Prefill rides
on decode steps that read the weights anyway: FLOPs alone set its price.
"""

from __future__ import annotations

from energy_tracking.estimator.deployment import Deployment
from energy_tracking.estimator.roofline.constants import RooflineConstants
from energy_tracking.estimator.roofline.step import compute_imbalance, compute_step_costs
from energy_tracking.estimator.roofline.work import Work, compute_experts_read
from energy_tracking.frozen import frozen


@frozen()
class Prices:
    """What a deployment takes for each unit of ``Work``, and for what its sequences share.

    Attributes:
        input_token: Per prompt token [J].
        input_pair: Per pair of a prompt token [J].
        step: Per generated token of all sequences together [J].
        experts: The same, if every expert is read [J].
        expert_share: Share of the experts that one token uses [1].
        output_token: Per generated token [J].
        output_pair: Per pair of a generated token [J].
        sequences: Sequences that share a step [1].
    """

    input_token: float
    input_pair: float
    step: float
    experts: float
    expert_share: float
    output_token: float
    output_pair: float
    sequences: float

    def price_prompt(self, tokens: float, pairs: float) -> float:
        """Energy of reading the uncached part of the prompt [J].

        Args:
            tokens: Its tokens [tokens].
            pairs: Their pairs [tokens**2].
        """
        return self.input_token * tokens + self.input_pair * pairs

    def price_answer(self, token_joules: float, tokens: float, pairs: float) -> float:
        """Energy of generating the answer [J].

        Args:
            token_joules: Energy of a token that attends to nothing [J].
            tokens: Its tokens [tokens].
            pairs: Their pairs [tokens**2].
        """
        return token_joules * tokens + self.output_pair * pairs


def compute_prices(site: Deployment, constants: RooflineConstants) -> Prices:
    """Energy per token and pair.

    The small batches that reach each expert make a mixture's prefill cost more, the more of
    its experts a token leaves out.

    Args:
        site: The deployment.
        constants: Fitted factors.
    """
    _, cost = compute_step_costs(site, constants)
    watts = compute_prefill_watts(site, constants)
    penalty = 1 + constants.mixture_prefill * (1 - site.expert_share)
    token_flops = site.flops_per_weight * site.active_params
    shared = site.shared_params * site.attention_replicas
    experts = site.expert_params * compute_imbalance(site, constants)
    return Prices(
        input_token=watts * penalty * token_flops / site.peak_flops,
        input_pair=watts * site.attention_flops / site.attention_peak_flops,
        step=site.samples * (cost.fixed + cost.per_weight * shared),
        experts=site.samples * cost.per_weight * experts,
        expert_share=site.expert_share,
        output_token=site.samples * cost.per_sequence,
        output_pair=site.samples * cost.per_pair,
        sequences=site.sequences,
    )


def compute_prefill_watts(site: Deployment, constants: RooflineConstants) -> float:
    """Energy of prefill FLOPs over the time they would take at peak [W].

    Args:
        site: The deployment.
        constants: Fitted factors.
    """
    share = constants.prefill_power + constants.idle_power * constants.prefill_time
    return site.power_rating * share


def compute_prefill_energy(price: Prices, work: Work) -> float:
    """Energy of reading the uncached part of the prompt [J].

    Args:
        price: Prices of the deployment.
        work: The request.
    """
    return price.price_prompt(work.input_tokens, work.input_pairs)


def compute_decode_energy(price: Prices, work: Work) -> float:
    """Energy of generating the answer, with as many sequences in a step as the deployment has [J].

    Args:
        price: Prices of the deployment.
        work: The request.
    """
    token = compute_token_energy(price, price.sequences)
    return price.price_answer(token, work.output_tokens, work.output_pairs)


def compute_token_energy(price: Prices, sequences: float) -> float:
    """Energy of generating a token that attends to nothing [J].

    Args:
        price: Prices of the deployment.
        sequences: Sequences that share a step [1].
    """
    joules = price.experts * compute_experts_read(price.expert_share, sequences)
    joules += price.step
    joules = joules / sequences
    joules += price.output_token
    return joules
