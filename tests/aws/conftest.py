"""One server for the whole run, empty for each test."""

import json
import threading
import time
import urllib.request

import boto3
import pytest
from botocore.config import Config

from shim.server import listen

ONCE = Config(retries={"max_attempts": 0, "mode": "standard"}, signature_version="v4", s3={"addressing_style": "path"})


class Cloud:
    """The account as tests see it."""

    def __init__(self, application):
        self.application, self.url = application, application.url
        # Whose key is used where a test names none; rights are not asked for unless it says so.
        self.key = {"AccessKeyId": "AKIATEST", "SecretAccessKey": "secret"}

    def enforce(self, key):
        """From now on every request must be signed and allowed; `key` is that of whoever administers the account."""
        self.key = key
        self.control("POST", "enforcement", {"on": True})

    def client(self, service, key=None, secret=None, token=None, config=ONCE):
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=key or self.key["AccessKeyId"],
            aws_secret_access_key=secret or self.key["SecretAccessKey"],
            aws_session_token=token,
            config=config,
        )

    def session(self, service, credentials):
        """A client with the credentials of a session or a key."""
        return self.client(
            service, credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials.get("SessionToken")
        )

    def control(self, method, name, body=None):
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"{self.url}/_shim/{name}", data=data, method=method)
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read())

    def fault(self, **fault):
        self.control("POST", "faults", fault)

    def until(self, name, *wanted):
        """The stack, once it has one of these states; fails at once at another final one."""
        client = self.client("cloudformation")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            stack = client.describe_stacks(StackName=name)["Stacks"][0]
            if stack["StackStatus"] in wanted:
                return stack
            if not stack["StackStatus"].endswith("_IN_PROGRESS"):
                raise AssertionError(f"{stack['StackStatus']}: {stack.get('StackStatusReason')} {self.failures(name)}")
            time.sleep(0.01)
        raise AssertionError(f"{name} is never {wanted}, but {stack['StackStatus']}")

    def until_event(self, name, logical_id, status):
        """Waits until a resource of the stack has had this state."""
        client = self.client("cloudformation")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            events = client.describe_stack_events(StackName=name)["StackEvents"]
            if any((e["LogicalResourceId"], e["ResourceStatus"]) == (logical_id, status) for e in events):
                return
            time.sleep(0.01)
        raise AssertionError(f"{logical_id} of {name} is never {status}")

    def failures(self, name):
        events = self.client("cloudformation").describe_stack_events(StackName=name)["StackEvents"]
        return [event.get("ResourceStatusReason") for event in events if event["ResourceStatus"].endswith("FAILED")]

    def left(self):
        """What exists, without the kinds of which nothing does."""
        return {kind: names for kind, names in self.control("GET", "left").items() if names}


@pytest.fixture(scope="session")
def server():
    application, server = listen()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield application
    server.shutdown()


@pytest.fixture
def cloud(server):
    server.reset()
    yield Cloud(server)
    # Faults are taken back first, so that nothing held outlives its test.
    server.faults.clear()
    server.account.settle()
    assert server.account.broken == []


def outputs(stack):
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
