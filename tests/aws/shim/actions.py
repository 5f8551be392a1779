"""What a request asks for, in the words of policies: actions on ARNs."""

import base64
import json
import re
from urllib.parse import parse_qs, parse_qsl, unquote

from moto.iam.models import iam_backends

from . import boundaries
from .policies import NotUnderstood

BATCHES = {
    "SendMessageBatch": "SendMessage",
    "DeleteMessageBatch": "DeleteMessage",
    "ChangeMessageVisibilityBatch": "ChangeMessageVisibility",
}
TAGGED = {("iam", "CreateRole"): "TagRole", ("iam", "CreateUser"): "TagUser", ("sqs", "CreateQueue"): "TagQueue"}
# Sub-resources of a bucket: (read, write, delete).
BUCKET_PARTS = {
    "policy": ("GetBucketPolicy", "PutBucketPolicy", "DeleteBucketPolicy"),
    "tagging": ("GetBucketTagging", "PutBucketTagging", "PutBucketTagging"),
    "versioning": ("GetBucketVersioning", "PutBucketVersioning", None),
    "encryption": ("GetEncryptionConfiguration", "PutEncryptionConfiguration", "PutEncryptionConfiguration"),
    "lifecycle": ("GetLifecycleConfiguration", "PutLifecycleConfiguration", "PutLifecycleConfiguration"),
    "notification": ("GetBucketNotification", "PutBucketNotification", None),
    "publicAccessBlock": (
        "GetBucketPublicAccessBlock", "PutBucketPublicAccessBlock", "PutBucketPublicAccessBlock"
    ),
    "ownershipControls": (
        "GetBucketOwnershipControls", "PutBucketOwnershipControls", "PutBucketOwnershipControls"
    ),
    "acl": ("GetBucketAcl", "PutBucketAcl", None),
    "location": ("GetBucketLocation", None, None),
    "uploads": ("ListBucketMultipartUploads", None, None),
    "versions": ("ListBucketVersions", None, None),
}
# What says how a request is made, not what it is about.
PLAIN = re.compile(
    r"list-type|prefix|delimiter|max-keys|start-after|continuation-token|encoding-type|fetch-owner|marker|key-marker"
    r"|version-id-marker|max-uploads|upload-id-marker|partNumber|part-number-marker|max-parts|x-id|response-.*|X-Amz-.*"
)


def asked(service, region, account, method, path, query, headers, body):
    """(action, ARN) of everything that must be allowed for the request."""
    if service == "s3":
        return _s3(method, path, query, headers, body)
    target = headers.get("x-amz-target")
    if target:
        action, arguments = target.split(".", 1)[1], json.loads(body or b"{}")
    else:
        arguments = dict(parse_qsl(body.decode() or query, keep_blank_values=True))
        action = arguments.get("Action", "")
    find = ARNS.get(service)
    if find is None or not action:
        raise NotUnderstood(f"{service}:{action}")
    arn = find(action, arguments, f"{region}:{account}")
    wanted = [(f"{service}:{BATCHES.get(action, action)}", arn)]
    # Who makes something with tags must be allowed to tag it.
    tagged = TAGGED.get((service, action))
    if tagged and any(key.lower().startswith("tag") for key in arguments):
        wanted.append((f"{service}:{tagged}", arn))
    return wanted


def conditions(service, body, account):
    """What a request says of itself, and of the user or role that it changes, for conditions."""
    if service != "iam":
        return {}
    form = dict(parse_qsl(body.decode()))
    said = {
        "iam:policyarn": form.get("PolicyArn"),
        "iam:permissionsboundary": form.get("PermissionsBoundary") or boundaries.of_named(account, form),
    }
    return {key: value for key, value in said.items() if value}


def _sqs(action, arguments, place):
    if "QueueUrl" in arguments:
        number, name = arguments["QueueUrl"].rstrip("/").split("/")[-2:]
        return f"arn:aws:sqs:{place.split(':')[0]}:{number}:{name}"
    if "QueueName" in arguments:
        return f"arn:aws:sqs:{place}:{arguments['QueueName']}"
    return arguments.get("SourceArn", "*")


def _kinesis(action, arguments, place):
    if "StreamARN" in arguments:
        return arguments["StreamARN"]
    name = arguments.get("StreamName")
    if name is None and "ShardIterator" in arguments:
        # An iterator names its stream; moto writes it as base64 of stream:shard:sequence.
        name = base64.b64decode(arguments["ShardIterator"]).decode().split(":")[0]
        if name == "None":
            # moto forgets the name when the iterator was asked for by ARN.
            raise NotUnderstood("an iterator that moto wrote without its stream")
    return f"arn:aws:kinesis:{place}:stream/{name}" if name else "*"


def _sns(action, arguments, place):
    if "Name" in arguments and action == "CreateTopic":
        return f"arn:aws:sns:{place}:{arguments['Name']}"
    return arguments.get("TopicArn") or arguments.get("ResourceArn") or "*"


def _secrets(action, arguments, place):
    name = arguments.get("SecretId") or arguments.get("Name")
    if name is None:
        return "*"
    return name if name.startswith("arn:") else f"arn:aws:secretsmanager:{place}:secret:{name}-??????"


def _iam(action, arguments, place):
    number = place.split(":")[1]
    backend, path = iam_backends[number]["aws"], arguments.get("Path")
    for key, kind, found in (
        ("UserName", "user", lambda name: backend.users.get(name)),
        ("RoleName", "role", lambda name: next((one for one in backend.get_roles() if one.name == name), None)),
        ("PolicyName", "policy", lambda _: None),
    ):
        if key in arguments:
            # The path is part of the ARN, and only who makes something names it.
            there = found(arguments[key]) if path is None else None
            return there.arn if there else f"arn:aws:iam::{number}:{kind}{path or '/'}{arguments[key]}"
    return arguments.get("PolicyArn", "*")


def _cloudformation(action, arguments, place):
    name = arguments.get("StackName", "*")
    return name if name.startswith("arn:") or name == "*" else f"arn:aws:cloudformation:{place}:stack/{name}/*"


def _cognito(action, arguments, place):
    pool = arguments.get("UserPoolId")
    return f"arn:aws:cognito-idp:{place}:userpool/{pool}" if pool else "*"


ARNS = {
    "cognito-idp": _cognito,
    "sqs": _sqs,
    "kinesis": _kinesis,
    "sns": _sns,
    "secretsmanager": _secrets,
    "iam": _iam,
    "sts": lambda action, arguments, place: arguments.get("RoleArn", "*"),
    "cloudformation": _cloudformation,
}


def _s3(method, path, query, headers, body):
    name, _, key = unquote(path).lstrip("/").partition("/")
    if not name:
        return [("s3:ListAllMyBuckets", "*")]
    bucket = f"arn:aws:s3:::{name}"
    parts = parse_qs(query, keep_blank_values=True)
    flags = {flag for flag in parts if not PLAIN.fullmatch(flag)}
    if not key:
        return _s3_bucket(method, bucket, flags, body)
    version = "Version" if "versionId" in flags else ""
    one = f"{bucket}/{key}"
    if flags - {"versionId", "uploads", "uploadId", "tagging"}:
        raise NotUnderstood(f"s3 {method} object {sorted(flags)}")
    if "tagging" in flags:
        verb = {"GET": "Get", "PUT": "Put", "DELETE": "Delete"}[method]
        return [(f"s3:{verb}Object{version}Tagging", one)]
    if method in ("GET", "HEAD"):
        return [("s3:ListMultipartUploadParts" if "uploadId" in flags else f"s3:GetObject{version}", one)]
    if method == "DELETE":
        return [("s3:AbortMultipartUpload" if "uploadId" in flags else f"s3:DeleteObject{version}", one)]
    wanted = [("s3:PutObject", one)]
    source = headers.get("x-amz-copy-source")
    if source:
        place, _, of_version = unquote(source).lstrip("/").partition("?versionId=")
        wanted.append((f"s3:GetObject{'Version' if of_version else ''}", f"arn:aws:s3:::{place}"))
    return wanted


def _s3_bucket(method, bucket, flags, body):
    if not flags:
        actions = {"GET": "ListBucket", "HEAD": "ListBucket", "PUT": "CreateBucket", "DELETE": "DeleteBucket"}
        return [(f"s3:{actions[method]}", bucket)]
    if flags == {"delete"}:
        keys = re.findall(r"<Object>(.*?)</Object>", body.decode(), re.DOTALL)
        named = [(re.search(r"<Key>(.*?)</Key>", one, re.DOTALL).group(1), "<VersionId>" in one) for one in keys]
        return [(f"s3:DeleteObject{'Version' if version else ''}", f"{bucket}/{key}") for key, version in named]
    for flag in flags & set(BUCKET_PARTS):
        action = BUCKET_PARTS[flag][{"GET": 0, "HEAD": 0, "PUT": 1, "DELETE": 2}[method]]
        if action and flags == {flag}:
            return [(f"s3:{action}", bucket)]
    raise NotUnderstood(f"s3 {method} bucket {sorted(flags)}")
