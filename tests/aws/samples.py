"""Parameters of stacks, and the six templates."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
TEMPLATES = {
    f"{direction}/{profile}": ROOT / "templates" / direction / f"{profile}.yaml"
    for direction in ("data-in", "data-out")
    for profile in ("file", "queue", "stream")
}
PLATFORM_ROLE = ROOT / "templates/platform-role.yaml"
USER_POOL, USER_POOL_TENANT = ROOT / "templates/user-pool.yaml", ROOT / "templates/user-pool-tenant.yaml"
# What a platform team makes once, not channel by channel.
ONCE = (PLATFORM_ROLE, USER_POOL, USER_POOL_TENANT)
SIZES = ("S", "M", "L", "XL")
ACCOUNT = "123456789012"
PLATFORM = f"arn:aws:iam::{ACCOUNT}:role/headgate-platform"
CLIENT_ROLE = "arn:aws:iam::222222222222:role/spark"
EXTERNAL_ID = "6f1ed002ab5595859014ebf0951522d9"


def text(name):
    return TEMPLATES[name].read_text()


def stack_name(number):
    return f"headgate-ch-{number:032x}"


def values(number, **changed):
    """Parameters of the channel with this number; each number is another tenant."""
    chosen = {
        "Installation": "test",
        "Tenant": f"ten_{number:032x}",
        "Channel": f"ch_{number:032x}",
        "Order": f"ord_{number:032x}",
        "CostAllocation": f"ten_{number:032x}",
        "Size": "S",
        "PlatformPrincipal": PLATFORM,
    }
    return {**chosen, **changed}


def stack(name, number, **changed):
    """Arguments of CreateStack."""
    return {
        "StackName": stack_name(number),
        "TemplateBody": text(name),
        "Parameters": [{"ParameterKey": k, "ParameterValue": v} for k, v in values(number, **changed).items()],
        "Capabilities": ["CAPABILITY_IAM"],
    }
