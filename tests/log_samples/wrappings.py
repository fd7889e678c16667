"""What runtimes, journals, collectors and their queries put around the lines of a log.

``WRAPPINGS`` are functions from the lines that a program wrote to the text of a file; each names
its source.
"""

from __future__ import annotations

import csv
import io
import json
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Lines = list[str]
Wrapping = Callable[[Lines], str]

TIME = "2026-03-04T05:06:07.123456789Z"
SHORT_TIME = "2026-03-04T05:06:07.123Z"
MILLISECONDS = 1_772_600_767_123
NANOSECONDS = "1772600767123456789"


def as_lines(documents: Iterable[Any]) -> str:
    return "\n".join(map(json.dumps, documents))


def as_table(names: Lines, rows: Iterable[list[Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(names)
    writer.writerows(rows)
    return buffer.getvalue()


def each(around: Callable[[str], Any]) -> Wrapping:
    """An object around each line."""
    return lambda lines: as_lines(map(around, lines))


def behind(start: str) -> Wrapping:
    """Text before each line."""
    return lambda lines: "\n".join(start + line for line in lines)


def docker(line: str) -> dict[str, Any]:
    return {"log": f"{line}\n", "stream": "stdout", "time": TIME}


def journal(line: Any, **more: str) -> dict[str, Any]:
    return {"__CURSOR": "s=1;i=2", "__REALTIME_TIMESTAMP": "1772600767123456", "_PID": "7",
            "_SYSTEMD_UNIT": "app.service", "PRIORITY": "6", "SYSLOG_IDENTIFIER": "python",
            "_HOSTNAME": "h", "_TRANSPORT": "stdout", "MESSAGE": line, **more}  # fmt: skip


def in_base64(line: str) -> str:
    return b64encode(line.encode()).decode()


def cloud_watch(line: str) -> dict[str, Any]:
    return {"logStreamName": "a", "timestamp": MILLISECONDS, "message": line, "eventId": "1"}


def google(**payload: Any) -> dict[str, Any]:
    return {"insertId": "i", "logName": "projects/p/logs/x", "severity": "INFO", "timestamp": TIME,
            "resource": {"type": "k8s_container", "labels": {}}, **payload}  # fmt: skip


WRAPPINGS: Mapping[str, Wrapping] = {
    # Source: https://docs.docker.com/engine/logging/drivers/json-file
    "Docker": each(docker),
    # Source: https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md
    "Kubernetes": behind(f"{TIME} stdout F "),
    # Source: https://docs.docker.com/reference/cli/docker/compose/logs (--timestamps)
    "docker compose logs --timestamps": behind(f"web-1  | {TIME} "),
    "kubectl logs --timestamps": behind(f"{TIME} "),
    "kubectl logs --prefix --timestamps": behind(f"[pod/app-5d/main] {TIME} "),
    # Source: https://www.freedesktop.org/software/systemd/man/latest/journalctl.html (output)
    "journalctl -o json": each(journal),
    "journalctl -o short-iso": behind("2026-03-04T05:06:07+0000 h python[7]: "),
    # Source: https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_FilterLogEvents.html
    "CloudWatch's events": lambda lines: json.dumps(
        {"events": list(map(cloud_watch, lines)), "searchedLogStreams": []}, indent=1),
    # Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/SubscriptionFilters.html
    "CloudWatch's subscription": lambda lines: json.dumps(
        {"messageType": "DATA_MESSAGE", "owner": "1", "logGroup": "/app", "logStream": "x",
         "subscriptionFilters": ["f"], "logEvents": list(map(cloud_watch, lines))}),
    "CloudWatch's export to S3": behind(f"{SHORT_TIME} "),
    "CloudWatch Insights": lambda lines: as_table(
        ["@timestamp", "@message", "@logStream"],
        [["2026-03-04 05:06:07.123", line, "x"] for line in lines]),
    "Lambda": behind(f"{SHORT_TIME}\t6bc28136-xmpl-4365-b021-0ce6b2e64ab0\tINFO\t"),
    # Source: https://grafana.com/docs/loki/latest/reference/loki-http-api (query_range)
    "Loki": lambda lines: json.dumps(
        {"status": "success", "data": {"resultType": "streams", "stats": {}, "result": [
            {"stream": {"app": "a"}, "values": [[NANOSECONDS, line] for line in lines]}]}}),
    # Source: https://grafana.com/docs/loki/latest/query/logcli
    "logcli": behind('2026-03-04T05:06:07Z {app="a", pod="b"} '),
    "logcli -o jsonl": each(lambda line: {"labels": {"app": "a"}, "line": line, "timestamp": TIME}),
    # Source: https://docs.datadoghq.com/api/latest/logs (search)
    "Datadog": each(lambda line: {"id": "AQ", "type": "log", "attributes": {
        "service": "a", "status": "info", "timestamp": SHORT_TIME, "message": line, "tags": []}}),
    # Source: https://docs.splunk.com/Documentation/Splunk/latest/RESTREF/RESTsearch (export)
    "Splunk": each(lambda line: {"preview": False, "offset": 0, "result": {
        "_raw": line, "_time": "2026-03-04 05:06:07.123 UTC", "host": "h", "source": "x"}}),
    "Splunk's collector": each(lambda line: {
        "time": MILLISECONDS / 1000, "host": "h", "source": "x", "event": json.loads(line)}),
    # Source: https://docs.fluentbit.io/manual (outputs, parsers)
    "Fluent Bit's array": lambda lines: json.dumps(
        [{"date": MILLISECONDS / 1000, "log": line} for line in lines]),
    "Fluent Bit in Kubernetes": each(lambda line: {
        "time": TIME, "stream": "stdout", "_p": "F", "log": line,
        "kubernetes": {"pod_name": "p", "namespace_name": "n", "labels": {"app": "a"}}}),
    "Fluent Bit's standard output": lambda lines: "\n".join(
        f"[{number}] tail.0: [[1772600767.123456789, {{}}], {json.dumps({'log': line})}]"
        for number, line in enumerate(lines)),
    "Vector": each(lambda line: {"file": "/x", "host": "h", "message": line, "timestamp": TIME}),
    # Source: https://www.elastic.co/docs/reference/ecs
    "Filebeat": each(lambda line: {
        "@timestamp": SHORT_TIME, "@metadata": {"beat": "filebeat"}, "host": {"name": "h"},
        "event": {"dataset": "app"}, "log": {"offset": 0, "file": {"path": "/x"}},
        "agent": {"type": "filebeat", "id": "a"}, "message": line}),
    "Elasticsearch": each(lambda line: {
        "_index": "logs", "_id": "x", "_score": 1.0,
        "_source": {"@timestamp": SHORT_TIME, "message": line, "host": {"name": "h"}}}),
    # Source: https://datatracker.ietf.org/doc/html/rfc5424
    "syslog": behind(f"<165>1 {SHORT_TIME} host app 7 ID47 - "),
    # Source: https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry
    "Google Cloud's texts": lambda lines: json.dumps(
        [google(textPayload=line) for line in lines]),
    "Google Cloud's objects": lambda lines: json.dumps(
        [google(jsonPayload=json.loads(line)) for line in lines]),
    # Source: https://learn.microsoft.com/azure/azure-monitor/reference/tables/containerlogv2
    "Azure's containers": each(lambda line: {
        "TimeGenerated": TIME, "ContainerId": "x", "LogMessage": line, "LogSource": "stdout"}),
    "Azure's container apps": lambda lines: as_table(
        ["TimeGenerated [UTC]", "ContainerAppName_s", "Log_s"],
        [["3/4/2026, 5:06:07.123 AM", "app", line] for line in lines]),
    # Source: https://cloud.google.com/pubsub/docs/reference/rest/v1/PubsubMessage
    "Pub/Sub": each(lambda line: {
        "ackId": "a", "message": {"data": in_base64(line), "messageId": "1", "publishTime": TIME}}),
    # Source: https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html
    "Kinesis": lambda lines: json.dumps({"Records": [
        {"eventSource": "aws:kinesis", "kinesis": {
            "data": in_base64(line), "approximateArrivalTimestamp": MILLISECONDS / 1000}}
        for line in lines]}),
    # Source: https://docs.python.org/3/library/logging.html (Formatter)
    "Python's logging": behind("2026-03-04 05:06:07,123 - app - INFO - "),
    "a time in brackets": behind("[2026-03-04 05:06:07,123] INFO: "),
    "Apache and nginx": behind('127.0.0.1 - - [04/Mar/2026:05:06:07 +0000] "POST /v1" 200 '),
    # Source: https://getpino.io, https://pkg.go.dev/go.uber.org/zap, https://clef-json.org
    "pino": each(lambda line: {"level": 30, "time": MILLISECONDS, "pid": 7, "msg": line}),
    "zap": each(lambda line: {"level": "info", "ts": MILLISECONDS / 1000, "msg": line}),
    "structlog": each(lambda line: {
        "event": "llm_call", "level": "info", "timestamp": TIME, "payload": json.loads(line)}),
    "Serilog": each(lambda line: {"@t": TIME, "@mt": "{Body}", "Body": json.loads(line)}),
    # Source: https://opentelemetry.io/docs/specs/otel/logs/data-model
    "OpenTelemetry": lambda lines: json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [
        {"timeUnixNano": NANOSECONDS, "body": {"stringValue": line}} for line in lines]}]}]}),
}  # fmt: skip
