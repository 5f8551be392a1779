"""The parts of the shim that others rely on without seeing them."""

import json
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import boto3
import pytest
from botocore.exceptions import ClientError

from conftest import ONCE
from samples import ROOT, stack
from shim.policies import Caller, NotUnderstood, Request, allowed, decide, matches
from shim.template import Rendering, TemplateError, load

CALLER = Caller("111111111111", ("arn:aws:iam::111111111111:user/a",))
READ = Request("s3:GetObject", "arn:aws:s3:::b/k", {"aws:securetransport": True})


def document(**statement):
    return {"Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*", **statement}]}


@pytest.mark.parametrize("statement,verdict", [
    ({}, "Allow"),
    ({"Effect": "Deny"}, "Deny"),
    ({"Action": "S3:getobject"}, "Allow"),
    ({"Action": ["s3:Put*", "s3:Get?bject"]}, "Allow"),
    ({"Action": "s3:PutObject"}, None),
    ({"Resource": "arn:aws:s3:::b/*"}, "Allow"),
    ({"Resource": "arn:aws:s3:::b"}, None),
    ({"Resource": "arn:aws:s3:::B/*"}, None),
    ({"Resource": "arn.aws:s3:::b/k"}, None),
    ({"Condition": {"Bool": {"aws:SecureTransport": "true"}}}, "Allow"),
    ({"Condition": {"Bool": {"aws:SecureTransport": "false"}}}, None),
    ({"Condition": {"StringEquals": {"sts:ExternalId": "x"}}}, None),
    ({"Condition": {"StringNotEquals": {"sts:ExternalId": "x"}}}, "Allow"),
    ({"Condition": {"StringEqualsIfExists": {"sts:ExternalId": "x"}}}, "Allow"),
    ({"Condition": {"Null": {"sts:ExternalId": "true"}}}, "Allow"),
    ({"Condition": {"Null": {"aws:SecureTransport": "true"}}}, None),
])
def test_statements_decide(statement, verdict):
    assert decide([document(**statement)], READ) == verdict


@pytest.mark.parametrize("statement", [
    {"Condition": {"DateGreaterThan": {"aws:CurrentTime": "2026-01-01"}}},
    {"Resource": "arn:aws:s3:::${aws:username}/*"},
    {"NotPrincipal": "*"},
])
def test_what_is_not_understood_is_never_a_yes(statement):
    with pytest.raises(NotUnderstood):
        decide([document(**statement)], READ)


def test_accounts_both_have_to_agree():
    yes, no = document(), document(Effect="Deny")
    theirs = document(Principal={"AWS": "111111111111"})
    own, other = CALLER.account, "222222222222"
    assert allowed(CALLER, [yes], [], READ, own) and allowed(CALLER, [], [theirs], READ, own)
    assert not allowed(CALLER, [], [], READ, own)
    assert not allowed(CALLER, [yes], [], READ, other) and not allowed(CALLER, [], [theirs], READ, other)
    assert allowed(CALLER, [yes], [theirs], READ, other)
    assert not allowed(CALLER, [yes, no], [theirs], READ, own)
    assert not allowed(CALLER, [yes], [document(Principal="*", Effect="Deny")], READ, own)
    assert not allowed(CALLER, [yes], [], READ, own, boundary=(document(Action="s3:PutObject"),))
    stranger = document(Principal={"AWS": "arn:aws:iam::333333333333:role/x"})
    assert not allowed(CALLER, [yes], [stranger], READ, other)


def test_patterns_are_not_regular_expressions():
    assert matches("a.c", "a.c") and not matches("a.c", "abc") and matches("a?c", "abc") and matches("*", "a/b\n")


def rendering(resources, **more):
    return Rendering(load(json.dumps({"Resources": resources, **more})), {}, "1", "us-east-1", "s", "arn:s")


def test_templates_resolve_and_complain():
    queue = {"Type": "AWS::SQS::Queue"}
    made = rendering(
        {"B": {**queue, "Properties": {"N": {"Fn::Sub": ["${x}-${!y}-${AWS::Region}", {"x": {"Ref": "A"}}]}}}, "A": queue}
    )
    assert made.wanted() == ["A", "B"]
    made.physical["A"] = "url"
    assert made.properties("B") == {"N": "url-${y}-us-east-1"}
    removed = rendering({"A": {**queue, "Properties": {"N": [{"Ref": "AWS::NoValue"}], "M": {"Ref": "AWS::NoValue"}}}})
    assert removed.properties("A") == {"N": []}
    circle = {"A": {**queue, "DependsOn": "B"}, "B": {**queue, "DependsOn": ["A"]}}
    with pytest.raises(TemplateError, match="Circular"):
        rendering(circle).wanted()
    with pytest.raises(TemplateError, match="Absent"):
        rendering({"A": {**queue, "Properties": {"N": {"Fn::GetAtt": ["Absent", "Arn"]}}}})
    with pytest.raises(TemplateError, match="not understood"):
        rendering({"A": {**queue, "Properties": {"N": {"Fn::Base64": "x"}}}}).properties("A")
    with pytest.raises(TemplateError, match="Transform"):
        load(json.dumps({"Transform": "AWS::Serverless", "Resources": {"A": queue}}))


def test_a_fault_that_could_match_nothing_is_refused(cloud):
    for fault in ({"effect": "explode"}, {"effect": "fail", "service": "s3"}, {"operation": "create", "effect": "throttle"}):
        with pytest.raises(urllib.error.HTTPError):
            cloud.fault(**fault)


def test_reads_may_lag_behind(cloud):
    iam = cloud.client("iam")
    iam.create_user(UserName="new")
    cloud.fault(service="iam", action="GetUser", effect="refuse", code="NoSuchEntity", times=2)
    for _ in range(2):
        with pytest.raises(iam.exceptions.NoSuchEntityException):
            iam.get_user(UserName="new")
    iam.get_user(UserName="new")
    assert cloud.control("GET", "requests") == {"iam:CreateUser": 1, "iam:GetUser": 3}


def test_stacks_are_in_one_region_only(cloud):
    elsewhere = boto3.client(
        "cloudformation", endpoint_url=cloud.url, region_name="eu-central-1", aws_access_key_id="AKIATEST",
        aws_secret_access_key="secret", config=ONCE,
    )
    with pytest.raises(ClientError):
        elsewhere.create_stack(**stack("data-out/queue", 1))


def test_the_server_ends_with_the_test_that_started_it():
    process = subprocess.Popen(
        [sys.executable, "-m", "shim"], cwd=ROOT / "tests/aws", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    url = json.loads(process.stdout.readline())["url"]
    with urllib.request.urlopen(f"{url}/_shim/left") as answer:
        assert json.loads(answer.read())["stacks"] == []
    process.stdin.close()
    assert process.wait(timeout=60) == 0


def test_a_shard_that_is_split_or_merged_keeps_its_records_and_ends(cloud):
    kinesis = cloud.client("kinesis")
    kinesis.create_stream(StreamName="s", ShardCount=1)

    def read(shard):
        place = kinesis.get_shard_iterator(StreamName="s", ShardId=shard, ShardIteratorType="TRIM_HORIZON")
        page = kinesis.get_records(ShardIterator=place["ShardIterator"])
        return [one["Data"] for one in page["Records"]], "NextShardIterator" in page

    def shards(wanted):
        before = {one["ShardId"] for one in kinesis.list_shards(StreamName="s")["Shards"]}
        kinesis.update_shard_count(StreamName="s", TargetShardCount=wanted, ScalingType="UNIFORM_SCALING")
        return [one["ShardId"] for one in kinesis.list_shards(StreamName="s")["Shards"] if one["ShardId"] not in before]

    kinesis.put_record(StreamName="s", Data=b"1", PartitionKey="k")
    (first,) = (one["ShardId"] for one in kinesis.list_shards(StreamName="s")["Shards"])
    assert read(first) == ([b"1"], True)
    halves = shards(2)
    assert read(first) == ([b"1"], False)
    assert [read(half) for half in halves] == [([], True)] * 2
    kinesis.put_record(StreamName="s", Data=b"2", PartitionKey="k")
    (whole,) = shards(1)
    assert sorted(read(half) for half in halves) == [([], False), ([b"2"], False)]
    assert read(whole) == ([], True)


def test_of_a_group_one_receiver_has_messages_at_a_time(cloud):
    sqs = cloud.client("sqs")
    queue = sqs.create_queue(QueueName="q.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    found = []

    def wait():
        answer = cloud.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=1, WaitTimeSeconds=2)
        found.append(answer.get("Messages", []))

    waiting = [threading.Thread(target=wait) for _ in range(2)]
    for thread in waiting:
        thread.start()
    for number in ("1", "2"):
        sqs.send_message(QueueUrl=queue, MessageBody=number, MessageGroupId="g", MessageDeduplicationId=number)
    for thread in waiting:
        thread.join()
    assert sorted([one["Body"] for one in messages] for messages in found) == [[], ["1"]]


def test_a_group_comes_in_its_order_while_messages_are_given_back_or_run_out_of_time(cloud):
    sqs, others = cloud.client("sqs"), cloud.client("sqs")
    queue = sqs.create_queue(QueueName="q.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    numbers = [str(number) for number in range(6)]
    for number in numbers:
        sqs.send_message(QueueUrl=queue, MessageBody=number, MessageGroupId="g", MessageDeduplicationId=number)

    def take(client, count, seconds):
        answer = client.receive_message(
            QueueUrl=queue, MaxNumberOfMessages=count, WaitTimeSeconds=3, VisibilityTimeout=seconds
        )
        return answer.get("Messages", [])

    def give_back(client, messages):
        entries = [
            {"Id": one["MessageId"], "ReceiptHandle": one["ReceiptHandle"], "VisibilityTimeout": 0} for one in messages
        ]
        if entries:
            client.change_message_visibility_batch(QueueUrl=queue, Entries=entries)

    for _ in range(50):
        giving = threading.Thread(target=give_back, args=(others, take(sqs, 4, 30)))
        giving.start()
        found = take(sqs, 6, 30)
        giving.join()
        assert [one["Body"] for one in found] == numbers
        give_back(sqs, found)
    for count in (2, 4):
        take(sqs, count, 1)
        assert [one["Body"] for one in take(sqs, 6, 1)] == numbers
