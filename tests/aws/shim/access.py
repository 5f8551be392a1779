"""Who signed a request, and whether that one may do it.

Users, keys, roles, sessions and the policies of resources are read from moto; the decision is
made here (policies.py), because moto's own knows real ARNs of four services only, no conditions,
no inactive keys and no source of a copy.
"""

import json
from datetime import datetime, timezone

from moto.iam.access_control import AssumedRoleAccessKey, IAMUserAccessKey
from moto.iam.models import iam_backends
from moto.s3.models import s3_backends
from moto.secretsmanager.models import secretsmanager_backends
from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends
from moto.sts.models import sts_backends

from . import actions, boundaries
from .policies import Caller, NotUnderstood, Request, allowed, allowing
from .signature import Signed

PARTITION = "aws"


class Refused(Exception):
    def __init__(self, code, message):
        super().__init__(message)
        self.code, self.message = code, message


def check(method, path, query, headers, body, encrypted, note):
    """Refuses what is not signed, or not allowed. `encrypted`: whether it came as if by TLS. `note` is told
    of each action that is allowed: who asked, the action, and the statements of who asked that allow it.

    Answers the key that signed."""
    try:
        signed = Signed(method, path, query, headers, body)
    except (ValueError, KeyError) as error:
        raise Refused("MissingAuthenticationToken", str(error)) from error
    caller, secret, identity, boundary = _caller(signed.key, signed.token)
    if not signed.is_in_time(datetime.now(timezone.utc)):
        raise Refused("RequestExpired", "the request is older than it may be")
    if not signed.is_by(secret) or not signed.is_of_this_body():
        raise Refused("SignatureDoesNotMatch", "the signature is not of this request by this key")
    context = _context(caller, encrypted)
    if signed.service == "s3" and encrypted:
        context["s3:tlsversion"] = "1.3"
    request = (signed.service, signed.region, method, path, query, headers, body)
    _decide(request, (caller, identity, boundary), context, note)
    return signed.key


def check_for(key, service, region, method, path, query, headers, body, note):
    """Refuses what CloudFormation asks of a service in the name of whoever asked for the stack, where that
    one may not: it has no rights of its own. `key` is the one that signed for the stack."""
    caller, _, identity, boundary = _caller(key, None, in_its_name=True)
    context = {**_context(caller, True), "aws:calledvialast": "cloudformation.amazonaws.com", "s3:tlsversion": "1.3"}
    _decide((service, region, method, path, query, headers, body), (caller, identity, boundary), context, note)


def _context(caller, encrypted):
    return {
        "aws:securetransport": encrypted,
        "aws:principalarn": caller.arns[0],
        "aws:principalaccount": caller.account,
    }


def _decide(request, who, context, note):
    (service, region, method, path, query, headers, body), (caller, identity, boundary) = request, who
    try:
        # Names without an account mean the caller's own.
        wanted = actions.asked(service, region, caller.account, method, path, query, headers, body)
        for action, arn in wanted:
            if action == "sts:AssumeRole":
                _check_assumption(caller, identity, boundary, arn, body, context)
                note(caller.arns[0], action, allowing(identity, Request(action, arn, context)))
            elif action != "sts:GetCallerIdentity":
                further = actions.conditions(service, body, caller.account)
                wish = Request(action, arn, {**context, **further})
                owner, policies = _of_resource(arn, caller.account)
                if not allowed(caller, identity, policies, wish, owner, boundary):
                    raise Refused("AccessDenied", f"{caller.arns[0]} is not authorized to perform: {action} on {arn}")
                note(caller.arns[0], action, allowing(identity, wish))
    except NotUnderstood as error:
        raise Refused("NotImplemented", f"not understood here: {error}") from error


def _caller(signed_by, token, in_its_name=False):
    """(caller, secret, identity policies, further limits) of a key. `in_its_name`: whoever has shown the key
    and the token of its session before goes on."""
    for number in list(iam_backends):
        key = iam_backends[number][PARTITION].access_keys.get(signed_by)
        if key is None:
            continue
        if token is not None or key.role_arn is not None:
            break
        if key.status != "Active":
            raise Refused("InvalidClientTokenId", "the key is not active")
        user = iam_backends[number][PARTITION].get_user(key.user_name)
        found = IAMUserAccessKey(number, PARTITION, signed_by, {})
        documents = [_document(one) for one in found.collect_policies()]
        return Caller(number, (user.arn,)), key.secret_access_key, documents, boundaries.documents(number, user)
    for number in list(sts_backends):
        role = sts_backends[number][PARTITION].get_assumed_role_from_access_key(signed_by)
        if role is None:
            continue
        if token != role.session_token and not in_its_name:
            break
        if role.expiration.replace(tzinfo=timezone.utc) < datetime.now(timezone.utc):
            raise Refused("ExpiredToken", "the session is over")
        own = _role(role.role_arn)
        if not own:
            raise Refused("InvalidClientTokenId", "the role is gone")
        found = AssumedRoleAccessKey(number, PARTITION, signed_by, {"X-Amz-Security-Token": role.session_token})
        documents = [_document(one) for one in found.collect_policies()]
        limits = (json.loads(role.policy),) if role.policy else ()
        limits += boundaries.documents(role.role_arn.split(":")[4], own)
        return Caller(number, (role.role_arn, role.arn)), role.secret_access_key, documents, limits
    raise Refused("InvalidClientTokenId", "there is no such key")


def _document(found):
    if hasattr(found, "versions"):
        text = next(one.document for one in found.versions if one.version_id == found.default_version_id)
    elif isinstance(found, dict):
        text = found["policy_document"]
    else:
        text = found
    return json.loads(text) if isinstance(text, str) else text


def _role(arn):
    number = arn.split(":")[4]
    return next((one for one in iam_backends[number][PARTITION].get_roles() if one.arn == arn), None)


def _check_assumption(caller, identity, boundary, arn, body, context):
    """The caller's own policies and the role's trust both have to allow it."""
    role = _role(arn)
    form = dict(actions.parse_qsl(body.decode()))
    external_id = form.get("ExternalId")
    if external_id is not None:
        context = {**context, "sts:externalid": external_id}
    request = Request("sts:AssumeRole", arn, context)
    trust = [json.loads(role.assume_role_policy_document)] if role else []
    # Across accounts on purpose: `allowed` then wants both sides.
    if role is None or not allowed(caller, identity, trust, request, "another", boundary):
        raise Refused("AccessDenied", f"{caller.arns[0]} is not authorized to perform: sts:AssumeRole on {arn}")


def _of_resource(arn, own):
    """(account, policy documents) of what an ARN names."""
    _, _, service, region, number, rest = (arn.split(":", 5) + [""] * 6)[:6]
    texts = []
    if service == "s3":
        name = rest.split("/")[0]
        number = own
        for account in list(s3_backends):
            bucket = s3_backends[account][PARTITION].buckets.get(name)
            if bucket is not None:
                number, texts = account, [bucket.policy.decode() if bucket.policy else None]
    elif service == "sqs":
        queue = sqs_backends[number][region].queues.get(rest)
        texts = [queue.policy if queue else None]
    elif service == "sns":
        topic = sns_backends[number][region].topics.get(arn)
        texts = [topic.policy if topic else None]
    elif service == "secretsmanager":
        name = rest.removeprefix("secret:")
        secrets = secretsmanager_backends[number][region].secrets
        secret = next((one for key, one in list(secrets.items()) if name in (key, one.name, one.arn)), None)
        texts = [secret.policy if secret else None]
    documents = [json.loads(text) for text in texts if text]
    return number or own, documents
