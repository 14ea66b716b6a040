#!/usr/bin/env python3
"""Reads one OTLP message on standard input by OpenTelemetry's own schema, writes its spans as JSON.

An unknown field anywhere in it is an error: the message must be of that schema and no more.
"""

import base64
import json
import sys

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


def check_known(message):
    unknown = UnknownFieldSet(message)
    if len(unknown) > 0:
        sys.exit(f"unknown field {unknown[0].field_number} in {message.DESCRIPTOR.full_name}")
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if isinstance(value, Message) else value:
                check_known(part)


def attributes(message):
    return {one["key"]: next(iter(one["value"].values())) for one in message.get("attributes", [])}


request = ExportTraceServiceRequest.FromString(sys.stdin.buffer.read())
check_known(request)
spans = []
for resource in MessageToDict(request)["resourceSpans"]:
    for scope in resource["scopeSpans"]:
        for span in scope["spans"]:
            for key in ("traceId", "spanId", "parentSpanId"):
                span[key] = base64.b64decode(span.get(key, "")).hex()
            span["attributes"] = attributes(span)
            span["resource"] = attributes(resource["resource"])
            span["scope"] = scope["scope"]["name"]
            spans.append(span)
json.dump(spans, sys.stdout)
