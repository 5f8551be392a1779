"""The stacks of the shim: what a driver may rely on when it is tried against them."""

import json
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote_plus

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from conftest import outputs
from samples import CLIENT_ROLE, EXTERNAL_ID, TEMPLATES, stack, stack_name, text, values

NAME = stack_name(1)


def code(error):
    return error.value.response["Error"]["Code"]


def statuses(cloud, name, logical_id=None):
    """States of the stack, or of one resource, oldest first."""
    events = cloud.client("cloudformation").describe_stack_events(StackName=name)["StackEvents"]
    wanted = logical_id or name.split("/")[-2 if "/" in name else 0]
    return [e["ResourceStatus"] for e in reversed(events) if e["LogicalResourceId"] == wanted]


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_template_is_made_resized_and_removed_without_a_trace(cloud, name):
    client = cloud.client("cloudformation")
    client.create_stack(**stack(name, 1))
    made = outputs(cloud.until(NAME, "CREATE_COMPLETE"))
    assert "ClientUserName" in made and "ClientRoleArn" not in made
    cloud.client("iam").get_user(UserName=made["ClientUserName"])

    client.update_stack(**stack(name, 1, Size="M", **({"ShardStep": "6"} if "stream" in name else {})))
    assert outputs(cloud.until(NAME, "UPDATE_COMPLETE"))["Url"] == made["Url"], "a resize keeps the resource"

    other = stack(name, 1, Size="M", ClientPrincipal=CLIENT_ROLE, ClientExternalId=EXTERNAL_ID,
                  **({"ShardStep": "6"} if "stream" in name else {}))
    client.update_stack(**other)
    changed = outputs(cloud.until(NAME, "UPDATE_COMPLETE"))
    assert "ClientUserName" not in changed and "ClientRoleArn" in changed
    assert cloud.left().get("users") is None

    client.delete_stack(StackName=NAME)
    gone = client.describe_stacks(StackName=client.list_stacks()["StackSummaries"][0]["StackId"])["Stacks"][0]
    cloud.until(gone["StackId"], "DELETE_COMPLETE")
    assert cloud.left() == {}


def test_a_resize_reaches_the_real_resources(cloud):
    client = cloud.client("cloudformation")
    client.create_stack(**stack("data-out/queue", 1))
    url = outputs(cloud.until(NAME, "CREATE_COMPLETE"))["Url"]
    sqs = cloud.client("sqs")

    def attribute(name):
        return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"][name]

    assert attribute("MessageRetentionPeriod") == "86400" and attribute("SqsManagedSseEnabled") == "true"
    client.update_stack(**stack("data-out/queue", 1, Size="XL"))
    cloud.until(NAME, "UPDATE_COMPLETE")
    assert attribute("MessageRetentionPeriod") == "1209600"
    assert "OnlyTls" in attribute("Policy"), "the policy of a queue is really there"


def test_an_ordered_queue_keeps_order_and_drops_repeats(cloud):
    cloud.client("cloudformation").create_stack(**stack("data-out/queue", 1, Ordered="true"))
    made = outputs(cloud.until(NAME, "CREATE_COMPLETE"))
    url, sqs = made["Url"], cloud.client("sqs")
    assert url.endswith(".fifo") and made["DeadLettersUrl"].endswith(".fifo")
    for record in ("1", "2", "1", "3"):
        sqs.send_message(QueueUrl=url, MessageBody=record, MessageGroupId="key", MessageDeduplicationId=record)
    taken = []
    while len(taken) < 3:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=1)["Messages"]:
            taken.append(message["Body"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert taken == ["1", "2", "3"]
    held = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"]
    assert held == {"ApproximateNumberOfMessages": "0"}, "the repeat was dropped"


def test_an_object_is_announced_to_the_platform(cloud):
    cloud.client("cloudformation").create_stack(**stack("data-in/file", 1))
    made = outputs(cloud.until(NAME, "CREATE_COMPLETE"))
    s3, versions = cloud.client("s3"), []
    for _ in range(2):
        versions.append(s3.put_object(Bucket=made["BucketName"], Key="day=1/part-0", Body=b"rows")["VersionId"])
    found = []
    while len(found) < 2:
        messages = cloud.client("sqs").receive_message(QueueUrl=made["NotificationsUrl"], MaxNumberOfMessages=10)
        for message in messages.get("Messages", []):
            for record in json.loads(message["Body"]).get("Records", []):
                found.append((unquote_plus(record["s3"]["object"]["key"]), record["s3"]["object"]["versionId"]))
    assert sorted(found) == sorted(("day=1/part-0", version) for version in versions), "each version is announced"


@pytest.mark.parametrize("was,becomes", [
    ("DependsOn: NotificationsPolicy", "DependsOn: Notifications"),
    ("Service: s3.amazonaws.com", "Service: sns.amazonaws.com"),
    ('s3:::${AWS::StackName}-${AWS::AccountId}" }', 's3:::another-${AWS::AccountId}" }'),
])
def test_a_bucket_is_not_made_when_its_queue_does_not_let_it_in(cloud, was, becomes):
    body = text("data-in/file").replace(was, becomes)
    assert body != text("data-in/file")
    cloud.client("cloudformation").create_stack(**{**stack("data-in/file", 1), "TemplateBody": body})
    cloud.until(NAME, "ROLLBACK_COMPLETE")
    assert "destination configurations" in str(cloud.failures(NAME))


def test_an_update_may_keep_the_template_and_the_values(cloud):
    client = cloud.client("cloudformation")
    client.create_stack(**stack("data-out/queue", 1))
    cloud.until(NAME, "CREATE_COMPLETE")
    kept = [{"ParameterKey": key, "UsePreviousValue": True} for key in values(1) if key != "Size"]
    change = {"StackName": NAME, "UsePreviousTemplate": True, "Capabilities": ["CAPABILITY_IAM"]}
    client.update_stack(**change, Parameters=[*kept, {"ParameterKey": "Size", "ParameterValue": "L"}])
    cloud.until(NAME, "UPDATE_COMPLETE")
    with pytest.raises(ClientError) as error:
        client.update_stack(**change, Parameters=[*kept, {"ParameterKey": "Size", "ParameterValue": "L"}])
    assert code(error) == "ValidationError" and "No updates" in str(error.value)


def test_a_change_that_would_replace_a_resource_is_refused(cloud):
    client = cloud.client("cloudformation")
    client.create_stack(**stack("data-out/queue", 1))
    cloud.until(NAME, "CREATE_COMPLETE")
    client.update_stack(**stack("data-out/queue", 1, Ordered="true"))
    cloud.until(NAME, "UPDATE_ROLLBACK_COMPLETE")
    assert "would replace" in str(cloud.failures(NAME))


def test_a_failed_creation_is_rolled_back_with_its_events(cloud):
    cloud.fault(resource="ClientPolicy", operation="create", effect="fail", message="LimitExceeded", times=1)
    client = cloud.client("cloudformation")
    client.create_stack(**stack("data-out/queue", 1))
    failed = cloud.until(NAME, "ROLLBACK_COMPLETE")
    assert "LimitExceeded" in cloud.failures(NAME)
    assert statuses(cloud, NAME) == ["CREATE_IN_PROGRESS", "ROLLBACK_IN_PROGRESS", "ROLLBACK_COMPLETE"]
    queue = statuses(cloud, NAME, "Queue")
    assert queue == ["CREATE_IN_PROGRESS", "CREATE_COMPLETE", "DELETE_IN_PROGRESS", "DELETE_COMPLETE"]
    assert statuses(cloud, NAME, "ClientPolicy") == ["CREATE_IN_PROGRESS", "CREATE_FAILED"]
    assert cloud.left() == {"stacks": [NAME]}, "nothing of it is left but the stack"
    for call in (client.create_stack, client.update_stack):
        with pytest.raises(ClientError):
            call(**stack("data-out/queue", 1))
    client.delete_stack(StackName=NAME)
    cloud.until(failed["StackId"], "DELETE_COMPLETE")
    client.create_stack(**stack("data-out/queue", 1))
    cloud.until(NAME, "CREATE_COMPLETE")


def test_a_half_made_resource_is_rolled_back_too(cloud):
    # The bucket is there when one of its tags is refused.
    body = text("data-in/file").replace("headgate:retention-bytes", "aws:retention-bytes")
    cloud.client("cloudformation").create_stack(**{**stack("data-in/file", 1), "TemplateBody": body})
    cloud.until(NAME, "ROLLBACK_COMPLETE")
    assert statuses(cloud, NAME, "Bucket") == ["CREATE_IN_PROGRESS", "CREATE_FAILED", "DELETE_IN_PROGRESS", "DELETE_COMPLETE"]
    assert cloud.left() == {"stacks": [NAME]}


def test_a_rollback_that_fails_leaves_what_a_deletion_then_removes(cloud):
    cloud.fault(resource="ClientPolicy", operation="create", effect="fail")
    cloud.fault(resource="Queue", operation="delete", effect="fail", times=1)
    client = cloud.client("cloudformation")
    client.create_stack(**stack("data-out/queue", 1))
    stack_id = cloud.until(NAME, "ROLLBACK_FAILED")["StackId"]
    assert cloud.left()["queues"] == [f"{NAME}-records"]
    client.delete_stack(StackName=NAME)
    cloud.until(stack_id, "DELETE_COMPLETE")
    assert cloud.left() == {}


def test_a_failed_update_goes_back_to_what_was(cloud):
    client = cloud.client("cloudformation")
    client.create_stack(**stack("data-out/queue", 1))
    url = outputs(cloud.until(NAME, "CREATE_COMPLETE"))["Url"]
    cloud.fault(resource="PlatformRole", operation="update", effect="fail", times=1)
    client.update_stack(**stack("data-out/queue", 1, Size="XL", Order="ord_" + "f" * 32))
    cloud.until(NAME, "UPDATE_ROLLBACK_COMPLETE")
    held = cloud.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert held["MessageRetentionPeriod"] == "86400"
    parameters = client.describe_stacks(StackName=NAME)["Stacks"][0]["Parameters"]
    assert {"ParameterKey": "Size", "ParameterValue": "S"} in parameters
    client.update_stack(**stack("data-out/queue", 1, Size="XL"))
    cloud.until(NAME, "UPDATE_COMPLETE")


def test_a_rollback_of_an_update_that_fails_is_continued(cloud):
    client = cloud.client("cloudformation")
    client.create_stack(**stack("data-out/queue", 1))
    url = outputs(cloud.until(NAME, "CREATE_COMPLETE"))["Url"]
    # The queue is changed, then the role fails, and the queue on the way back.
    cloud.fault(resource="PlatformRole", operation="update", effect="fail", times=1)
    cloud.fault(resource="Queue", operation="update", effect="fail", after=1, times=1)
    changed = stack("data-out/queue", 1, Size="M", Order="ord_" + "f" * 32)
    client.update_stack(**changed)
    cloud.until(NAME, "UPDATE_ROLLBACK_FAILED")
    with pytest.raises(ClientError):
        client.update_stack(**changed)
    client.continue_update_rollback(StackName=NAME)
    cloud.until(NAME, "UPDATE_ROLLBACK_COMPLETE")
    held = cloud.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert held["MessageRetentionPeriod"] == "86400"


def test_a_stream_is_at_most_doubled_at_once(cloud):
    client = cloud.client("cloudformation")
    client.create_stack(**stack("data-out/stream", 1))
    cloud.until(NAME, "CREATE_COMPLETE")
    client.update_stack(**stack("data-out/stream", 1, Size="M"))
    cloud.until(NAME, "UPDATE_ROLLBACK_COMPLETE")
    for change in ({"Size": "S", "ShardStep": "6"}, {"Size": "M"}):
        client.update_stack(**stack("data-out/stream", 1, **change))
        cloud.until(NAME, "UPDATE_COMPLETE")
    summary = cloud.client("kinesis").describe_stream_summary(StreamName=NAME)["StreamDescriptionSummary"]
    assert (summary["OpenShardCount"], summary["RetentionPeriodHours"]) == (10, 72)


def test_a_bucket_with_objects_and_a_user_with_keys_stop_a_deletion(cloud):
    client, s3, iam = cloud.client("cloudformation"), cloud.client("s3"), cloud.client("iam")
    client.create_stack(**stack("data-out/file", 1))
    made = cloud.until(NAME, "CREATE_COMPLETE")
    bucket, user = outputs(made)["BucketName"], outputs(made)["ClientUserName"]
    s3.put_object(Bucket=bucket, Key="part-0", Body=b"rows")
    key = iam.create_access_key(UserName=user)["AccessKey"]["AccessKeyId"]
    client.delete_stack(StackName=NAME)
    cloud.until(NAME, "DELETE_FAILED")
    assert cloud.left()["buckets"] == [bucket] and cloud.left()["keys"] == [key]
    s3.delete_object(Bucket=bucket, Key="part-0")
    iam.delete_access_key(UserName=user, AccessKeyId=key)
    client.delete_stack(StackName=NAME)
    cloud.until(made["StackId"], "DELETE_COMPLETE")
    assert cloud.left() == {}


def test_a_deletion_ends_a_creation_under_way(cloud):
    client = cloud.client("cloudformation")
    cloud.fault(resource="Queue", operation="create", effect="hold")
    stack_id = client.create_stack(**stack("data-out/queue", 1))["StackId"]
    with pytest.raises(ClientError) as error:
        client.create_stack(**stack("data-out/queue", 1))
    assert code(error) == "AlreadyExistsException"
    client.delete_stack(StackName=NAME)
    cloud.control("DELETE", "faults")
    cloud.until(stack_id, "DELETE_COMPLETE")
    assert cloud.left() == {}
    assert "CREATE_COMPLETE" not in statuses(cloud, stack_id)


def test_a_token_makes_a_request_once(cloud):
    client = cloud.client("cloudformation")
    order = {**stack("data-out/queue", 1), "ClientRequestToken": "order-1"}
    first = client.create_stack(**order)["StackId"]
    assert client.create_stack(**order)["StackId"] == first
    cloud.until(NAME, "CREATE_COMPLETE")
    assert client.create_stack(**order)["StackId"] == first
    with pytest.raises(ClientError) as error:
        client.update_stack(**{**stack("data-out/queue", 1, Size="M"), "ClientRequestToken": "order-1"})
    assert code(error) == "TokenAlreadyExistsException"
    for _ in range(2):
        client.update_stack(**{**stack("data-out/queue", 1, Size="M"), "ClientRequestToken": "order-2"})
    cloud.until(NAME, "UPDATE_COMPLETE")
    assert statuses(cloud, NAME).count("UPDATE_IN_PROGRESS") == 1


def test_an_answer_lost_after_success_is_found_again(cloud):
    client = cloud.client("cloudformation")
    order = {**stack("data-out/queue", 1), "ClientRequestToken": "order-1"}
    cloud.fault(service="cloudformation", action="CreateStack", effect="lose_answer", times=1)
    with pytest.raises(ConnectionClosedError):
        client.create_stack(**order)
    assert client.create_stack(**order)["StackId"] == cloud.until(NAME, "CREATE_COMPLETE")["StackId"]

    cloud.fault(service="cloudformation", action="DeleteStack", effect="lose_request", times=1)
    with pytest.raises(ConnectionClosedError):
        client.delete_stack(StackName=NAME)
    assert client.describe_stacks(StackName=NAME)["Stacks"][0]["StackStatus"] == "CREATE_COMPLETE"

    cloud.fault(service="iam", action="CreateUser", effect="lose_answer", times=1)
    with pytest.raises(ConnectionClosedError):
        cloud.client("iam").create_user(UserName="lost")
    assert "lost" in cloud.left()["users"]


@pytest.mark.parametrize("service,call,expected", [
    ("cloudformation", lambda c: c.describe_stacks(), "Throttling"),
    ("sqs", lambda c: c.list_queues(), "ThrottlingException"),
    ("kinesis", lambda c: c.list_streams(), "ThrottlingException"),
    ("s3", lambda c: c.list_buckets(), "SlowDown"),
])
def test_throttling_speaks_each_protocol(cloud, service, call, expected):
    cloud.fault(service=service, effect="throttle", times=1)
    with pytest.raises(ClientError) as error:
        call(cloud.client(service))
    assert code(error) == expected
    call(cloud.client(service))


@pytest.mark.parametrize("change,expected", [
    ({"Capabilities": []}, "InsufficientCapabilitiesException"),
    ({"StackName": "under_score"}, "ValidationError"),
    ({"TemplateBody": text("data-out/queue").replace("AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy")}, "ValidationError"),
    ({"TemplateBody": text("data-out/queue") + "# " + "x" * 51_200}, "ValidationError"),
    ({"TemplateBody": text("data-out/queue").replace("!GetAtt Queue.Arn", "!GetAtt Absent.Arn")}, "ValidationError"),
    ({"RoleARN": "arn:aws:iam::123456789012:role/deployer"}, "ValidationError"),
])
def test_what_is_not_understood_is_refused_at_once(cloud, change, expected):
    with pytest.raises(ClientError) as error:
        cloud.client("cloudformation").create_stack(**{**stack("data-out/queue", 1), **change})
    assert code(error) == expected
    assert cloud.left() == {}


@pytest.mark.parametrize("changed", [
    {"Size": "XXL"},
    {"Tenant": "ten_*"},
    {"PlatformPrincipal": "arn:aws:iam::123456789012:root"},
    {"ClientPrincipal": "*"},
    {"ClientPrincipal": CLIENT_ROLE},
    {"ClientPrincipal": CLIENT_ROLE, "ClientExternalId": "short"},
    {"NoSuchParameter": "x"},
])
def test_parameters_keep_their_constraints(cloud, changed):
    with pytest.raises(ClientError) as error:
        cloud.client("cloudformation").create_stack(**stack("data-out/queue", 1, **changed))
    assert code(error) == "ValidationError"


def test_a_property_that_is_not_made_fails_the_stack(cloud):
    body = text("data-out/queue").replace("SqsManagedSseEnabled: true", "DelaySeconds: 3", 1)
    cloud.client("cloudformation").create_stack(**{**stack("data-out/queue", 1), "TemplateBody": body})
    cloud.until(NAME, "ROLLBACK_COMPLETE")
    assert "DelaySeconds" in str(cloud.failures(NAME))


def test_a_deleted_stack_stays_as_it_was(cloud):
    client = cloud.client("cloudformation")
    client.create_stack(**stack("data-out/queue", 1))
    stack_id = cloud.until(NAME, "CREATE_COMPLETE")["StackId"]
    client.delete_stack(StackName=stack_id)
    cloud.until(stack_id, "DELETE_COMPLETE")
    client.describe_stack_events(StackName=stack_id)
    client.list_stack_resources(StackName=stack_id)
    with pytest.raises(ClientError):
        client.describe_stacks(StackName=NAME)
    client.delete_stack(StackName=NAME)
    assert cloud.left() == {}


def test_tags_of_a_stack_reach_its_resources(cloud):
    tags = [{"Key": "headgate:run", "Value": "7"}]
    cloud.client("cloudformation").create_stack(**stack("data-out/queue", 1), Tags=tags)
    made = cloud.until(NAME, "CREATE_COMPLETE")
    assert made["Tags"] == tags
    found = cloud.client("sqs").list_queue_tags(QueueUrl=outputs(made)["Url"])["Tags"]
    assert found["headgate:run"] == "7" and found["headgate:tenant"] == "ten_" + "0" * 31 + "1"


def test_many_stacks_are_made_at_once(cloud):
    # Held until all are asked for: none waits for another.
    cloud.fault(resource="DeadLetters", operation="create", effect="hold")
    client = cloud.client("cloudformation")
    names = [stack_name(number) for number in range(30)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: client.create_stack(**stack("data-out/queue", number)), range(30)))
    first = client.describe_stacks()
    assert len(first["Stacks"]) == 30
    for name in names:
        cloud.until_event(name, "DeadLetters", "CREATE_IN_PROGRESS")
    assert cloud.left().get("queues") is None, "all of them wait at once"
    cloud.control("DELETE", "faults")
    for name in names:
        cloud.until(name, "CREATE_COMPLETE")
    assert len(cloud.left()["queues"]) == 60
