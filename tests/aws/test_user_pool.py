"""The user pool of templates/user-pool.yaml, made by a stack, and the groups of a tenant in it."""

import re

import pytest
from botocore.exceptions import ClientError

from conftest import outputs
from samples import ACCOUNT, ROOT, USER_POOL, USER_POOL_TENANT
from shim.template import load

CALLBACK = "https://portal.example.com/in"


def request(name, path, **given):
    return {
        "StackName": name,
        "TemplateBody": path.read_text(),
        "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
        "Capabilities": ["CAPABILITY_IAM"],
    }


def deployed(cloud, name, path, **given):
    cloud.client("cloudformation").create_stack(**request(name, path, **given))
    return outputs(cloud.until(name, "CREATE_COMPLETE"))


def code(error):
    return error.value.response["Error"]["Code"]


def test_the_pool_is_protected_closed_and_strict_and_its_outputs_are_what_settings_need(cloud):
    made = deployed(cloud, "pool", USER_POOL, DomainPrefix="acme", CallbackUrl=CALLBACK)
    cognito, pool = cloud.client("cognito-idp"), made["PoolId"]
    described = cognito.describe_user_pool(UserPoolId=pool)["UserPool"]
    assert described["DeletionProtection"] == "ACTIVE"
    assert described["Arn"] == made["PoolArn"] == f"arn:aws:cognito-idp:us-east-1:{ACCOUNT}:userpool/{pool}"
    assert described["Domain"] == "acme"
    factors = cognito.get_user_pool_mfa_config(UserPoolId=pool)
    assert (factors["MfaConfiguration"], factors["SoftwareTokenMfaConfiguration"]) == ("OPTIONAL", {"Enabled": True})

    issuer = f"https://cognito-idp.us-east-1.amazonaws.com/{pool}"
    token_url = "https://acme.auth.us-east-1.amazoncognito.com/oauth2/token"
    assert (made["Issuer"], made["JwksUrl"]) == (issuer, f"{issuer}/.well-known/jwks.json")
    assert made["TokenUrl"] == token_url
    assert made["Settings"] == (
        f'[[issuer]]\nkind = "cognito"\npool = "{pool}"\npeople_clients = ["{made["PeopleClient"]}"]\n'
        f'app_clients = true\ntoken_url = "{token_url}"\n'
    )

    people = cognito.describe_user_pool_client(UserPoolId=pool, ClientId=made["PeopleClient"])["UserPoolClient"]
    assert "ClientSecret" not in people and people["CallbackURLs"] == [CALLBACK]
    assert people["AllowedOAuthFlows"] == ["code"]
    assert [one["GroupName"] for one in cognito.list_groups(UserPoolId=pool)["Groups"]] == ["headgate-administrators"]

    with pytest.raises(ClientError) as refused:
        cognito.sign_up(ClientId=made["PeopleClient"], Username="anybody", Password="Correct-horse-7")
    assert code(refused) == "NotAuthorizedException"
    cognito.admin_create_user(UserPoolId=pool, Username="ann")
    for weak in ("Correct-hor-7", "correct-horse-7", "CORRECT-HORSE-7", "Correct-horse-x", "Correcthorse777"):
        with pytest.raises(ClientError) as refused:
            cognito.admin_set_user_password(UserPoolId=pool, Username="ann", Password=weak, Permanent=True)
        assert code(refused) == "InvalidPasswordException", weak
    cognito.admin_set_user_password(UserPoolId=pool, Username="ann", Password="Correct-horse-7", Permanent=True)


def test_without_a_page_of_its_own_the_app_client_of_people_has_no_grants(cloud):
    made = deployed(cloud, "pool", USER_POOL, DomainPrefix="acme")
    people = cloud.client("cognito-idp").describe_user_pool_client(UserPoolId=made["PoolId"], ClientId=made["PeopleClient"])
    assert people["UserPoolClient"]["AllowedOAuthFlowsUserPoolClient"] is False
    assert not {"AllowedOAuthFlows", "AllowedOAuthScopes", "CallbackURLs"} & set(people["UserPoolClient"])


def test_a_pool_outlives_its_stack_until_its_protection_is_taken_away(cloud):
    client = cloud.client("cloudformation")
    made = deployed(cloud, "pool", USER_POOL, DomainPrefix="acme")
    cloud.client("cognito-idp").admin_create_user(UserPoolId=made["PoolId"], Username="ann")
    client.delete_stack(StackName="pool")
    cloud.until("pool", "DELETE_FAILED")
    assert "protection" in str(cloud.failures("pool"))
    users = cloud.client("cognito-idp").list_users(UserPoolId=made["PoolId"])["Users"]
    assert [one["Username"] for one in users] == ["ann"]

    made = deployed(cloud, "second", USER_POOL, DomainPrefix="second")
    client.update_stack(**request("second", USER_POOL, DomainPrefix="second", DeletionProtection="INACTIVE"))
    cloud.until("second", "UPDATE_COMPLETE")
    stack = client.describe_stacks(StackName="second")["Stacks"][0]["StackId"]
    client.delete_stack(StackName="second")
    cloud.until(stack, "DELETE_COMPLETE")
    with pytest.raises(ClientError):
        cloud.client("cognito-idp").describe_user_pool(UserPoolId=made["PoolId"])


def test_a_domain_that_somebody_has_fails_the_stack_and_leaves_nothing(cloud):
    deployed(cloud, "pool", USER_POOL, DomainPrefix="acme")
    before = cloud.left()
    unprotected = request("other", USER_POOL, DomainPrefix="acme", DeletionProtection="INACTIVE")
    cloud.client("cloudformation").create_stack(**unprotected)
    cloud.until("other", "ROLLBACK_COMPLETE")
    assert "already associated" in str(cloud.failures("other"))
    cloud.client("cloudformation").delete_stack(StackName="other")
    assert cloud.left() == before


def test_the_groups_of_a_tenant_come_and_go_with_their_stack(cloud):
    pool = deployed(cloud, "pool", USER_POOL, DomainPrefix="acme")["PoolId"]
    made = deployed(cloud, "farm", USER_POOL_TENANT, Pool=pool, Tenant="farm")
    assert made == {"Owners": "farm-owners", "Readers": "farm-readers"}
    groups = lambda: {one["GroupName"] for one in cloud.client("cognito-idp").list_groups(UserPoolId=pool)["Groups"]}
    assert groups() == {"headgate-administrators", "farm-owners", "farm-readers"}
    stack = cloud.client("cloudformation").describe_stacks(StackName="farm")["Stacks"][0]["StackId"]
    cloud.client("cloudformation").delete_stack(StackName="farm")
    cloud.until(stack, "DELETE_COMPLETE")
    assert groups() == {"headgate-administrators"}


def test_the_policy_for_headgate_has_the_rights_that_the_guide_lists_on_this_pool_alone(cloud):
    iam = cloud.client("iam")
    iam.create_role(RoleName="headgate", AssumeRolePolicyDocument="{}")
    made = deployed(cloud, "pool", USER_POOL, DomainPrefix="acme", PlatformRole="headgate")
    attached = iam.list_attached_role_policies(RoleName="headgate")["AttachedPolicies"]
    assert [one["PolicyArn"] for one in attached] == [made["HeadgatePolicyArn"]]
    version = iam.get_policy_version(PolicyArn=made["HeadgatePolicyArn"], VersionId="v1")
    (statement,) = version["PolicyVersion"]["Document"]["Statement"]
    assert statement["Resource"] == made["PoolArn"]
    guide = (ROOT / "docs/issuers.md").read_text()
    (listed,) = re.findall(r"`cognito-idp:` (.*?)\.\n", guide, re.DOTALL)
    assert set(statement["Action"]) == {f"cognito-idp:{word}" for word in re.findall(r"`(\w+)`", listed)}


def test_the_guide_deploys_these_templates_with_parameters_that_they_take():
    guide = (ROOT / "docs/aws.md").read_text()
    lines = guide.replace("\\\n", " ").splitlines()
    commands = [line for line in lines if line.startswith("aws cloudformation deploy ")]
    deployed_files = set()
    for command in commands:
        file = re.search(r"--template-file (\S+)", command).group(1)
        deployed_files.add(file)
        taken = load((ROOT / file).read_text())["Parameters"]
        given = command.split("--parameter-overrides", 1)[1].split()
        names = {one.split("=")[0] for one in given if "=" in one}
        assert names <= set(taken), command
        assert {name for name, one in taken.items() if "Default" not in one} <= names, command
    assert deployed_files == {f"templates/{one}.yaml" for one in ("platform-role", "user-pool", "user-pool-tenant")}
