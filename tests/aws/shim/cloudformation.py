"""CloudFormation's API over the stacks: the query protocol, its checks and its errors."""

import re
import uuid
from datetime import datetime
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from . import resources
from .stacks import UPDATABLE, Plan, Stack, StackError
from .template import Rendering, TemplateError, capabilities, load, parameters

NAMESPACE = "http://cloudformation.amazonaws.com/doc/2010-05-15/"
NAME = re.compile(r"[a-zA-Z][-a-zA-Z0-9]{0,127}")
PAGE = 100


class Api:
    def __init__(self, account):
        self.account = account

    def answer(self, body, caller=None):
        """(status, content type, bytes) for the body of one request, signed by the key `caller`."""
        form = dict(parse_qsl(body.decode(), keep_blank_values=True))
        action = form.pop("Action", "")
        form.pop("Version", None)
        try:
            operation = OPERATIONS.get(action)
            if operation is None:
                raise StackError("InvalidAction", f"{action} is not understood here")
            with self.account.lock:
                self.account.caller = caller
                result = operation(self.account, _nested(form))
        except StackError as error:
            return error.status, "text/xml", _error(error.code, error.message)
        except TemplateError as error:
            return 400, "text/xml", _error("ValidationError", str(error))
        inner = "" if result is None else f"<{action}Result>{_xml(result)}</{action}Result>"
        text = (
            f'<{action}Response xmlns="{NAMESPACE}">{inner}'
            f"<ResponseMetadata><RequestId>{uuid.uuid4()}</RequestId></ResponseMetadata></{action}Response>"
        )
        return 200, "text/xml", text.encode()


def create_stack(account, form):
    token = form.get("ClientRequestToken")
    _only(form, {"StackName", "TemplateBody", "Parameters", "Tags", "Capabilities", "OnFailure", "DisableRollback",
                 "ClientRequestToken"})
    name = form["StackName"]
    if not NAME.fullmatch(name):
        raise StackError("ValidationError", f"1 validation error detected: Value '{name}' at 'stackName'")
    stack = account.find(name)
    if stack is not None and _repeated(stack, token, "create", form):
        return {"StackId": stack.id}
    if stack is not None:
        raise StackError("AlreadyExistsException", f"Stack [{name}] already exists")
    on_failure = form.get("OnFailure", "DO_NOTHING" if form.get("DisableRollback") == "true" else "ROLLBACK")
    plan = _plan(form, None)
    stack = Stack(account, name, plan)
    _check(plan.rendering(stack), form)
    _remember(stack, token, "create", form)
    account.stacks.append(stack)
    stack.create(on_failure, token)
    return {"StackId": stack.id}


def update_stack(account, form):
    _only(form, {"StackName", "TemplateBody", "UsePreviousTemplate", "Parameters", "Tags", "Capabilities",
                 "ClientRequestToken"})
    token = form.get("ClientRequestToken")
    stack = _existing(account, form)
    if _repeated(stack, token, "update", form):
        return {"StackId": stack.id}
    if stack.status not in UPDATABLE:
        raise StackError("ValidationError", f"Stack:{stack.id} is in {stack.status} state and can not be updated.")
    plan = _plan(form, stack.plan)
    _check(plan.rendering(stack), form)
    if plan.same_as(stack.plan):
        raise StackError("ValidationError", "No updates are to be performed.")
    _remember(stack, token, "update", form)
    stack.update(plan, token)
    return {"StackId": stack.id}


def continue_update_rollback(account, form):
    _only(form, {"StackName", "ClientRequestToken"})
    stack = _existing(account, form)
    if _repeated(stack, form.get("ClientRequestToken"), "continue", form):
        return {}
    if stack.status != "UPDATE_ROLLBACK_FAILED":
        raise StackError("ValidationError", f"Stack:{stack.id} is in {stack.status} state and can not continue rollback.")
    _remember(stack, form.get("ClientRequestToken"), "continue", form)
    stack.continue_rollback(form.get("ClientRequestToken"))
    return {}


def delete_stack(account, form):
    _only(form, {"StackName", "ClientRequestToken"})
    stack = account.find(form["StackName"])
    if stack is None:
        return None
    if not _repeated(stack, form.get("ClientRequestToken"), "delete", form):
        # A stack whose deletion failed may be deleted again with a token of its own only.
        stack.delete(form.get("ClientRequestToken"))
        _remember(stack, form.get("ClientRequestToken"), "delete", form)
    return None


def describe_stacks(account, form):
    _only(form, {"StackName", "NextToken"})
    found = [_existing(account, form)] if "StackName" in form else account.live()
    page, following = _page(found, form)
    return {"Stacks": [_described(stack) for stack in page], **following}


def list_stacks(account, form):
    _only(form, {"StackStatusFilter", "NextToken"})
    wanted = form.get("StackStatusFilter")
    found = [stack for stack in reversed(account.stacks) if not wanted or stack.status in wanted]
    page, following = _page(found, form)
    keys = ("StackId", "StackName", "CreationTime", "LastUpdatedTime", "DeletionTime", "StackStatus", "StackStatusReason")
    summaries = [{key: one[key] for key in keys if key in one} for one in map(_described, page)]
    return {"StackSummaries": summaries, **following}


def describe_stack_events(account, form):
    _only(form, {"StackName", "NextToken"})
    page, following = _page(list(reversed(_existing(account, form).events)), form)
    return {"StackEvents": page, **following}


def list_stack_resources(account, form):
    _only(form, {"StackName", "NextToken"})
    stack = _existing(account, form)
    page, following = _page(list(stack.made.values()), form)
    summaries = [
        {
            "LogicalResourceId": one.logical_id,
            "PhysicalResourceId": one.physical_id,
            "ResourceType": one.kind,
            "LastUpdatedTimestamp": one.at,
            "ResourceStatus": one.status,
        }
        for one in page
    ]
    return {"StackResourceSummaries": summaries, **following}


def get_template(account, form):
    _only(form, {"StackName"})
    return {"TemplateBody": _existing(account, form).plan.body}


OPERATIONS = {
    "CreateStack": create_stack,
    "UpdateStack": update_stack,
    "ContinueUpdateRollback": continue_update_rollback,
    "DeleteStack": delete_stack,
    "DescribeStacks": describe_stacks,
    "ListStacks": list_stacks,
    "DescribeStackEvents": describe_stack_events,
    "ListStackResources": list_stack_resources,
    "GetTemplate": get_template,
}


def _only(form, known):
    """A parameter that is silently ignored would look as if it had worked."""
    unknown = sorted(set(form) - known)
    if unknown:
        raise StackError("ValidationError", f"{unknown} are not understood here")


def _existing(account, form):
    stack = account.find(form["StackName"])
    if stack is None:
        raise StackError("ValidationError", f"Stack with id {form['StackName']} does not exist")
    return stack


def _repeated(stack, token, kind, form):
    if token is None or token not in stack.tokens:
        return False
    if stack.tokens[token] != (kind, form):
        raise StackError("TokenAlreadyExistsException", f"the token {token} was used for another request")
    return True


def _remember(stack, token, kind, form):
    if token is not None:
        stack.tokens[token] = (kind, form)


def _plan(form, previous):
    if form.get("UsePreviousTemplate") == "true" and previous:
        body, template = previous.body, previous.template
    elif "TemplateBody" in form:
        body, template = form["TemplateBody"], load(form["TemplateBody"])
    else:
        raise StackError("ValidationError", "Either Template URL or Template Body must be specified.")
    unknown = sorted({one.get("Type") for one in template["Resources"].values()} - set(resources.TYPES))
    if unknown:
        raise StackError("ValidationError", f"Template format error: Unrecognized resource types: {unknown}")
    given = {}
    for one in form.get("Parameters", []):
        if one.get("UsePreviousValue") == "true" and previous:
            given[one["ParameterKey"]] = previous.values[one["ParameterKey"]]
        else:
            given[one["ParameterKey"]] = one.get("ParameterValue", "")
    tags = {tag["Key"]: tag["Value"] for tag in form.get("Tags", [])}
    if not tags and previous and "Tags" not in form:
        tags = previous.tags
    return Plan(body, template, parameters(template, given), tags)


def _check(rendering: Rendering, form):
    rendering.wanted()
    needed = capabilities(rendering.template)
    given = set(form.get("Capabilities", []))
    enough = {"CAPABILITY_IAM": {"CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"}, "CAPABILITY_NAMED_IAM": {"CAPABILITY_NAMED_IAM"}}
    if needed and not given & enough[needed]:
        raise StackError("InsufficientCapabilitiesException", f"Requires capabilities : [{needed}]")


def _described(stack):
    described = {
        "StackId": stack.id,
        "StackName": stack.name,
        "Parameters": [{"ParameterKey": k, "ParameterValue": v} for k, v in stack.plan.values.items()],
        "CreationTime": stack.created_at,
        "LastUpdatedTime": stack.updated_at,
        "DeletionTime": stack.deleted_at,
        "StackStatus": stack.status,
        "StackStatusReason": stack.reason,
        "Outputs": stack.outputs,
        "Tags": [{"Key": k, "Value": v} for k, v in stack.plan.tags.items()],
    }
    return {key: value for key, value in described.items() if value is not None}


def _page(items, form):
    start = int(form.get("NextToken", 0))
    following = {"NextToken": str(start + PAGE)} if start + PAGE < len(items) else {}
    return items[start : start + PAGE], following


def _nested(form):
    """`A.member.1.B=x` as {"A": [{"B": "x"}]}."""
    result = {}
    lists = {}
    for key, value in form.items():
        parts = key.split(".")
        if len(parts) == 1:
            result[key] = value
        elif len(parts) in (3, 4) and parts[1] == "member":
            entry = lists.setdefault(parts[0], {})
            if len(parts) == 3:
                entry[int(parts[2])] = value
            else:
                entry.setdefault(int(parts[2]), {})[parts[3]] = value
        else:
            raise StackError("MalformedQueryString", f"{key} is not understood here")
    for key, entries in lists.items():
        result[key] = [entries[place] for place in sorted(entries)]
    return result


def _xml(value):
    if isinstance(value, dict):
        return "".join(f"<{key}>{_xml(one)}</{key}>" for key, one in value.items())
    if isinstance(value, list):
        return "".join(f"<member>{_xml(one)}</member>" for one in value)
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03d}Z"
    return escape(str(value))


def _error(code, message):
    return (
        f'<ErrorResponse xmlns="{NAMESPACE}"><Error><Type>Sender</Type><Code>{code}</Code>'
        f"<Message>{escape(message)}</Message></Error><RequestId>{uuid.uuid4()}</RequestId></ErrorResponse>"
    ).encode()
