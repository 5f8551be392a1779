"""The templates themselves: what they are checked against before anything is made from them."""

import copy
import itertools
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from cfn_guard_rs.cfn_guard_rs import run_checks_rs

from samples import (
    ACCOUNT, CLIENT_ROLE, EXTERNAL_ID, ONCE, PLATFORM, PLATFORM_ROLE, ROOT, SIZES, TEMPLATES, USER_POOL, stack_name, text,
    values,
)
from shim.template import Rendering, load, parameters

RULES = (ROOT / "tests/aws/rules.guard").read_text()
PROFILES = yaml.safe_load((ROOT / "templates/profiles.yaml").read_text())
VARIANTS = [
    {},
    {"ClientPrincipal": CLIENT_ROLE, "ClientExternalId": EXTERNAL_ID},
]


def rendered(name, number, **changed):
    """Logical id → (type, properties) with every function resolved, as a stack would make it."""
    template = load(text(name))
    given = parameters(template, values(number, **changed))
    rendering = Rendering(template, given, ACCOUNT, "us-east-1", stack_name(number), "arn:stack")
    made = {}
    for logical_id in rendering.wanted():
        kind, properties = template["Resources"][logical_id]["Type"], rendering.properties(logical_id)
        physical, attributes = physical_of(kind, logical_id, number, properties)
        rendering.physical[logical_id], rendering.attributes[logical_id] = physical, attributes
        made[logical_id] = (kind, properties)
    rendering.outputs()
    return made


def physical_of(kind, logical_id, number, properties):
    """Ref and attributes, as the services form them."""
    made_up = f"{stack_name(number)}-{logical_id}"
    if kind == "AWS::S3::Bucket":
        return properties["BucketName"], {"Arn": f"arn:aws:s3:::{properties['BucketName']}"}
    if kind == "AWS::SQS::Queue":
        name = properties["QueueName"]
        return f"https://sqs/{ACCOUNT}/{name}", {"Arn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}"}
    if kind == "AWS::Kinesis::Stream":
        return properties["Name"], {"Arn": f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/{properties['Name']}"}
    if kind == "AWS::IAM::ManagedPolicy":
        return f"arn:aws:iam::{ACCOUNT}:policy/headgate/test/{made_up}", {}
    if kind in ("AWS::IAM::Role", "AWS::IAM::User"):
        return made_up, {"Arn": f"arn:aws:iam::{ACCOUNT}:{kind.rsplit(':')[-1].lower()}/headgate/test/{made_up}"}
    return made_up, {}


def statements(made):
    """Every statement of every policy that a rendered template holds, trust policies too."""
    for kind, properties in made.values():
        for key in ("PolicyDocument", "AssumeRolePolicyDocument"):
            if key in properties:
                yield from ((kind, key, statement) for statement in properties[key]["Statement"])


def listed(value):
    return value if isinstance(value, list) else [value]


def variants(name):
    extra = [{}, {"Ordered": "true"}] if name.endswith("queue") else [{}]
    return [{**one, **other, "Size": size} for one, other in itertools.product(VARIANTS, extra) for size in SIZES]


def lint(*files):
    command = [Path(sys.executable).with_name("cfn-lint"), "--include-checks", "I", "--", *files]
    return subprocess.run(command, capture_output=True, text=True)


def test_cfn_lint_finds_nothing(tmp_path):
    done = lint(*TEMPLATES.values(), *ONCE)
    assert done.returncode == 0, done.stdout + done.stderr
    spoiled = tmp_path / "spoiled.yaml"
    spoiled.write_text(text("data-out/queue").replace("VisibilityTimeout", "InvisibilityTimeout"))
    assert "E3002" in lint(spoiled).stdout


@pytest.mark.parametrize("path", [*TEMPLATES.values(), *ONCE], ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_rule_holds_or_its_exception_has_a_reason(path):
    template = load(path.read_text())
    for logical_id, resource in template["Resources"].items():
        broken = broken_rules({logical_id: resource})
        exceptions = resource.get("Metadata", {}).get("Exceptions", {})
        assert broken == set(exceptions), logical_id
        assert all(len(reason) > 20 for reason in exceptions.values())


def broken_rules(resources):
    """The rules that resources, without what their metadata say, do not keep."""
    resources = {key: {k: v for k, v in one.items() if k != "Metadata"} for key, one in resources.items()}
    words, *rules = re.split(r"^(?=rule )", RULES, flags=re.MULTILINE)
    return {rule.split()[1] for rule in rules if verdict(resources, words + rule) == "FAIL"}


def verdict(resources, rule):
    """PASS, FAIL or SKIP of one rule."""
    report = run_checks_rs(json.dumps({"Resources": resources}), rule, False)
    try:
        status = json.loads(report)["status"]
    except json.JSONDecodeError:
        # The binding gives only the end of a report that is longer than its buffer of 8 KiB; only a
        # broken rule has anything to report at such length, and its end says what else there was.
        assert report.endswith('"compliant": []\n}'), report
        status = "FAIL"
    assert status in ("PASS", "FAIL", "SKIP")
    return status


def test_the_platforms_role_reaches_channels_of_its_installation_only():
    template = load(PLATFORM_ROLE.read_text())
    rendering = Rendering(template, parameters(template, {"Installation": "mine"}), ACCOUNT, "us-east-1", "role", "arn:stack")
    boundary = rendering.physical["Boundary"] = f"arn:aws:iam::{ACCOUNT}:policy/headgate/boundary"
    for logical_id in ("OwnPolicy", "StackPolicy"):
        document = rendering.properties(logical_id)["PolicyDocument"]
        # IAM takes a managed policy up to 6,144 characters, without white space.
        assert len(json.dumps(document, separators=(",", ":"))) <= 6_144
        for statement in document["Statement"]:
            assert statement["Effect"] == "Allow" and statement["Sid"]
            assert all("*" not in action for action in listed(statement["Action"]))
            for arn in listed(statement["Resource"]):
                if statement["Sid"] == "Find":
                    assert (statement["Action"], arn) == ("cloudformation:DescribeStacks", "*")
                    continue
                place = f"(arn:aws:[a-z0-9]+:(us-east-1)?:({ACCOUNT})?)"
                assert re.fullmatch(rf"{place}:((stack/|stream/)?headgate-ch-|(user|role|policy)/headgate/mine/)\*(/\*)?", arn), arn
            if logical_id == "StackPolicy":
                wanted = statement["Condition"]["StringEquals"]
                assert wanted.pop("aws:CalledViaLast") == "cloudformation.amazonaws.com"
                # Nobody is made, or given a policy, without the boundary; and no boundary is taken away.
                actions = set(listed(statement["Action"]))
                makes = {action for action in actions if re.match("iam:(Create(Role|User)$|Put|Attach)", action)}
                assert makes in (set(), actions) and "boundary" not in str(actions - makes).lower()
                assert wanted == ({"iam:PermissionsBoundary": boundary} if makes else {})


def test_the_boundary_is_all_that_channels_need_and_no_more():
    template = load(PLATFORM_ROLE.read_text())
    rendering = Rendering(template, parameters(template, {}), ACCOUNT, "us-east-1", "role", "arn:stack")
    statements_of = rendering.properties("Boundary")["PolicyDocument"]["Statement"]
    for statement in statements_of:
        assert statement["Effect"] == "Allow"
        keys = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/*"
        if statement["Resource"] == keys:
            assert statement["Condition"] == {"StringEquals": {"kms:ViaService": "kinesis.us-east-1.amazonaws.com"}}
        else:
            assert re.fullmatch(rf"arn:aws:[a-z0-9]+:(us-east-1)?:({ACCOUNT})?:(stream/)?headgate-ch-\*(/\*)?", statement["Resource"])
    allowed = {action for one in statements_of for action in one["Action"] if not action.startswith("kms:")}
    granted = {
        action
        for name in TEMPLATES
        for policy in ("ClientPolicy", "PlatformPolicy")
        for one in load(text(name))["Resources"][policy]["Properties"]["PolicyDocument"]["Statement"]
        if one["Effect"] == "Allow"
        for action in listed(one["Action"])
    }
    assert allowed == granted


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_principal_of_a_channel_carries_the_boundary_that_is_given(name):
    boundary = f"arn:aws:iam::{ACCOUNT}:policy/headgate/boundary"
    for changed in variants(name):
        for given, wanted in (({"PermissionsBoundary": boundary}, boundary), ({}, None)):
            made = rendered(name, 1, **changed, **given).values()
            principals = [properties for kind, properties in made if kind in ("AWS::IAM::Role", "AWS::IAM::User")]
            assert [one.get("PermissionsBoundary") for one in principals] == [wanted, wanted]


SPOILED = {
    "s3_bucket_is_encrypted": ("data-out/file", "Bucket", "BucketEncryption", None),
    "s3_bucket_is_not_public": ("data-out/file", "Bucket", "PublicAccessBlockConfiguration", {"BlockPublicAcls": True}),
    "s3_bucket_has_one_owner": ("data-out/file", "Bucket", "OwnershipControls", {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}),
    "s3_bucket_is_versioned": ("data-in/file", "Bucket", "VersioningConfiguration", {"Status": "Suspended"}),
    "s3_bucket_ends_unfinished_uploads": ("data-in/file", "Bucket", "LifecycleConfiguration", None),
    "sqs_queue_is_encrypted": ("data-in/queue", "Queue", "SqsManagedSseEnabled", False),
    "sqs_queue_has_retention": ("data-in/queue", "Queue", "MessageRetentionPeriod", None),
    "sqs_queue_has_dead_letters": ("data-in/queue", "Queue", "RedrivePolicy", None),
    "kinesis_stream_is_encrypted": ("data-in/stream", "Stream", "StreamEncryption", None),
    "kinesis_stream_has_retention": ("data-in/stream", "Stream", "RetentionPeriodHours", None),
    "policy_of_a_resource_denies_plaintext": ("data-in/file", "BucketPolicy", "PolicyDocument", {"Statement": []}),
    "policy_of_a_queue_denies_plaintext": ("data-in/file", "NotificationsPolicy", "PolicyDocument", {"Statement": []}),
    "iam_policy_allows_named_actions_on_named_resources": (
        "data-in/file", "ClientPolicy", "PolicyDocument",
        {"Statement": [{"Effect": "Allow", "Action": ["s3:GetObject", "s3:Put*"], "Resource": {"Ref": "Bucket"}}]},
    ),
    "iam_role_is_taken_up_by_one_principal_with_an_external_id": (
        "data-in/file", "ClientRole", "AssumeRolePolicyDocument",
        {"Statement": [{"Effect": "Allow", "Principal": {"AWS": {"Ref": "ClientPrincipal"}}, "Action": "sts:AssumeRole"}]},
    ),
    "iam_user_has_managed_policies_and_no_password": ("data-in/file", "ClientUser", "LoginProfile", {"Password": "x"}),
    "user_pool_is_protected_against_deletion": ("user-pool", "Pool", "DeletionProtection", "INACTIVE"),
    "user_pool_lets_nobody_sign_up": ("user-pool", "Pool", "AdminCreateUserConfig", None),
    "user_pool_wants_long_passwords": ("user-pool", "Pool", "Policies", {"PasswordPolicy": {"MinimumLength": 8}}),
    "user_pool_takes_second_factors": ("user-pool", "Pool", "MfaConfiguration", "OFF"),
    "app_client_hands_tokens_to_nobody_else": (
        "user-pool", "People", "ExplicitAuthFlows", ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
    ),
    "iam_principal_carries_the_boundary": ("data-in/file", "PlatformRole", "PermissionsBoundary", None),
    "resource_carries_the_tags": ("data-in/stream", "Stream", "Tags", [{"Key": "headgate:tenant", "Value": "t"}]),
}


@pytest.mark.parametrize("rule", SPOILED)
def test_every_rule_can_be_broken(rule):
    name, logical_id, key, value = SPOILED[rule]
    spoiled = USER_POOL.read_text() if name == "user-pool" else text(name)
    resource = copy.deepcopy(load(spoiled)["Resources"][logical_id])
    assert rule not in broken_rules({logical_id: resource})
    if value is None:
        del resource["Properties"][key]
    else:
        resource["Properties"][key] = value
    assert rule in broken_rules({logical_id: resource})


@pytest.mark.parametrize("key,value", [
    ("Resource", "*"), ("Resource", ["arn:aws:s3:::lake/*"]), ("Action", "*"), ("Action", "s3:*"), ("NotAction", "s3:GetObject"),
])
def test_a_wide_grant_breaks_its_rule(key, value):
    policy = copy.deepcopy(load(text("data-out/file"))["Resources"]["ClientPolicy"])
    policy["Properties"]["PolicyDocument"]["Statement"][0][key] = value
    assert "iam_policy_allows_named_actions_on_named_resources" in broken_rules({"ClientPolicy": policy})


@pytest.mark.parametrize("key,value", [
    ("AllowedOAuthFlows", ["code", "implicit"]), ("AllowedOAuthFlows", {"Fn::If": ["HasPage", ["implicit"], {"Ref": "AWS::NoValue"}]}),
    ("PreventUserExistenceErrors", "LEGACY"), ("EnableTokenRevocation", False), ("AccessTokenValidity", 1440),
])
def test_a_wide_app_client_breaks_its_rule(key, value):
    client = copy.deepcopy(load(USER_POOL.read_text())["Resources"]["People"])
    client["Properties"][key] = value
    assert "app_client_hands_tokens_to_nobody_else" in broken_rules({"People": client})


@pytest.mark.parametrize("principal", ["*", {"AWS": "*"}, {"AWS": {"Ref": "AWS::AccountId"}}, {"Service": "ec2.amazonaws.com"}])
def test_a_wide_trust_breaks_its_rule(principal):
    role = copy.deepcopy(load(text("data-out/file"))["Resources"]["PlatformRole"])
    role["Properties"]["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] = principal
    assert "iam_role_is_taken_up_by_one_principal_with_an_external_id" in broken_rules({"PlatformRole": role})


def test_no_rule_is_left_untried():
    named = set(re.findall(r"^rule (\w+)", RULES, re.MULTILINE))
    # The two others are broken by the templates themselves (logs), and by the next lines (kept).
    assert named - set(SPOILED) == {"s3_bucket_logs_access", "nothing_is_kept_after_its_stack"}
    kept = {"Stream": {"Type": "AWS::Kinesis::Stream", "DeletionPolicy": "Retain"}}
    assert "nothing_is_kept_after_its_stack" in broken_rules(kept)


@pytest.mark.parametrize("name", TEMPLATES)
def test_no_policy_names_anything_but_the_channels_own(name):
    for changed in variants(name):
        made, other = rendered(name, 1, **changed), json.dumps(rendered(name, 2, **changed))
        document = json.dumps(made)
        assert "lake" not in document.lower()
        assert stack_name(2) not in document and stack_name(1) not in other
        own = stack_name(1)
        for kind, key, statement in statements(made):
            assert "NotPrincipal" not in statement and "NotResource" not in statement and "NotAction" not in statement
            if key == "AssumeRolePolicyDocument":
                (principal,) = statement["Principal"].values()
                assert principal in (PLATFORM, changed.get("ClientPrincipal"))
                assert len(statement["Condition"]["StringEquals"]["sts:ExternalId"]) >= 16
                continue
            for arn in listed(statement["Resource"]):
                service, rest = arn.split(":")[2], arn.split(":", 5)[5]
                assert service in ("s3", "sqs", "kinesis"), arn
                assert re.fullmatch(rf"(stream/)?{own}(-[a-z0-9.-]+)?(/([a-z.]+/)?\*)?", rest), arn
            if statement["Effect"] == "Allow":
                assert all("*" not in action for action in listed(statement["Action"]))
                if "Principal" in statement:
                    assert kind == "AWS::SQS::QueuePolicy" and statement["Principal"] == {"Service": "s3.amazonaws.com"}
                    assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": ACCOUNT}
                    assert statement["Condition"]["ArnEquals"]["aws:SourceArn"].startswith(f"arn:aws:s3:::{own}-")


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_store_refuses_plaintext(name):
    made = rendered(name, 1)
    denied = set()
    for _, _, statement in statements(made):
        if statement["Effect"] == "Deny" and statement.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}:
            denied.update(arn.removesuffix("/*") for arn in listed(statement["Resource"]))
    stores = {
        physical_of(kind, logical_id, 1, properties)[1]["Arn"]
        for logical_id, (kind, properties) in made.items()
        if kind in ("AWS::S3::Bucket", "AWS::SQS::Queue", "AWS::Kinesis::Stream")
    }
    assert stores and stores == denied


def test_client_and_platform_each_have_their_own_half():
    """Who pushes never reads, who pulls never writes."""
    writes = {"s3:PutObject", "sqs:SendMessage", "kinesis:PutRecord", "kinesis:PutRecords"}
    reads = {"s3:GetObject", "s3:GetObjectVersion", "sqs:ReceiveMessage", "sqs:DeleteMessage", "kinesis:GetRecords"}
    for name in TEMPLATES:
        made = rendered(name, 1)
        allowed = {}
        for policy in ("ClientPolicy", "PlatformPolicy"):
            found = made[policy][1]["PolicyDocument"]["Statement"]
            allowed[policy] = {a for one in found if one["Effect"] == "Allow" for a in listed(one["Action"])}
        client, platform = allowed["ClientPolicy"], allowed["PlatformPolicy"]
        if name.startswith("data-in"):
            assert client & writes and not client & reads and platform & reads and not platform & writes, name
        else:
            assert client & reads and not client & writes and platform & writes, name


def test_what_every_template_takes_is_the_same():
    first, *others = [load(text(name)) for name in TEMPLATES]
    shared = set(first["Parameters"])
    assert {"Installation", "Tenant", "Channel", "Order", "CostAllocation", "Size"} <= shared
    for other in others:
        assert {key: other["Parameters"][key] for key in shared} == first["Parameters"]
        assert other["Rules"] == first["Rules"]
        # Parameters of one profile only have defaults.
        assert all("Default" in other["Parameters"][key] for key in set(other["Parameters"]) - shared)


def test_sizes_are_those_of_the_profiles():
    sizes = PROFILES["cloudformation"]
    assert set(sizes) == set(TEMPLATES)
    assert tuple(PROFILES["sizes"]) == SIZES
    for name in TEMPLATES:
        template = load(text(name))
        assert template["Mappings"]["Size"] == sizes[name], name
        assert template["Parameters"]["Size"]["AllowedValues"] == list(SIZES)


def quantity(text):
    units = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
    number, unit = re.fullmatch(r"(\d+)(\w+)", text).groups()
    return int(number) * units[unit]


def test_sizes_hold_what_the_limits_promise():
    """Limits of S3, SQS and Kinesis: https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html"""
    sizes = PROFILES["cloudformation"]
    for size in SIZES:
        file = PROFILES["data_out"]["file"]["sizes"][size]["limits"]
        assert int(sizes["data-out/file"][size]["RetentionBytes"]) == quantity(file["retention_bytes"])
        into = {name: PROFILES["data_in"][name]["sizes"][size]["limits"] for name in ("file", "queue", "stream")}
        assert int(sizes["data-in/file"][size]["RetentionBytes"]) == quantity(into["file"]["retention_bytes"])
        stream = PROFILES["data_out"]["stream"]["sizes"][size]["limits"]
        days = int(stream["retention"].removesuffix("d"))
        assert sizes["data-out/stream"][size]["RetentionHours"] == 24 * days
        assert sizes["data-in/stream"][size]["RetentionHours"] == 24 * int(into["stream"]["retention"].removesuffix("d"))
        for name, limits in (("data-out/stream", stream), ("data-in/stream", into["stream"])):
            # A shard takes 1 MB and 1,000 records a second.
            needed = max(quantity(limits["bytes_per_second"]) / 1_000_000, limits["records_per_second"] / 1_000)
            assert sizes[name][size]["Shards"] == math.ceil(needed)
            assert 24 <= sizes[name][size]["RetentionHours"] <= 8_760
        queue = sizes["data-in/queue"][size]
        assert queue["RetentionSeconds"] == 86_400 * int(into["queue"]["retention"].removesuffix("d"))
        assert queue["MessageBytes"] == quantity(into["queue"]["payload_bytes"])
        for name in ("data-in/queue", "data-out/queue"):
            row = sizes[name][size]
            assert 60 <= row["RetentionSeconds"] <= 1_209_600 and 1_024 <= row["MessageBytes"] <= 262_144
    for name, rows in sizes.items():
        for smaller, larger in itertools.pairwise(SIZES):
            assert all(int(rows[smaller][key]) <= int(rows[larger][key]) for key in rows[smaller]), name
