"""Who runs as Headgate's role can have stacks made with policies of its own choosing, and reaches no further by them."""

import pytest

from conftest import outputs
from samples import ACCOUNT, PLATFORM_ROLE, TEMPLATES, stack, stack_name, text, values
from test_access import ANYTHING, refused, trust, user

NAME = stack_name(1)
OWN = """          - Sid: Mine
            Effect: Allow
            Action: "*"
            Resource: "*"
"""


class Installation:
    """The role of the template, made by a stack, with enforcement on."""

    def __init__(self, cloud):
        self.cloud, iam = cloud, cloud.client("iam")
        operator = user(iam, "operator")
        iam.create_role(RoleName="administrator", AssumeRolePolicyDocument=trust(f"arn:aws:iam::{ACCOUNT}:root"))
        iam.put_role_policy(RoleName="administrator", PolicyName="own", PolicyDocument=ANYTHING)
        given = {"Installation": "test", "TrustedPrincipal": f"arn:aws:iam::{ACCOUNT}:user/operator"}
        cloud.client("cloudformation").create_stack(
            StackName="headgate-role", TemplateBody=PLATFORM_ROLE.read_text(), Capabilities=["CAPABILITY_IAM"],
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
        )
        self.made = outputs(cloud.until("headgate-role", "CREATE_COMPLETE"))
        self.boundary = self.made["BoundaryArn"]
        cloud.enforce(operator)
        self.session = self.assume(operator, self.made["RoleArn"])

    def assume(self, credentials, arn, **more):
        sts = self.cloud.session("sts", credentials)
        return sts.assume_role(RoleArn=arn, RoleSessionName="test", **more)["Credentials"]

    def by_headgate(self, service):
        return self.cloud.session(service, self.session)

    def order(self, name, body=None, **changed):
        wanted = stack(name, 1, PlatformPrincipal=self.made["RoleArn"], **changed)
        if body is not None:
            wanted["TemplateBody"] = body
        self.by_headgate("cloudformation").create_stack(**wanted)


def with_own_policy(name):
    """The template with a policy that allows everything, as the client's and as Headgate's own for the channel."""
    body, kept = text(name), []
    for line in body.splitlines(keepends=True):
        kept.append(line)
        if line == "        Statement:\n" and any("Policy:" in one for one in kept[-9:] if one.startswith("  C") or one.startswith("  P")):
            kept.append(OWN)
    assert "".join(kept).count(OWN) == 2
    return "".join(kept)


@pytest.mark.parametrize("name", TEMPLATES)
def test_headgate_makes_channels_with_the_boundary_and_nobody_without_it(cloud, name):
    installation = Installation(cloud)
    installation.order(name)
    cloud.until(NAME, "ROLLBACK_COMPLETE")
    assert "not authorized to perform: iam:Create" in str(cloud.failures(NAME))
    installation.by_headgate("cloudformation").delete_stack(StackName=NAME)
    assert not [one for one in cloud.left()["roles"] if one.startswith("headgate-ch-")]

    installation.order(name, PermissionsBoundary=installation.boundary)
    made = outputs(cloud.until(NAME, "CREATE_COMPLETE"))
    channel = installation.assume(installation.session, made["PlatformRoleArn"], ExternalId=values(1)["Channel"])
    key = cloud.client("iam").create_access_key(UserName=made["ClientUserName"])["AccessKey"]
    for credentials in (channel, key):
        assert not refused(cloud.session("sts", credentials).get_caller_identity)
        assert refused(cloud.session("iam", credentials).list_users)


@pytest.mark.parametrize("boundary", [f"arn:aws:iam::{ACCOUNT}:policy/Administrators", f"arn:aws:iam::{ACCOUNT}:policy/headgate/test/mine"])
def test_no_other_boundary_will_do(cloud, boundary):
    installation = Installation(cloud)
    installation.order("data-out/file", PermissionsBoundary=boundary)
    cloud.until(NAME, "ROLLBACK_COMPLETE")
    assert "not authorized to perform: iam:Create" in str(cloud.failures(NAME))


@pytest.mark.parametrize("name", ["data-out/file", "data-in/queue"])
def test_a_policy_of_ones_own_choosing_reaches_the_data_of_channels_and_nothing_else(cloud, name):
    installation = Installation(cloud)
    installation.order(name, with_own_policy(name), PermissionsBoundary=installation.boundary)
    made = outputs(cloud.until(NAME, "CREATE_COMPLETE"))
    cloud.client("s3").create_bucket(Bucket="lake")
    channel = installation.assume(installation.session, made["PlatformRoleArn"], ExternalId=values(1)["Channel"])
    key = cloud.client("iam").create_access_key(UserName=made["ClientUserName"])["AccessKey"]
    for credentials in (channel, key):
        asked = lambda service: cloud.session(service, credentials)
        assert refused(asked("s3").put_object, Bucket="lake", Key="x", Body=b"x")
        assert refused(asked("s3").create_bucket, Bucket="headgate-ch-mine")
        assert refused(asked("iam").create_user, UserName="mine", Path="/headgate/test/")
        assert refused(asked("iam").create_access_key, UserName="operator")
        assert refused(asked("iam").delete_user_permissions_boundary, UserName=made["ClientUserName"])
        assert refused(asked("iam").create_policy_version, PolicyArn=installation.boundary, PolicyDocument=ANYTHING, SetAsDefault=True)
        assert refused(asked("sts").assume_role, RoleArn=f"arn:aws:iam::{ACCOUNT}:role/administrator", RoleSessionName="mine")
        assert refused(asked("cloudformation").describe_stacks)
        if name == "data-in/queue":
            # What it may have, its own policy gave it.
            assert not refused(asked("sqs").send_message, QueueUrl=made["Url"], MessageBody="row")


def test_headgate_takes_the_boundary_from_nobody_and_does_not_change_it(cloud):
    installation = Installation(cloud)
    installation.order("data-out/file", PermissionsBoundary=installation.boundary)
    made = outputs(cloud.until(NAME, "CREATE_COMPLETE"))
    iam, name = installation.by_headgate("iam"), made["ClientUserName"]
    role = made["PlatformRoleArn"].rsplit("/", 1)[1]
    assert refused(iam.delete_user_permissions_boundary, UserName=name)
    assert refused(iam.delete_role_permissions_boundary, RoleName=role)
    assert refused(iam.put_role_permissions_boundary, RoleName=role, PermissionsBoundary=installation.boundary), "not by itself"
    assert refused(iam.create_policy_version, PolicyArn=installation.boundary, PolicyDocument=ANYTHING, SetAsDefault=True)
    # Nor by a stack: an update that takes it away rolls back, and it holds.
    without = stack("data-out/file", 1, PlatformPrincipal=installation.made["RoleArn"])
    installation.by_headgate("cloudformation").update_stack(**without)
    cloud.until(NAME, "UPDATE_ROLLBACK_COMPLETE")
    assert "PermissionsBoundary" in str(cloud.failures(NAME))
    channel = installation.assume(installation.session, made["PlatformRoleArn"], ExternalId=values(1)["Channel"])
    assert refused(cloud.session("iam", channel).list_users)


def test_a_channel_of_before_takes_the_boundary_on_with_its_next_change(cloud):
    cloud.client("cloudformation").create_stack(**stack("data-out/file", 1))
    made = outputs(cloud.until(NAME, "CREATE_COMPLETE"))
    installation = Installation(cloud)
    bounded = stack("data-out/file", 1, PermissionsBoundary=installation.boundary)
    installation.by_headgate("cloudformation").update_stack(**bounded)
    cloud.until(NAME, "UPDATE_COMPLETE")
    role = cloud.client("iam").get_role(RoleName=made["PlatformRoleArn"].rsplit("/", 1)[1])["Role"]
    assert role["PermissionsBoundary"]["PermissionsBoundaryArn"] == installation.boundary
    # A policy that allows everything shows that the user has it, too: IAM's answer does not tell here.
    cloud.client("iam").put_user_policy(UserName=made["ClientUserName"], PolicyName="all", PolicyDocument=ANYTHING)
    key = cloud.client("iam").create_access_key(UserName=made["ClientUserName"])["AccessKey"]
    assert refused(cloud.session("iam", key).list_users)
    assert not refused(cloud.session("s3", key).list_objects_v2, Bucket=made["BucketName"])
