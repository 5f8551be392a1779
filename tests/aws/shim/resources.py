"""The resource types of the templates, each made by the calls of the service's own API.

A property that a type does not take here is refused: what is ignored would look as if it held. As
CloudFormation does, `create` tells the physical id as soon as there is one, so that a failure
half-way can be taken back, and deleting what is not there succeeds.
"""

import contextlib
import json
import threading

from botocore.exceptions import ClientError

from . import pools
from .policies import Caller, Request, decide

MISSING = {
    "NoSuchBucket", "NoSuchBucketPolicy", "NoSuchEntity", "ResourceNotFoundException",
    "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist",
}


class Replacement(Exception):
    """The change cannot be made in place: CloudFormation would make a new resource, with the old
    one's data lost. The templates never ask for it, and it is refused here."""


@contextlib.contextmanager
def nobody():
    """What a service looks at by itself is asked in nobody's name."""
    thread = threading.current_thread()
    before, thread.caller = getattr(thread, "caller", None), None
    try:
        yield
    finally:
        thread.caller = before


def tag_map(properties, stack_tags):
    tags = dict(stack_tags)
    tags.update({tag["Key"]: str(tag["Value"]) for tag in properties.get("Tags", [])})
    return tags


def tag_list(tags):
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def missing_is_fine(call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        if error.response["Error"]["Code"] not in MISSING:
            raise


class Bucket:
    takes = {
        "BucketName", "BucketEncryption", "OwnershipControls", "PublicAccessBlockConfiguration",
        "VersioningConfiguration", "LifecycleConfiguration", "NotificationConfiguration", "Tags",
    }
    fixed = {"BucketName"}

    def __init__(self, clients):
        self.s3, self.sqs = clients("s3"), clients("sqs")

    def create(self, properties, tags, made):
        name = properties["BucketName"]
        self.s3.create_bucket(Bucket=name)
        made(name)
        self.update(name, {}, properties, tags)

    def update(self, name, _old, new, tags):
        rules = [
            {"ApplyServerSideEncryptionByDefault": rule["ServerSideEncryptionByDefault"]}
            for rule in new["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        ]
        self.s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": rules})
        self.s3.put_bucket_ownership_controls(Bucket=name, OwnershipControls=new["OwnershipControls"])
        self.s3.put_public_access_block(
            Bucket=name, PublicAccessBlockConfiguration=new["PublicAccessBlockConfiguration"]
        )
        if "VersioningConfiguration" in new:
            self.s3.put_bucket_versioning(Bucket=name, VersioningConfiguration=new["VersioningConfiguration"])
        self.s3.put_bucket_lifecycle_configuration(
            Bucket=name, LifecycleConfiguration={"Rules": [_lifecycle(r) for r in new["LifecycleConfiguration"]["Rules"]]}
        )
        queues = new.get("NotificationConfiguration", {}).get("QueueConfigurations", [])
        for queue in queues:
            self._try(name, queue["Queue"])
        self.s3.put_bucket_notification_configuration(
            Bucket=name,
            NotificationConfiguration={
                "QueueConfigurations": [{"QueueArn": queue["Queue"], "Events": [queue["Event"]]} for queue in queues]
            },
        )
        self.s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": tag_list(tags)})

    def _try(self, name, queue):
        """As S3 does: a queue that does not let it in is refused at once. moto asks nobody."""
        account, queue_name = queue.split(":")[4:]
        with nobody():
            url = self.sqs.get_queue_url(QueueName=queue_name)["QueueUrl"]
            held = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        documents = [json.loads(held["Policy"])] if held.get("Policy") else []
        context = {
            "aws:sourcearn": f"arn:aws:s3:::{name}", "aws:sourceaccount": account, "aws:securetransport": True,
        }
        service = Caller("", (), "s3.amazonaws.com")
        if decide(documents, Request("sqs:SendMessage", queue, context), service) != "Allow":
            raise ValueError("Unable to validate the following destination configurations")

    def attributes(self, name):
        return {"Arn": f"arn:aws:s3:::{name}"}

    def delete(self, name, _properties):
        missing_is_fine(self.s3.delete_bucket, Bucket=name)


def _lifecycle(rule):
    words = {"Id": "ID", "Status": "Status"}
    named = {words[key]: value for key, value in rule.items() if key in words}
    named["Filter"] = {"Prefix": ""}
    if "AbortIncompleteMultipartUpload" in rule:
        days = int(rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"])
        named["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": days}
    if "NoncurrentVersionExpiration" in rule:
        named["NoncurrentVersionExpiration"] = {
            "NoncurrentDays": int(rule["NoncurrentVersionExpiration"]["NoncurrentDays"])
        }
    if "ExpiredObjectDeleteMarker" in rule:
        named["Expiration"] = {"ExpiredObjectDeleteMarker": rule["ExpiredObjectDeleteMarker"]}
    return named


class BucketPolicy:
    takes = {"Bucket", "PolicyDocument"}
    fixed = {"Bucket"}

    def __init__(self, clients):
        self.s3 = clients("s3")

    def create(self, properties, _tags, made):
        made(properties["Bucket"])
        self.update(properties["Bucket"], {}, properties, {})

    def update(self, name, _old, new, _tags):
        self.s3.put_bucket_policy(Bucket=name, Policy=json.dumps(new["PolicyDocument"]))

    def attributes(self, _name):
        return {}

    def delete(self, name, _properties):
        missing_is_fine(self.s3.delete_bucket_policy, Bucket=name)


class Queue:
    takes = {
        "QueueName", "FifoQueue", "ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit",
        "SqsManagedSseEnabled", "MessageRetentionPeriod", "MaximumMessageSize", "VisibilityTimeout",
        "ReceiveMessageWaitTimeSeconds", "RedrivePolicy", "RedriveAllowPolicy", "Tags",
    }
    fixed = {"QueueName", "FifoQueue"}

    def __init__(self, clients):
        self.sqs = clients("sqs")

    def create(self, properties, tags, made):
        made(self.sqs.create_queue(
            QueueName=properties["QueueName"], Attributes=_queue_attributes(properties), tags=tags
        )["QueueUrl"])

    def update(self, url, _old, new, tags):
        attributes = _queue_attributes(new)
        attributes.pop("FifoQueue", None)
        # SetQueueAttributes leaves alone what it does not name; moto forgets the policy.
        held = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        if "Policy" in held:
            attributes["Policy"] = held["Policy"]
        self.sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)
        gone = [key for key in self.sqs.list_queue_tags(QueueUrl=url).get("Tags", {}) if key not in tags]
        if gone:
            self.sqs.untag_queue(QueueUrl=url, TagKeys=gone)
        self.sqs.tag_queue(QueueUrl=url, Tags=tags)

    def attributes(self, url):
        arn = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        return {"Arn": arn, "QueueName": arn.rsplit(":", 1)[1], "QueueUrl": url}

    def delete(self, url, _properties):
        missing_is_fine(self.sqs.delete_queue, QueueUrl=url)


def _queue_attributes(properties):
    def text(value):
        if isinstance(value, bool):
            return str(value).lower()
        return json.dumps(value) if isinstance(value, dict) else str(value)

    return {key: text(value) for key, value in properties.items() if key not in ("QueueName", "Tags")}


class QueuePolicy:
    takes = {"Queues", "PolicyDocument"}
    fixed = {"Queues"}

    def __init__(self, clients):
        self.sqs = clients("sqs")

    def create(self, properties, _tags, made):
        made(",".join(properties["Queues"]))
        self.update("", {}, properties, {})

    def update(self, _name, _old, new, _tags):
        for url in new["Queues"]:
            self.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(new["PolicyDocument"])})

    def attributes(self, _name):
        return {}

    def delete(self, _name, properties):
        for url in properties["Queues"]:
            missing_is_fine(self.sqs.set_queue_attributes, QueueUrl=url, Attributes={"Policy": ""})


class Stream:
    takes = {"Name", "StreamModeDetails", "ShardCount", "RetentionPeriodHours", "StreamEncryption", "Tags"}
    fixed = {"Name", "StreamModeDetails"}

    def __init__(self, clients):
        self.kinesis = clients("kinesis")

    def create(self, properties, tags, made):
        name = properties["Name"]
        self.kinesis.create_stream(
            StreamName=name,
            ShardCount=int(properties["ShardCount"]),
            StreamModeDetails=properties["StreamModeDetails"],
        )
        made(name)
        self.kinesis.start_stream_encryption(StreamName=name, **properties["StreamEncryption"])
        self._keep_for(name, 24, int(properties["RetentionPeriodHours"]))
        self.kinesis.add_tags_to_stream(StreamName=name, Tags=tags)

    def update(self, name, old, new, tags):
        was, target = int(old["ShardCount"]), int(new["ShardCount"])
        # UpdateShardCount refuses more than double and less than half; moto does not.
        if target > 2 * was or 2 * target < was:
            raise ValueError(
                f"Target shard count {target} is more than double or less than half of the current {was} "
                "(Service: Kinesis, Status Code: 400, LimitExceededException)"
            )
        if target != was:
            self.kinesis.update_shard_count(
                StreamName=name, TargetShardCount=target, ScalingType="UNIFORM_SCALING"
            )
        self._keep_for(name, int(old["RetentionPeriodHours"]), int(new["RetentionPeriodHours"]))
        self.kinesis.add_tags_to_stream(StreamName=name, Tags=tags)

    def _keep_for(self, name, was, hours):
        if hours > was:
            self.kinesis.increase_stream_retention_period(StreamName=name, RetentionPeriodHours=hours)
        elif hours < was:
            self.kinesis.decrease_stream_retention_period(StreamName=name, RetentionPeriodHours=hours)

    def attributes(self, name):
        return {"Arn": self.kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamARN"]}

    def delete(self, name, _properties):
        missing_is_fine(self.kinesis.delete_stream, StreamName=name, EnforceConsumerDeletion=True)


class ManagedPolicy:
    takes = {"Description", "Path", "PolicyDocument", "Roles"}
    fixed = {"Description", "Path", "Roles"}

    def __init__(self, clients):
        self.iam = clients("iam")

    def create(self, properties, _tags, made, name=None):
        arn = self.iam.create_policy(
            PolicyName=name,
            Path=properties["Path"],
            Description=properties["Description"],
            PolicyDocument=json.dumps(properties["PolicyDocument"]),
        )["Policy"]["Arn"]
        made(arn)
        for role in properties.get("Roles", []):
            self.iam.attach_role_policy(RoleName=role, PolicyArn=arn)

    def update(self, arn, _old, new, _tags):
        versions = self.iam.list_policy_versions(PolicyArn=arn)["Versions"]
        self.iam.create_policy_version(
            PolicyArn=arn, PolicyDocument=json.dumps(new["PolicyDocument"]), SetAsDefault=True
        )
        # IAM keeps five; the older ones are of no use.
        for version in versions:
            self.iam.delete_policy_version(PolicyArn=arn, VersionId=version["VersionId"])

    def attributes(self, arn):
        return {"PolicyArn": arn}

    def delete(self, arn, properties):
        for role in properties.get("Roles", []):
            missing_is_fine(self.iam.detach_role_policy, RoleName=role, PolicyArn=arn)
        # As IAM does: what is attached stays. moto deletes it under its users.
        try:
            held = self.iam.list_entities_for_policy(PolicyArn=arn)
        except ClientError as error:
            if error.response["Error"]["Code"] in MISSING:
                return
            raise
        if held["PolicyUsers"] or held["PolicyRoles"] or held["PolicyGroups"]:
            raise ValueError(f"Cannot delete a policy attached to entities: {arn} (DeleteConflict)")
        missing_is_fine(self.iam.delete_policy, PolicyArn=arn)


def bounded(properties):
    return {key: properties[key] for key in ("PermissionsBoundary",) if key in properties}


class Role:
    takes = {
        "Description", "Path", "MaxSessionDuration", "AssumeRolePolicyDocument", "ManagedPolicyArns", "PermissionsBoundary", "Tags",
    }
    fixed = {"Path", "Description", "MaxSessionDuration", "ManagedPolicyArns"}

    def __init__(self, clients):
        self.iam = clients("iam")

    def create(self, properties, tags, made, name=None):
        self.iam.create_role(
            RoleName=name,
            Path=properties["Path"],
            Description=properties["Description"],
            MaxSessionDuration=int(properties["MaxSessionDuration"]),
            AssumeRolePolicyDocument=json.dumps(properties["AssumeRolePolicyDocument"]),
            Tags=tag_list(tags),
            **bounded(properties),
        )
        made(name)
        for arn in properties["ManagedPolicyArns"]:
            self.iam.attach_role_policy(RoleName=name, PolicyArn=arn)

    def update(self, name, old, new, tags):
        self.iam.update_assume_role_policy(
            RoleName=name, PolicyDocument=json.dumps(new["AssumeRolePolicyDocument"])
        )
        if bounded(new) != bounded(old):
            change = self.iam.put_role_permissions_boundary if bounded(new) else self.iam.delete_role_permissions_boundary
            change(RoleName=name, **bounded(new))
        self.iam.tag_role(RoleName=name, Tags=tag_list(tags))

    def attributes(self, name):
        return {"Arn": self.iam.get_role(RoleName=name)["Role"]["Arn"]}

    def delete(self, name, properties):
        for arn in properties["ManagedPolicyArns"]:
            missing_is_fine(self.iam.detach_role_policy, RoleName=name, PolicyArn=arn)
        missing_is_fine(self.iam.delete_role, RoleName=name)


class User:
    takes = {"Path", "ManagedPolicyArns", "PermissionsBoundary", "Tags"}
    fixed = {"Path", "ManagedPolicyArns"}

    def __init__(self, clients):
        self.iam = clients("iam")

    def create(self, properties, tags, made, name=None):
        self.iam.create_user(UserName=name, Path=properties["Path"], Tags=tag_list(tags), **bounded(properties))
        made(name)
        for arn in properties["ManagedPolicyArns"]:
            self.iam.attach_user_policy(UserName=name, PolicyArn=arn)

    def update(self, name, old, new, tags):
        if bounded(new) != bounded(old):
            change = self.iam.put_user_permissions_boundary if bounded(new) else self.iam.delete_user_permissions_boundary
            change(UserName=name, **bounded(new))
        self.iam.tag_user(UserName=name, Tags=tag_list(tags))

    def attributes(self, name):
        return {"Arn": self.iam.get_user(UserName=name)["User"]["Arn"]}

    def delete(self, name, properties):
        # As IAM does: a user that still has keys cannot be deleted. moto deletes it with its keys.
        try:
            with nobody():
                keys = self.iam.list_access_keys(UserName=name)["AccessKeyMetadata"]
        except ClientError as error:
            if error.response["Error"]["Code"] in MISSING:
                return
            raise
        if keys:
            raise ValueError(f"Cannot delete entity, must delete access keys first: {name} (DeleteConflict)")
        for arn in properties["ManagedPolicyArns"]:
            missing_is_fine(self.iam.detach_user_policy, UserName=name, PolicyArn=arn)
        missing_is_fine(self.iam.delete_user, UserName=name)


TYPES = {
    "AWS::S3::Bucket": Bucket,
    "AWS::S3::BucketPolicy": BucketPolicy,
    "AWS::SQS::Queue": Queue,
    "AWS::SQS::QueuePolicy": QueuePolicy,
    "AWS::Kinesis::Stream": Stream,
    "AWS::IAM::ManagedPolicy": ManagedPolicy,
    "AWS::IAM::Role": Role,
    "AWS::IAM::User": User,
    "AWS::Cognito::UserPool": pools.UserPool,
    "AWS::Cognito::UserPoolDomain": pools.Domain,
    "AWS::Cognito::UserPoolClient": pools.AppClient,
    "AWS::Cognito::UserPoolGroup": pools.Group,
}
# Types whose name CloudFormation makes up.
NAMED_HERE = {"AWS::IAM::ManagedPolicy", "AWS::IAM::Role", "AWS::IAM::User"}
