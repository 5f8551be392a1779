"""What no schema can say of a request, so that what is generated as right is right."""

import uuid

import schemathesis
from schemathesis import GenerationMode

# Small languages, whose parsers have properties of their own: something that is right in them.
RIGHT = {
    "filter": "created_at > 2026-01-01T00:00:00Z",
    "types": "io.headgate.channel.ready.v1,io.headgate.order.failed.v1",
    "group_by": "day,channel",
    "facets": "region:eu",
}
# Orders are filtered by few fields, and only by what they are.
ORDERS = {**RIGHT, "filter": "state = RUNNING"}


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.meta is None or case.meta.generation.mode != GenerationMode.POSITIVE:
        return
    headers = {parameter.name for parameter in case.operation.headers}
    if "Idempotency-Key" in headers:
        # A key names one request, and some orders want one.
        case.headers["Idempotency-Key"] = str(uuid.uuid4())
    query = case.query or {}
    # Only the server makes them.
    query.pop("page_token", None)
    right = ORDERS if case.operation.path.endswith("/orders") else RIGHT
    for name in query.keys() & right.keys():
        query[name] = right[name]
    if isinstance(case.body, (dict, list)):
        case.body = whole(case.body)


def whole(value):
    """1.0 is an integer to JSON Schema; here a number with a point is a decimal one."""
    if isinstance(value, dict):
        return {name: whole(member) for name, member in value.items()}
    if isinstance(value, list):
        return [whole(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
