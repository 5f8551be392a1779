"""Who may do what, with enforcement on: own allowed, the other's refused, for clients and the platform."""

import json
import urllib.error
import urllib.request

import pytest
from botocore.exceptions import ClientError

from conftest import outputs
from samples import ACCOUNT, CLIENT_ROLE, EXTERNAL_ID, PLATFORM, TEMPLATES, stack, stack_name, values

OTHERS_ACCOUNT = "222222222222"
ANYTHING = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}})


def trust(principal):
    statement = {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def refused(call, **arguments):
    """Whether IAM refuses this."""
    try:
        call(**arguments)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        assert code in ("AccessDenied", "AccessDeniedException", "403"), error
        return True
    return False


def user(iam, name, policy=ANYTHING):
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=policy)
    return iam.create_access_key(UserName=name)["AccessKey"]


class World:
    """Two channels of two tenants, the platform, and a stranger's account, with enforcement on."""

    def __init__(self, cloud, name, **changed):
        self.cloud = cloud
        iam = cloud.client("iam")
        self.operator = user(iam, "operator")
        take_up = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": f"arn:aws:iam::{ACCOUNT}:role/headgate/*"}
        iam.create_role(RoleName="headgate-platform", AssumeRolePolicyDocument=trust(f"arn:aws:iam::{ACCOUNT}:root"))
        iam.put_role_policy(
            RoleName="headgate-platform", PolicyName="own",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": take_up}),
        )
        stranger = cloud.client("iam")
        stranger.meta.events.register(
            "before-sign", lambda request, **_: request.headers.add_header("x-moto-account-id", OTHERS_ACCOUNT)
        )
        self.stranger = user(stranger, "analyst")
        for role in ("spark", "thief"):
            stranger.create_role(RoleName=role, AssumeRolePolicyDocument=trust(f"arn:aws:iam::{OTHERS_ACCOUNT}:root"))
            stranger.put_role_policy(RoleName=role, PolicyName="own", PolicyDocument=ANYTHING)
        client = cloud.client("cloudformation")
        for number in (1, 2):
            client.create_stack(**stack(name, number, **changed))
        self.made = {n: outputs(cloud.until(stack_name(n), "CREATE_COMPLETE")) for n in (1, 2)}
        self.keys = {
            n: iam.create_access_key(UserName=made["ClientUserName"])["AccessKey"]
            for n, made in self.made.items() if "ClientUserName" in made
        }
        cloud.control("POST", "enforcement", {"on": True})

    def assume(self, credentials, arn, **more):
        sts = self.cloud.session("sts", credentials)
        return sts.assume_role(RoleArn=arn, RoleSessionName="test", **more)["Credentials"]

    def platform(self, number):
        """The platform's session for a channel."""
        own = self.assume(self.operator, PLATFORM)
        return self.assume(own, self.made[number]["PlatformRoleArn"], ExternalId=values(number)["Channel"])


def put(world, service, credentials, number):
    """Writes one record into a channel; whether that is refused."""
    client, made = world.cloud.session(service, credentials), world.made[number]
    if service == "s3":
        return refused(client.put_object, Bucket=made["BucketName"], Key="part-0", Body=b"rows")
    if service == "sqs":
        return refused(client.send_message, QueueUrl=made["Url"], MessageBody="row")
    arn = made["StreamArn"]
    return refused(client.put_records, StreamARN=arn, Records=[{"Data": b"row", "PartitionKey": "k"}])


def take(world, service, credentials, number):
    """Reads from a channel; whether that is refused."""
    client, made = world.cloud.session(service, credentials), world.made[number]
    if service == "s3":
        return refused(client.get_object, Bucket=made["BucketName"], Key="part-0")
    if service == "sqs":
        return refused(client.receive_message, QueueUrl=made["Url"], WaitTimeSeconds=0)
    # As a thief would: with an iterator that another fetched.
    operator = world.cloud.session("kinesis", world.operator)
    shard = operator.list_shards(StreamARN=made["StreamArn"])["Shards"][0]["ShardId"]
    iterator = operator.get_shard_iterator(
        StreamName=stack_name(number), ShardId=shard, ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    return refused(client.get_records, ShardIterator=iterator)


SERVICES = {"file": "s3", "queue": "sqs", "stream": "kinesis"}


@pytest.mark.parametrize("name", TEMPLATES)
def test_own_is_allowed_and_the_others_refused_both_ways(cloud, name):
    world = World(cloud, name)
    direction, profile = name.split("/")
    service = SERVICES[profile]
    for own, other in ((1, 2), (2, 1)):
        client, platform = world.keys[own], world.platform(own)
        writer, reader = (client, platform) if direction == "data-in" else (platform, client)
        assert not put(world, service, writer, own), "the writer writes"
        assert not take(world, service, reader, own), "the reader reads"
        assert put(world, service, reader, own), "the reader does not write"
        for credentials in (client, platform):
            assert put(world, service, credentials, other) and take(world, service, credentials, other)
        if direction == "data-in":
            assert take(world, service, client, own), "who pushes does not read"
        for api, call in (("iam", "list_users"), ("s3", "list_buckets"), ("cloudformation", "describe_stacks")):
            assert refused(getattr(cloud.session(api, client), call)), f"{api} is not the client's"


def test_a_role_is_taken_up_by_the_named_principal_with_the_external_id_only(cloud):
    world = World(cloud, "data-out/file", ClientPrincipal=CLIENT_ROLE, ClientExternalId=EXTERNAL_ID)
    spark = world.assume(world.stranger, CLIENT_ROLE)
    thief = world.assume(world.stranger, CLIENT_ROLE.replace("spark", "thief"))
    role = world.made[1]["ClientRoleArn"]
    for credentials, more in ((spark, {}), (spark, {"ExternalId": "x" * 32}), (thief, {"ExternalId": EXTERNAL_ID})):
        with pytest.raises(ClientError) as error:
            world.assume(credentials, role, **more)
        assert error.value.response["Error"]["Code"] == "AccessDenied"
    session = world.assume(spark, role, ExternalId=EXTERNAL_ID)
    put(world, "s3", world.platform(1), 1)
    assert not take(world, "s3", session, 1)
    assert take(world, "s3", session, 2)
    assert take(world, "s3", spark, 1), "without the role there is nothing"
    # The platform's role of a channel wants the channel's id, even of the platform.
    platform = world.assume(world.operator, PLATFORM)
    with pytest.raises(ClientError):
        world.assume(platform, world.made[1]["PlatformRoleArn"], ExternalId=values(2)["Channel"])
    with pytest.raises(ClientError):
        world.assume(world.operator, world.made[1]["PlatformRoleArn"], ExternalId=values(1)["Channel"])


@pytest.mark.parametrize("name", TEMPLATES)
def test_nothing_goes_in_or_out_without_tls(cloud, name):
    world = World(cloud, name)
    direction, profile = name.split("/")
    service = SERVICES[profile]
    credentials = world.keys[1] if direction == "data-in" else world.platform(1)
    client, made = cloud.session(service, credentials), world.made[1]
    assert not put(world, service, credentials, 1)
    client.meta.events.register("before-send", _plaintext)
    call = {
        "s3": lambda: client.put_object(Bucket=made["BucketName"], Key="k", Body=b"rows"),
        "sqs": lambda: client.send_message(QueueUrl=made["Url"], MessageBody="row"),
        "kinesis": lambda: client.put_record(StreamARN=made["StreamArn"], Data=b"row", PartitionKey="k"),
    }[service]
    assert refused(call)


def _plaintext(request, **_):
    request.headers["x-shim-plaintext"] = "1"


def test_keys_end_when_they_are_switched_off_or_wrong(cloud):
    world = World(cloud, "data-out/file")
    put(world, "s3", world.platform(1), 1)
    key = world.keys[1]
    iam = cloud.session("iam", world.operator)
    second = iam.create_access_key(UserName=world.made[1]["ClientUserName"])["AccessKey"]
    assert not take(world, "s3", key, 1) and not take(world, "s3", second, 1), "two keys live side by side"
    iam.update_access_key(UserName=key["UserName"], AccessKeyId=key["AccessKeyId"], Status="Inactive")
    s3 = cloud.session("s3", key)
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=world.made[1]["BucketName"], Key="part-0")
    assert error.value.response["Error"]["Code"] == "InvalidClientTokenId"
    wrong = {**second, "SecretAccessKey": "0" * 40}
    with pytest.raises(ClientError) as error:
        cloud.session("s3", wrong).get_object(Bucket=world.made[1]["BucketName"], Key="part-0")
    assert error.value.response["Error"]["Code"] == "SignatureDoesNotMatch"
    assert not take(world, "s3", second, 1)


def test_copying_needs_the_source_too(cloud):
    world = World(cloud, "data-out/file")
    assert not put(world, "s3", world.platform(2), 2)
    s3 = cloud.session("s3", world.platform(1))
    source = {"Bucket": world.made[2]["BucketName"], "Key": "part-0"}
    assert refused(s3.copy_object, Bucket=world.made[1]["BucketName"], Key="stolen", CopySource=source)


def test_a_presigned_url_opens_what_it_names_and_for_its_time(cloud):
    world = World(cloud, "data-out/file")
    assert not put(world, "s3", world.platform(1), 1)
    s3 = cloud.session("s3", world.keys[1])
    named = {"Bucket": world.made[1]["BucketName"], "Key": "part-0"}

    def fetched(url):
        try:
            with urllib.request.urlopen(url) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            return error.code

    url = s3.generate_presigned_url("get_object", named)
    assert fetched(url) == b"rows"
    assert fetched(url.replace("part-0", "part-1")) == 403
    assert fetched(s3.generate_presigned_url("get_object", named, ExpiresIn=-3600)) == 403
    assert fetched(f"{cloud.url}/{named['Bucket']}/{named['Key']}") == 403, "unsigned is refused"


def test_scoped_grants_hold_for_topics_and_secrets(cloud):
    iam = cloud.client("iam")
    topics = [cloud.client("sns").create_topic(Name=name)["TopicArn"] for name in ("mine", "theirs")]
    secrets = [cloud.client("secretsmanager").create_secret(Name=n, SecretString="s")["ARN"] for n in ("mine", "theirs")]
    grants = [
        {"Effect": "Allow", "Action": "sns:Publish", "Resource": topics[0]},
        {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": secrets[0]},
    ]
    key = user(iam, "scoped", json.dumps({"Version": "2012-10-17", "Statement": grants}))
    cloud.control("POST", "enforcement", {"on": True})
    sns, secretsmanager = cloud.session("sns", key), cloud.session("secretsmanager", key)
    assert [refused(sns.publish, TopicArn=arn, Message="m") for arn in topics] == [False, True]
    assert [refused(secretsmanager.get_secret_value, SecretId=arn) for arn in secrets] == [False, True]
