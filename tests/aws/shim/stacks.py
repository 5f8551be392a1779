"""Stacks and what becomes of them.

One thread per operation. Resources are made one after the other in the order of their needs (the
real service makes independent ones at once), and taken back in reverse.
"""

import hashlib
import itertools
import threading
import uuid
from datetime import datetime, timezone

from . import resources
from .template import Rendering, TemplateError

UPDATABLE = {"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"}


class StackError(Exception):
    """An answer with a code of CloudFormation's."""

    def __init__(self, code, message, status=400):
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


class Failed(Exception):
    """The operation of one resource failed."""

    def __init__(self, logical_id, reason):
        super().__init__(f"{logical_id}: {reason}")
        self.logical_id, self.reason = logical_id, reason


class Worker(threading.Thread):
    """Does one operation of one stack, in the name of whoever asked for it: the id of a key, where rights are
    enforced."""

    caller = None


class Made:
    """A resource as it is."""

    def __init__(self, logical_id, kind, physical_id, properties, tags):
        self.logical_id, self.kind, self.physical_id = logical_id, kind, physical_id
        self.properties, self.tags = properties, tags
        self.status, self.at = "CREATE_IN_PROGRESS", now()


def now():
    return datetime.now(timezone.utc)


class Stack:
    def __init__(self, account, name, plan):
        self.account = account
        self.name = name
        self.id = f"arn:aws:cloudformation:{account.region}:{account.number}:stack/{name}/{uuid.uuid4()}"
        self.plan = plan
        self.status, self.reason = "REVIEW_IN_PROGRESS", None
        self.created_at, self.updated_at, self.deleted_at = now(), None, None
        self.made = {}
        self.events = []
        self.outputs = []
        self.tokens = {}
        self.token = None
        self.cancelled = False
        self.worker = None
        self._undo = None

    # ---- what callers start

    def create(self, on_failure, token):
        self._begin("CREATE_IN_PROGRESS", "User Initiated", token)
        self._run(self._create, on_failure)

    def update(self, plan, token):
        self._begin("UPDATE_IN_PROGRESS", "User Initiated", token)
        self.updated_at = now()
        self._run(self._update, plan)

    def continue_rollback(self, token):
        self._begin("UPDATE_ROLLBACK_IN_PROGRESS", "User Initiated", token)
        self._run(self._roll_back_update)

    def delete(self, token):
        if self.status in ("DELETE_IN_PROGRESS", "DELETE_COMPLETE"):
            return
        if self.status.startswith("UPDATE_") and self.status.endswith("_IN_PROGRESS"):
            raise StackError("ValidationError", f"Stack [{self.name}] cannot be deleted while in status {self.status}")
        before, self.cancelled = self.worker, True
        self._begin("DELETE_IN_PROGRESS", "User Initiated", token)
        self._run(self._delete, before)

    # ---- what the threads do

    def _create(self, on_failure):
        try:
            self._make(self.plan)
        except (Failed, TemplateError) as error:
            if self.cancelled:
                return
            self._note_failure("CREATE_FAILED", error)
            if on_failure == "DO_NOTHING":
                return self._end("CREATE_FAILED", str(error))
            if on_failure == "DELETE":
                self._enter("DELETE_IN_PROGRESS", str(error))
                return self._delete(None)
            self._enter("ROLLBACK_IN_PROGRESS", f"The following resource(s) failed to create: [{_culprit(error)}].")
            failed = self._take_back(list(self.made))
            return self._end("ROLLBACK_FAILED" if failed else "ROLLBACK_COMPLETE", failed)
        if not self.cancelled:
            self._end("CREATE_COMPLETE")

    def _make(self, plan):
        rendering = plan.rendering(self)
        for logical_id in rendering.wanted():
            if self.cancelled:
                return
            self._create_one(rendering, plan, logical_id)
        self.outputs = rendering.outputs()

    def _update(self, plan):
        old, self._undo = self.plan, {"plan": self.plan, "changed": [], "added": [], "outputs": self.outputs}
        try:
            rendering = plan.rendering(self)
            for logical_id in rendering.wanted():
                if logical_id in self.made:
                    self._update_one(rendering, plan, logical_id)
                else:
                    self._undo["added"].append(logical_id)
                    self._create_one(rendering, plan, logical_id)
            outputs = rendering.outputs()
        except (Failed, TemplateError) as error:
            self._note_failure("UPDATE_FAILED", error)
            self.plan = old
            self._enter("UPDATE_ROLLBACK_IN_PROGRESS", f"The following resource(s) failed to update: [{_culprit(error)}].")
            return self._roll_back_update()
        self.plan, self.outputs = plan, outputs
        self._enter("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")
        gone = [logical_id for logical_id in self.made if logical_id not in rendering.wanted()]
        # What cannot be removed stays behind without failing the update, as with the real service.
        self._take_back(gone, keep_going=True)
        return self._end("UPDATE_COMPLETE")

    def _roll_back_update(self):
        undo = self._undo
        while undo["changed"]:
            logical_id, properties, tags = undo["changed"][-1]
            try:
                self._change(logical_id, properties, tags)
            except Failed as error:
                return self._end("UPDATE_ROLLBACK_FAILED", str(error))
            undo["changed"].pop()
        self._enter("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS")
        self._take_back([one for one in undo["added"] if one in self.made], keep_going=True)
        self.outputs = undo["outputs"]
        return self._end("UPDATE_ROLLBACK_COMPLETE")

    def _delete(self, before):
        # A creation under way ends its current resource first.
        if before is not None:
            before.join()
        failed = self._take_back(list(self.made))
        if failed:
            return self._end("DELETE_FAILED", failed)
        self.deleted_at, self.outputs = now(), []
        return self._end("DELETE_COMPLETE")

    # ---- one resource

    def _create_one(self, rendering, plan, logical_id):
        kind = rendering.template["Resources"][logical_id]["Type"]
        handler = self.account.handler(kind)
        try:
            properties = rendering.properties(logical_id)
        except TemplateError as error:
            raise Failed(logical_id, str(error)) from error
        tags = resources.tag_map(properties, plan.tags)
        one = Made(logical_id, kind, "", properties, tags)

        def made(physical_id):
            one.physical_id = physical_id
            self.made[logical_id] = one

        def work():
            unknown = sorted(set(properties) - handler.takes)
            if unknown:
                raise ValueError(f"properties {unknown} of {kind} are not understood here")
            named = {}
            if kind in resources.NAMED_HERE:
                named["name"] = self._name_for(logical_id)
            handler.create(properties, tags, made, **named)

        self._event(one, "CREATE_IN_PROGRESS")
        self._attempt(one, "create", work)
        self._known(rendering, one, handler)
        self._event(one, "CREATE_COMPLETE")

    def _update_one(self, rendering, plan, logical_id):
        one = self.made[logical_id]
        properties = rendering.properties(logical_id)
        tags = resources.tag_map(properties, plan.tags)
        if (properties, tags) != (one.properties, one.tags):
            self._undo["changed"].append((logical_id, one.properties, one.tags))
            self._change(logical_id, properties, tags)
        self._known(rendering, one, self.account.handler(one.kind))

    def _change(self, logical_id, properties, tags):
        one = self.made[logical_id]
        handler = self.account.handler(one.kind)

        def work():
            fixed = [key for key in sorted(handler.fixed) if properties.get(key) != one.properties.get(key)]
            if fixed:
                raise resources.Replacement(f"a change of {fixed} would replace {logical_id}; that is refused here")
            unknown = sorted(set(properties) - handler.takes)
            if unknown:
                raise ValueError(f"properties {unknown} of {one.kind} are not understood here")
            handler.update(one.physical_id, one.properties, properties, tags)

        self._event(one, "UPDATE_IN_PROGRESS")
        self._attempt(one, "update", work)
        one.properties, one.tags = properties, tags
        self._event(one, "UPDATE_COMPLETE")

    def _take_back(self, logical_ids, keep_going=False):
        """Deletes resources in reverse; says what failed. What failed stays known."""
        failures = []
        for logical_id in reversed(logical_ids):
            one = self.made[logical_id]
            handler = self.account.handler(one.kind)
            self._event(one, "DELETE_IN_PROGRESS")
            try:
                self._attempt(one, "delete", lambda: handler.delete(one.physical_id, one.properties))
            except Failed as error:
                self._event(one, "DELETE_FAILED", error.reason)
                failures.append(logical_id)
                if keep_going:
                    del self.made[logical_id]
                continue
            self._event(one, "DELETE_COMPLETE")
            del self.made[logical_id]
        if failures:
            return f"The following resource(s) failed to delete: [{', '.join(failures)}]."
        return None

    def _attempt(self, one, operation, work):
        fault = self.account.faults.of_resource(self.name, (one.logical_id, one.kind), operation)
        if fault and fault["effect"] == "hold":
            self.account.faults.wait_while_held(fault)
        elif fault:
            raise Failed(one.logical_id, fault.get("message", "injected failure"))
        try:
            work()
        except Exception as error:
            # Whatever the service said is the reason that the event shows.
            raise Failed(one.logical_id, str(error)) from error

    def _known(self, rendering, one, handler):
        rendering.physical[one.logical_id] = one.physical_id
        try:
            rendering.attributes[one.logical_id] = handler.attributes(one.physical_id)
        except Exception as error:
            # The resource was removed behind the stack's back.
            raise Failed(one.logical_id, str(error)) from error

    def _name_for(self, logical_id):
        # IAM takes 64 characters; the hash keeps cut names apart.
        suffix = hashlib.sha256(f"{self.id}/{logical_id}/{len(self.events)}".encode()).hexdigest()[:12].upper()
        return f"{self.name[:35]}-{logical_id[:14]}-{suffix}"

    # ---- states

    def _begin(self, status, reason, token):
        self.token = token
        self._enter(status, reason)

    def _enter(self, status, reason=None):
        with self.account.lock:
            current = threading.current_thread()
            if isinstance(current, Worker) and current is not self.worker:
                # A deletion came in between: the state is its business now.
                return
            self.status, self.reason = status, reason
            self._stack_event()

    def _end(self, status, reason=None):
        self._enter(status, reason)

    def _run(self, work, *arguments):
        self.worker = Worker(target=self._guard, args=(work, *arguments), daemon=True)
        self.worker.caller = self.account.caller
        self.worker.start()

    def _guard(self, work, *arguments):
        try:
            work(*arguments)
        except Exception as error:
            self.account.broken.append(f"{self.name}: {error!r}")
            raise

    def _note_failure(self, status, error):
        if isinstance(error, Failed):
            kind = self.plan.template["Resources"].get(error.logical_id, {}).get("Type", "")
            one = self.made.get(error.logical_id) or Made(error.logical_id, kind, "", {}, {})
            self._event(one, status, error.reason)

    def _event(self, one, status, reason=None):
        one.status, one.at = status, now()
        self._append(one.logical_id, one.physical_id, one.kind, status, reason)

    def _stack_event(self):
        self._append(self.name, self.id, "AWS::CloudFormation::Stack", self.status, self.reason)

    def _append(self, logical_id, physical_id, kind, status, reason):
        event = {
            "StackId": self.id,
            "EventId": f"{logical_id}-{uuid.uuid4()}",
            "StackName": self.name,
            "LogicalResourceId": logical_id,
            "PhysicalResourceId": physical_id,
            "ResourceType": kind,
            "Timestamp": now(),
            "ResourceStatus": status,
            "ResourceStatusReason": reason,
            "ClientRequestToken": self.token,
        }
        self.events.append({key: value for key, value in event.items() if value is not None})


def _culprit(error):
    return error.logical_id if isinstance(error, Failed) else str(error)


class Plan:
    """What a stack shall be: a template, its parameters, its tags."""

    def __init__(self, body, template, values, tags):
        self.body, self.template, self.values, self.tags = body, template, values, tags

    def rendering(self, stack):
        account = stack.account
        return Rendering(self.template, self.values, account.number, account.region, stack.name, stack.id)

    def same_as(self, other):
        return (self.template, self.values, self.tags) == (other.template, other.values, other.tags)


class Account:
    """The stacks of one account and region."""

    def __init__(self, clients, faults, number="123456789012", region="us-east-1"):
        self.clients, self.faults, self.number, self.region = clients, faults, number, region
        self.lock = threading.RLock()
        # Who asks for what is answered just now, under the lock.
        self.caller = None
        self.stacks = []
        # What went wrong in the shim itself; a test that leaves something here has shown nothing.
        self.broken = []
        self._handlers = {}

    def handler(self, kind):
        with self.lock:
            if kind not in self._handlers:
                self._handlers[kind] = resources.TYPES[kind](self.clients)
            return self._handlers[kind]

    def live(self):
        return [stack for stack in self.stacks if stack.status != "DELETE_COMPLETE"]

    def find(self, name):
        """By name what lives, by id also what is gone."""
        for stack in itertools.chain(self.live(), self.stacks):
            if stack.id == name or (stack.name == name and stack.status != "DELETE_COMPLETE"):
                return stack
        return None

    def settle(self):
        """Waits for everything under way."""
        for stack in list(self.stacks):
            if stack.worker is not None:
                stack.worker.join()
