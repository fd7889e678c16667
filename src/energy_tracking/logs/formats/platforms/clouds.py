"""Logs of clouds: Azure's diagnostic log and API Management, Vertex AI's requests, Snowflake's.

Azure's Log Analytics exports the same by other names of columns: in capitals, with ``_s`` behind
those that are text, with the zone behind those of time. A further table is a row of ``CLOUDS``.
"""

from __future__ import annotations

from energy_tracking.logs.formats.base import (
    Document,
    LogFile,
    LogFormat,
    at,
    identify,
    keys,
    leaves_out,
    mappings,
    text,
    unpacked,
)
from energy_tracking.logs.formats.bodies import call_in_body, failed_with
from energy_tracking.logs.formats.counts import sum_of_tokens, usage_in_cells, whole
from energy_tracking.logs.logged import LoggedCall, time_of

PROVIDER = "azure.ai.openai"
BODIES = ("backend_response_body", "response", "responseBody")


def _plain_names(document: Document) -> Document:
    """A record by names in lower case, without what Log Analytics puts behind them."""
    return {
        str(name).lower().removesuffix(" [utc]").removesuffix("_s"): value
        for name, value in document.items()
    }


def _read_diagnostics(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A request in the diagnostic log, which has tokens where it has the body."""
    named = _plain_names(document)
    kind = named.get("category")
    if kind not in ("RequestResponse", "AzureOpenAIRequestUsage"):
        return None
    properties = unpacked(named.get("properties"))
    bodies = (unpacked(at(properties, name)) for name in BODIES)
    body = next((one for one in bodies if isinstance(one, dict)), None)
    call = LoggedCall() if body is None else call_in_body(body)
    call.error_type = failed_with(named.get("resultsignature"))
    if call.counts is None and call.error_type is None:
        file.leave_out("a request of Azure's diagnostic log, which has no token counts")
        return []
    call.provider = PROVIDER
    call.model = call.model or text(at(properties, "modelName"))
    call.time = call.time or time_of(named.get("time") or named.get("timegenerated"))
    return [identify(call, named.get("correlationid"))]


def _read_api_management(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A request through API Management; what its messages have beside the first has no tokens."""
    named = _plain_names(document)
    inputs, outputs = named["prompttokens"], named["completiontokens"]
    if not whole(inputs) and not whole(outputs):
        return []
    call = LoggedCall(
        provider=PROVIDER,
        model=text(named.get("modelname")) or text(named.get("deploymentname")),
        counts=usage_in_cells(file, input=inputs, output=outputs),
        time=time_of(named.get("timegenerated")),
    )
    return [identify(call, named["correlationid"])]


def _read_vertex(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A request in BigQuery; of a stream it has all chunks, whose counts grow."""
    responses = unpacked(document["full_response"])
    bodies = mappings(responses) or [responses if isinstance(responses, dict) else {}]
    calls = [call for call in map(call_in_body, bodies) if call.counts is not None]
    if not calls:
        file.leave_out("a request without token counts")
        return []
    call = calls[-1]
    call.provider = "gcp.vertex_ai"
    call.model = call.model or text(document.get("model"))
    call.time = time_of(document["logging_time"])
    return [identify(call, document.get("request_id"))]


def _read_snowflake(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A row of Cortex's usage: a request, or what a query took in an hour."""
    tokens = unpacked(document.get("TOKENS_GRANULAR"))
    counts = sum_of_tokens(
        at(tokens, "input"), at(tokens, "output"), at(tokens, "cache_read_input")
    )
    if not counts.input_tokens + counts.output_tokens:
        file.leave_out("a row of Snowflake's, whose tokens are input and output in one number")
        return []
    request = text(document.get("REQUEST_ID"))
    call = LoggedCall(
        provider="snowflake",
        model=text(document["MODEL_NAME"]),
        counts=counts,
        time=time_of(document.get("START_TIME") or document.get("USAGE_TIME")),
        requests=None if request is None else 1,
    )
    return [identify(call, request)]


CLOUDS: tuple[LogFormat, ...] = (
    # Source: https://learn.microsoft.com/azure/ai-foundry/openai/how-to/monitor-openai
    # Source: https://learn.microsoft.com/azure/azure-monitor/reference/tables/azurediagnostics
    LogFormat(name="azure-diagnostics", any_of=keys("category", "Category"),
              read=_read_diagnostics, is_said=False),
    # Source: https://learn.microsoft.com/azure/azure-monitor/platform/stream-monitoring-data-event-hubs
    LogFormat(name="azure-metric", keys=keys("metricName", "timeGrain"),
              read=leaves_out("a metric of Azure's, which is no call")),
    # Source: https://learn.microsoft.com/azure/azure-monitor/reference/tables/apimanagementgatewayllmlog
    LogFormat(name="azure-api-management",
              keys=keys("CorrelationId", "PromptTokens", "CompletionTokens"),
              read=_read_api_management),
    # Source: https://docs.snowflake.com/en/sql-reference/account-usage/cortex_rest_api_usage_history
    LogFormat(name="snowflake", keys=keys("MODEL_NAME", "TOKENS"), read=_read_snowflake),
    # Source: https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/request-response-logging
    LogFormat(name="vertex-requests", keys=keys("full_response", "logging_time"),
              read=_read_vertex),
)  # fmt: skip
