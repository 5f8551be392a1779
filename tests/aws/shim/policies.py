"""Decides by policy documents, as IAM does.

An explicit Deny wins; without an Allow nothing is allowed. An operator or a variable that is not
understood is an error, never a yes.
"""

import re
from dataclasses import dataclass, field


class NotUnderstood(Exception):
    """A policy asks for something that this evaluation does not know."""


@dataclass(frozen=True)
class Caller:
    """Who asks. `arns` are the names that a policy may know the caller by; a service has only its name."""

    account: str
    arns: tuple
    service: str = ""


@dataclass(frozen=True)
class Request:
    """What is asked: an action such as `s3:GetObject` on a resource's ARN."""

    action: str
    resource: str
    context: dict = field(default_factory=dict)


def decide(documents, request, caller=None):
    """`Deny`, `Allow` or None. With a caller the documents are those of a resource and name principals."""
    verdict = None
    for document in documents:
        for statement in _listed(document["Statement"]):
            if not _applies(statement, request, caller):
                continue
            if statement["Effect"] == "Deny":
                return "Deny"
            verdict = "Allow"
    return verdict


def allowing(documents, request):
    """The Sid of every statement of these that allows it; a statement without one is not named."""
    statements = (one for document in documents for one in _listed(document["Statement"]) if one["Effect"] == "Allow")
    return {one["Sid"] for one in statements if "Sid" in one and _applies(one, request, None)}


def allowed(caller, identity, resource, request, owner, boundary=()):
    """Whether a caller with these policies may, at a resource of account `owner` with those policies.

    Within one account either side may allow; across accounts both have to. `boundary` are policies
    that each have to allow as well, such as that of a session.
    """
    by_identity = decide(identity, request)
    by_resource = decide(resource, request, caller)
    limits = [decide([document], request) for document in boundary]
    if "Deny" in (by_identity, by_resource, *limits) or not all(limits):
        return False
    if caller.account == owner:
        return "Allow" in (by_identity, by_resource)
    return by_identity == by_resource == "Allow"


def _applies(statement, request, caller):
    unknown = set(statement) - {
        "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition",
    }
    if unknown or "NotPrincipal" in statement:
        raise NotUnderstood(f"statement with {sorted(unknown) or 'NotPrincipal'}")
    if caller is not None and not _names(statement["Principal"], caller):
        return False
    if "NotAction" in statement:
        if _any(statement["NotAction"], request.action, case=False):
            return False
    elif not _any(statement["Action"], request.action, case=False):
        return False
    if "NotResource" in statement:
        if _any(statement["NotResource"], request.resource):
            return False
    # A trust policy names no resource: it is the resource.
    elif "Resource" in statement and not _any(statement["Resource"], request.resource):
        return False
    return all(_holds(operator, wanted, request.context) for operator, wanted in statement.get("Condition", {}).items())


def _names(principal, caller):
    if principal == "*":
        return True
    for kind, names in principal.items():
        if kind == "Service":
            if caller.service in _listed(names):
                return True
            continue
        if kind != "AWS":
            raise NotUnderstood(f"principal of kind {kind}")
        for name in _listed(names):
            if name in ("*", caller.account, f"arn:aws:iam::{caller.account}:root", *caller.arns):
                return True
    return False


def _holds(operator, wanted, context):
    base = operator.removesuffix("IfExists")
    test = OPERATORS.get(base)
    if test is None:
        raise NotUnderstood(f"condition operator {operator}")
    for key, values in wanted.items():
        value = context.get(key.lower())
        if base == "Null":
            if (value is None) != (str(_listed(values)[0]).lower() == "true"):
                return False
            continue
        if value is None:
            # Absent keys fail a test, except a negated one.
            if operator.endswith("IfExists") or base in NEGATED:
                continue
            return False
        hits = [test(str(value), str(one)) for one in _listed(values)]
        if not (all(hits) if base in NEGATED else any(hits)):
            return False
    return True


def matches(pattern, value):
    """Whether `value` is as `pattern` says, where * is any text and ? any one character."""
    if "${" in pattern:
        raise NotUnderstood(f"policy variable in {pattern}")
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, value, re.DOTALL) is not None


OPERATORS = {
    "StringEquals": lambda value, wanted: value == wanted,
    "StringNotEquals": lambda value, wanted: value != wanted,
    "StringEqualsIgnoreCase": lambda value, wanted: value.lower() == wanted.lower(),
    "StringLike": lambda value, wanted: matches(wanted, value),
    "StringNotLike": lambda value, wanted: not matches(wanted, value),
    "ArnEquals": lambda value, wanted: matches(wanted, value),
    "ArnLike": lambda value, wanted: matches(wanted, value),
    "ArnNotEquals": lambda value, wanted: not matches(wanted, value),
    "ArnNotLike": lambda value, wanted: not matches(wanted, value),
    "Bool": lambda value, wanted: value.lower() == wanted.lower(),
    "NumericLessThan": lambda value, wanted: float(value) < float(wanted),
    "NumericLessThanEquals": lambda value, wanted: float(value) <= float(wanted),
    "NumericGreaterThan": lambda value, wanted: float(value) > float(wanted),
    "Null": None.__class__,
}
NEGATED = {"StringNotEquals", "StringNotLike", "ArnNotEquals", "ArnNotLike"}


def _any(patterns, value, case=True):
    if not case:
        return any(matches(pattern.lower(), value.lower()) for pattern in _listed(patterns))
    return any(matches(pattern, value) for pattern in _listed(patterns))


def _listed(value):
    return value if isinstance(value, list) else [value]
