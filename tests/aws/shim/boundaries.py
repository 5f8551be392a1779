"""Permissions boundaries, which moto keeps for roles and forgets for users; what they come to is decided by access.py."""

import json

from moto.core.responses import EmptyResult
from moto.iam.models import iam_backends
from moto.iam.responses import IamResponse

PARTITION = "aws"
# Whose boundary is not there any more may do nothing.
NOTHING = {"Version": "2012-10-17", "Statement": []}


def of(principal):
    """The ARN of a user's or role's boundary."""
    return getattr(principal, "permissions_boundary_arn", None)


def of_named(account, form):
    """The same of the user or role that a request names, where there is one."""
    backend = iam_backends[account][PARTITION]
    if "UserName" in form:
        return of(backend.users.get(form["UserName"]))
    return next((of(one) for one in backend.get_roles() if one.name == form.get("RoleName")), None)


def documents(account, principal):
    """What its boundary allows, as policies that each have to allow as well."""
    arn = of(principal)
    if not arn:
        return ()
    policy = iam_backends[account][PARTITION].managed_policies.get(arn)
    if policy is None:
        return (NOTHING,)
    text = next(one.document for one in policy.versions if one.version_id == policy.default_version_id)
    return (json.loads(text),)


def complete():
    """Users have boundaries, too."""
    if hasattr(IamResponse, "put_user_permissions_boundary"):
        return
    plain = IamResponse.create_user

    def create_user(self):
        answer = plain(self)
        keep(self)
        return answer

    def keep(self):
        user = self.backend.get_user(self._get_param("UserName"))
        user.permissions_boundary_arn = self._get_param("PermissionsBoundary")
        return EmptyResult()

    IamResponse.create_user = create_user
    IamResponse.put_user_permissions_boundary = IamResponse.delete_user_permissions_boundary = keep
