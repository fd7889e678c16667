"""Signatures whose annotations are what they name, and no text any more.

Under ``from __future__ import annotations`` they are text, which FastAPI before 0.123.5 evaluates
in the module of the wrapper and not in that of the function.
"""

from __future__ import annotations

import inspect
from types import FunctionType
from typing import Any


def set_evaluated_signature(wrapper: Any, function: FunctionType) -> None:
    """Give a wrapper the signature of its function with annotations that are no text any more.

    An annotation that cannot be evaluated yet, a class defined further down, stays as it is.

    Args:
        wrapper: The wrapper.
        function: The function, in whose module annotations are looked up.
    """
    try:
        signature = inspect.signature(function)
    except Exception:
        # What computes an annotation may raise anything, at any later time, too.
        return
    parameters = signature.parameters.values()
    annotations = [signature.return_annotation, *(each.annotation for each in parameters)]
    if not any(isinstance(annotation, str) for annotation in annotations):
        return
    namespace = inspect.unwrap(function).__globals__
    type_parameters = {each.__name__: each for each in getattr(function, "__type_params__", ())}
    returned, *evaluated = (
        _evaluate_annotation(each, namespace, type_parameters) for each in annotations
    )
    wrapper.__signature__ = signature.replace(
        parameters=[
            parameter.replace(annotation=annotation)
            for parameter, annotation in zip(parameters, evaluated, strict=True)
        ],
        return_annotation=returned,
    )


def _evaluate_annotation(
    annotation: Any, namespace: dict[str, Any], type_parameters: dict[str, Any]
) -> Any:
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, namespace, type_parameters)
    except Exception:
        return annotation
