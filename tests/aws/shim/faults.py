"""What a test asks to go wrong.

A fault matches requests (`service`, `action`) or the work of stacks (`stack`, `resource`: a
logical id or a type, `operation`: create, update, delete). It lets the first `after` matches pass,
then has one `effect` and happens `times` times, without `times` until it is taken back:

    throttle      the request is refused as too fast
    refuse        the request is refused with `code`
    lose_request  the connection ends before anything was done
    lose_answer   everything is done, then the connection ends
    some          of a batch the entries with the indices in `entries` fail with `code` (partial.py)
    fail          the resource's operation fails with `message`
    hold          the request or operation waits until the fault is taken back
"""

import threading

FOR_REQUESTS = {"throttle", "refuse", "lose_request", "lose_answer", "hold", "some"}
FOR_RESOURCES = {"fail", "hold"}


class FaultError(ValueError):
    """A fault that nothing could match."""


class Faults:
    def __init__(self):
        self._changed = threading.Condition()
        self._faults = []

    def add(self, fault):
        at_resource = "operation" in fault or "resource" in fault
        keys = {"stack", "resource", "operation"} if at_resource else {"service", "action"}
        effects = FOR_RESOURCES if at_resource else FOR_REQUESTS
        unknown = set(fault) - keys - {"effect", "times", "after", "code", "message", "entries"}
        if unknown or fault.get("effect") not in effects:
            raise FaultError(f"not a fault: {fault}")
        with self._changed:
            self._faults.append(dict(fault))

    def clear(self):
        """Takes every fault back and lets go what is held."""
        with self._changed:
            self._faults = []
            self._changed.notify_all()

    def left(self):
        with self._changed:
            return [dict(fault) for fault in self._faults]

    def of_request(self, service, action):
        """The effect on this request, or None."""
        return self._take("service", service=service, action=action)

    def of_resource(self, stack, names, operation):
        """The effect on an operation of a resource, known by its logical id and its type."""
        return self._take("operation", stack=stack, resource=names, operation=operation)

    def wait_while_held(self, fault):
        with self._changed:
            self._changed.wait_for(lambda: not any(one is fault for one in self._faults))

    def _take(self, kind, **seen):
        with self._changed:
            for fault in self._faults:
                at_resource = "operation" in fault or "resource" in fault
                if at_resource != (kind == "operation") or not _matches(fault, seen):
                    continue
                if fault.get("after", 0) > 0:
                    fault["after"] -= 1
                    continue
                if fault["effect"] != "hold" and "times" in fault:
                    fault["times"] -= 1
                    if fault["times"] <= 0:
                        self._faults.remove(fault)
                return fault
        return None


def _matches(fault, seen):
    for key, value in seen.items():
        wanted = fault.get(key)
        values = value if isinstance(value, tuple) else (value,)
        if wanted is not None and wanted not in values:
            return False
    return True
