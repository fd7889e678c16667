"""The calibrated estimator: what a batched decoder moves, computes and waits for.

A server generates one token for each of B sequences per decode step. A step reads the
weights once and every sequence's cache, multiplies, exchanges activations between GPUs,
and pays a fixed time per layer and per sequence. Its energy is that of an idle board for
as long as the step lasts, plus a price per byte, per weight and per FLOP, and its power
is the one over the other:

    weights  W = shared + experts * (1 - (1 - k/E)**B)              [parameters]
    time     t = bytes / bandwidth + FLOPs / peak + link + a * layers + b * B   [s]
    energy   E = idle * G * TDP * t + e_byte * bytes + e_weight * W + e_flop * FLOPs   [J]

each term with a fitted factor (``constants``). A request pays E / B per token,
and for its uncached prompt the price of the prefill FLOPs. Moving a byte costs the same
energy on every GPU generation, while a FLOP gets cheaper with each: that one choice is
what makes the estimate carry over from one GPU to the next. Multiplying a weight costs in
proportion to the width of the multiplication, which is what makes it carry over from BF16
to FP8 and FP4.

The rooms, from the ground up; each uses those before it:

    deployment   (beside this package) profiles and serving assumptions as plain numbers
    constants    the factors of the physical terms; ``fitted``: their values
    work         a request in tokens and pairs of tokens
    step         time and energy of one decode step
    prices       energy per token and pair: a request's energy is linear in them
    sharing      how many sequences share a step, and what a token then takes
    cases        the deployment estimated, and those at both ends of what is not known
    ranges       what each unknown adds to the range; ``facility``: what a data centre adds
    request      the estimate of a request and its range

A new physical term goes into ``step`` or ``prices``, a new unknown into ``cases`` and ``ranges``.

Every number may be a float or an array; no function asks which.

Source: Choi, Bedard, Fowler and Vuduc, "A Roofline Model of Energy", IPDPS 2013,
https://doi.org/10.1109/IPDPS.2013.77, for energy as work plus idle time; the fit is
``tests/benchmarks/fit.py``.
"""
