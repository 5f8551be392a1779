"""A client of channels, with boto3, for tests that are not written in Python.

    python client.py URL            reads jobs as JSON and writes what came of each
    python client.py URL --people INSTALLATION
                                    makes whoever asks in the tests, before rights are enforced: the platform's own
                                    role may do what templates/platform-role.yaml says
    python client.py URL --platform writes a session of the platform's own role, as {"as", "role"}; usually
                                    headgate-platform
    python client.py URL --deploy   makes a stack, as {"as", "name", "template", "parameters"} with a template of
                                    templates/, and writes its outputs
    python client.py URL --ask      makes one call, as a job below, and writes the answer
    python client.py URL --read     reads one channel's resource to its end, as {"as", and one of
                                    "bucket", "queue", "stream"}, and writes what was in it

A job is {"as": {"id", "secret", "roles": [{"arn", "external_id"}]}, "service", "call", "with"}: the
roles are taken up one after the other. It comes to "ok", to "refused", or to another error's code.
"""

import hashlib
import json
import sys
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from shim.template import Rendering, load, parameters

ONCE = Config(retries={"max_attempts": 0, "mode": "standard"}, signature_version="v4", s3={"addressing_style": "path"})
ACCOUNT, OTHERS_ACCOUNT = "123456789012", "222222222222"
BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/headgate/boundary"
ANYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}


def client(url, service, key="AKIATEST", secret="secret", token=None):
    return boto3.client(
        service, endpoint_url=url, region_name="us-east-1", aws_access_key_id=key, aws_secret_access_key=secret,
        aws_session_token=token, config=ONCE,
    )


def credentials_of(url, who):
    credentials = (who["id"], who["secret"])
    for role in who.get("roles", []):
        named = {"ExternalId": role["external_id"]} if "external_id" in role else {}
        taken = client(url, "sts", *credentials).assume_role(RoleArn=role["arn"], RoleSessionName="test", **named)
        session = taken["Credentials"]
        credentials = (session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"])
    return credentials


def outcome(url, job):
    try:
        credentials = credentials_of(url, job["as"])
        getattr(client(url, job["service"], *credentials), job["call"])(**job["with"])
    except ClientError as error:
        code = error.response["Error"]["Code"]
        return "refused" if code in ("AccessDenied", "AccessDeniedException") else code
    return "ok"


def platform(url, job):
    """A session of the platform's role."""
    operator = client(url, "sts", *credentials_of(url, job["as"]))
    role = job.get("role", f"arn:aws:iam::{ACCOUNT}:role/headgate-platform")
    taken = operator.assume_role(RoleArn=role, RoleSessionName="headgate")["Credentials"]
    return {"id": taken["AccessKeyId"], "secret": taken["SecretAccessKey"], "token": taken["SessionToken"]}


def deploy(url, job):
    """As `aws cloudformation deploy` does; there are no change sets here."""
    cloudformation = client(url, "cloudformation", *credentials_of(url, job["as"]))
    cloudformation.create_stack(
        StackName=job["name"],
        TemplateBody=(Path(__file__).parents[2] / "templates" / job["template"]).read_text(),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in job["parameters"].items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    waiter = cloudformation.get_waiter("stack_create_complete")
    waiter.wait(StackName=job["name"], WaiterConfig={"Delay": 0.05, "MaxAttempts": 1200})
    stack = cloudformation.describe_stacks(StackName=job["name"])["Stacks"][0]
    return {one["OutputKey"]: one["OutputValue"] for one in stack.get("Outputs", [])}


def ask(url, job):
    call = getattr(client(url, job["service"], *credentials_of(url, job["as"])), job["call"])
    answer = call(**job["with"])
    return {key: value for key, value in answer.items() if key != "ResponseMetadata"}


def rights(installation, boundary):
    """Name → document of the policies that templates/platform-role.yaml gives to the role, and of the boundary
    with this ARN."""
    text = (Path(__file__).parents[2] / "templates/platform-role.yaml").read_text()
    template = load(text)
    given = parameters(template, {"Installation": installation})
    rendering = Rendering(template, given, ACCOUNT, "us-east-1", "headgate", "arn:stack")
    rendering.physical["Boundary"] = boundary
    resources = template["Resources"].items()
    policies = [name for name, one in resources if one["Type"] == "AWS::IAM::ManagedPolicy"]
    return {name: rendering.properties(name)["PolicyDocument"] for name in policies}


def read(url, job):
    """What is in a bucket (manifest, listed keys, content of what the manifest names), a queue (messages,
    which are removed) or a stream (records by shard)."""
    credentials = credentials_of(url, job["as"])
    if "bucket" in job:
        s3 = client(url, "s3", *credentials)
        content = lambda key: s3.get_object(Bucket=job["bucket"], Key=key)["Body"].read()
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=job["bucket"], Prefix="files/")
        keys = [one["Key"] for page in pages for one in page.get("Contents", [])]
        manifest = json.loads(content("manifest.json"))
        files = []
        for file in manifest["files"]:
            found = content(f"files/{file['name']}")
            assert (len(found), hashlib.sha256(found).hexdigest()) == (file["bytes"], file["sha256"]), file
            files.append(found.decode())
        return {"manifest": manifest["files"], "keys": keys, "files": files}
    if "queue" in job:
        sqs = client(url, "sqs", *credentials)
        found = []
        while True:
            taken = sqs.receive_message(
                QueueUrl=job["queue"], MaxNumberOfMessages=10, WaitTimeSeconds=0, AttributeNames=["All"]
            ).get("Messages", [])
            for message in taken:
                found.append({"body": message["Body"], "group": message["Attributes"].get("MessageGroupId")})
                sqs.delete_message(QueueUrl=job["queue"], ReceiptHandle=message["ReceiptHandle"])
            if not taken:
                return found
    kinesis = client(url, "kinesis", *credentials)
    found = []
    for shard in kinesis.list_shards(StreamName=job["stream"])["Shards"]:
        place = kinesis.get_shard_iterator(
            StreamName=job["stream"], ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while place:
            page = kinesis.get_records(ShardIterator=place, Limit=1000)
            found += [
                {"shard": shard["ShardId"], "key": one["PartitionKey"], "body": one["Data"].decode()}
                for one in page["Records"]
            ]
            place = page.get("NextShardIterator") if page["Records"] else None
    return found


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def trust(account):
    principal = {"AWS": f"arn:aws:iam::{account}:root"}
    return document({"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"})


def people(url, installation):
    """Who administers the platform's account, the platform's own role, and another account with its people."""
    iam = client(url, "iam")
    iam.create_role(RoleName="headgate-platform", AssumeRolePolicyDocument=trust(ACCOUNT))
    documents = rights(installation, BOUNDARY)
    iam.create_policy(PolicyName="boundary", Path="/headgate/", PolicyDocument=json.dumps(documents.pop("Boundary")))
    for name, policy in documents.items():
        iam.put_role_policy(RoleName="headgate-platform", PolicyName=name, PolicyDocument=json.dumps(policy))
    stranger = client(url, "iam")
    stranger.meta.events.register(
        "before-sign", lambda request, **_: request.headers.add_header("x-moto-account-id", OTHERS_ACCOUNT)
    )
    for role in ("spark", "thief"):
        stranger.create_role(RoleName=role, AssumeRolePolicyDocument=trust(OTHERS_ACCOUNT))
        stranger.put_role_policy(RoleName=role, PolicyName="own", PolicyDocument=document(ANYTHING))
    made = {name: user(of, name) for name, of in (("operator", iam), ("analyst", stranger))}
    operator = made["operator"]
    return {**made, "platform": platform(url, {"as": operator})}


def user(iam, name):
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=document(ANYTHING))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {"id": key["AccessKeyId"], "secret": key["SecretAccessKey"]}


if __name__ == "__main__":
    if sys.argv[2:3] == ["--people"]:
        print(json.dumps(people(sys.argv[1], sys.argv[3])))
    elif sys.argv[2:] == ["--platform"]:
        print(json.dumps(platform(sys.argv[1], json.load(sys.stdin))))
    elif sys.argv[2:] == ["--deploy"]:
        print(json.dumps(deploy(sys.argv[1], json.load(sys.stdin))))
    elif sys.argv[2:] == ["--ask"]:
        print(json.dumps(ask(sys.argv[1], json.load(sys.stdin)), default=str))
    elif sys.argv[2:] == ["--read"]:
        print(json.dumps(read(sys.argv[1], json.load(sys.stdin))))
    else:
        print(json.dumps([outcome(sys.argv[1], job) for job in json.load(sys.stdin)]))
