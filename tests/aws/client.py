"""A client of channels, with boto3, for tests that are not written in Python.

    python client.py URL            reads jobs as JSON and writes what came of each
    python client.py URL --people   makes whoever asks in the tests, before rights are enforced

A job is {"as": {"id", "secret", "roles": [{"arn", "external_id"}]}, "service", "call", "with"}: the
roles are taken up one after the other. It comes to "ok", to "refused", or to another error's code.
"""

import json
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ONCE = Config(retries={"max_attempts": 0, "mode": "standard"}, signature_version="v4", s3={"addressing_style": "path"})
ACCOUNT, OTHERS_ACCOUNT = "123456789012", "222222222222"
ANYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}


def client(url, service, key="AKIATEST", secret="secret", token=None):
    return boto3.client(
        service, endpoint_url=url, region_name="us-east-1", aws_access_key_id=key, aws_secret_access_key=secret,
        aws_session_token=token, config=ONCE,
    )


def outcome(url, job):
    credentials = (job["as"]["id"], job["as"]["secret"])
    try:
        for role in job["as"].get("roles", []):
            named = {"ExternalId": role["external_id"]} if "external_id" in role else {}
            taken = client(url, "sts", *credentials).assume_role(RoleArn=role["arn"], RoleSessionName="test", **named)
            session = taken["Credentials"]
            credentials = (session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"])
        getattr(client(url, job["service"], *credentials), job["call"])(**job["with"])
    except ClientError as error:
        code = error.response["Error"]["Code"]
        return "refused" if code in ("AccessDenied", "AccessDeniedException") else code
    return "ok"


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def trust(account):
    principal = {"AWS": f"arn:aws:iam::{account}:root"}
    return document({"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"})


def people(url):
    """Who administers the platform's account, the platform's own role, and another account with its people."""
    iam = client(url, "iam")
    take_up = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": f"arn:aws:iam::{ACCOUNT}:role/headgate/*"}
    iam.create_role(RoleName="headgate-platform", AssumeRolePolicyDocument=trust(ACCOUNT))
    iam.put_role_policy(RoleName="headgate-platform", PolicyName="own", PolicyDocument=document(take_up))
    stranger = client(url, "iam")
    stranger.meta.events.register(
        "before-sign", lambda request, **_: request.headers.add_header("x-moto-account-id", OTHERS_ACCOUNT)
    )
    for role in ("spark", "thief"):
        stranger.create_role(RoleName=role, AssumeRolePolicyDocument=trust(OTHERS_ACCOUNT))
        stranger.put_role_policy(RoleName=role, PolicyName="own", PolicyDocument=document(ANYTHING))
    made = {name: user(of, name) for name, of in (("operator", iam), ("analyst", stranger))}
    # The platform's own processes: beside taking up roles they may do what docs/aws.md lists.
    rights = {"Effect": "Allow", "Action": ["cloudformation:*", "iam:*", "s3:*"], "Resource": "*"}
    iam.put_role_policy(RoleName="headgate-platform", PolicyName="stacks", PolicyDocument=document(rights))
    operator = client(url, "sts", made["operator"]["id"], made["operator"]["secret"])
    role = f"arn:aws:iam::{ACCOUNT}:role/headgate-platform"
    session = operator.assume_role(RoleArn=role, RoleSessionName="headgate")["Credentials"]
    platform = {"id": session["AccessKeyId"], "secret": session["SecretAccessKey"], "token": session["SessionToken"]}
    return {**made, "platform": platform}


def user(iam, name):
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=document(ANYTHING))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {"id": key["AccessKeyId"], "secret": key["SecretAccessKey"]}


if __name__ == "__main__":
    if sys.argv[2:] == ["--people"]:
        print(json.dumps(people(sys.argv[1])))
    else:
        print(json.dumps([outcome(sys.argv[1], job) for job in json.load(sys.stdin)]))
