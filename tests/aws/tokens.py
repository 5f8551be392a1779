"""Tokens of user pools, for tests that are not written in Python.

    python tokens.py URL POOL REGION    reads jobs as JSON and writes a token for each; where rights are enforced,
                                        as whom the usual variables of AWS name

moto cannot hand out tokens for the client credentials grant, and none that is wrong; it publishes one
key for all pools, so what is asked for here is signed with that. A job is {"claims": {...}} with the
claims that differ from those of a good access token, null for one that is left out, or {"log_in":
{"client_id", "name", "groups"}} for a person of the pool who logs in: that token is moto's own.
"""

import gzip
import json
import os
import sys
import time
import uuid
from pathlib import Path

import boto3
import moto.cognitoidp
from botocore.config import Config
from joserfc import jwk, jwt

ONCE = Config(retries={"max_attempts": 0, "mode": "standard"})
PASSWORD = "Correct-horse-7"


def key():
    """moto's own; only tokens of this account are worth anything."""
    file = Path(moto.cognitoidp.__file__).parent / "resources/jwks-private.json.gz"
    return jwk.RSAKey.import_key(json.loads(gzip.decompress(file.read_bytes())))


def signed(pool, region, claims):
    now = int(time.time())
    usual = {
        "iss": f"https://cognito-idp.{region}.amazonaws.com/{pool}",
        "token_use": "access",
        "iat": now,
        "exp": now + 3600,
        "jti": str(uuid.uuid4()),
        "version": 2,
    }
    claims = {name: value for name, value in {**usual, **claims}.items() if value is not None}
    return jwt.encode({"kid": "dummy", "alg": "RS256"}, claims, key())


def logged_in(url, pool, region, person):
    client = boto3.client(
        "cognito-idp", endpoint_url=url, region_name=region, config=ONCE,
        aws_access_key_id=os.environ.get("AWS_ACCESS_KEY_ID", "AKIATEST"),
        aws_secret_access_key=os.environ.get("AWS_SECRET_ACCESS_KEY", "secret"),
    )
    name = person["name"]
    client.admin_create_user(UserPoolId=pool, Username=name, UserAttributes=person.get("attributes", []))
    client.admin_set_user_password(UserPoolId=pool, Username=name, Password=PASSWORD, Permanent=True)
    for group in person["groups"]:
        groups = client.list_groups(UserPoolId=pool)["Groups"]
        if group not in [one["GroupName"] for one in groups]:
            client.create_group(UserPoolId=pool, GroupName=group)
        client.admin_add_user_to_group(UserPoolId=pool, Username=name, GroupName=group)
    given = client.admin_initiate_auth(
        UserPoolId=pool, ClientId=person["client_id"], AuthFlow="ADMIN_USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": name, "PASSWORD": PASSWORD},
    )["AuthenticationResult"]
    return {"access": given["AccessToken"], "id": given["IdToken"]}


if __name__ == "__main__":
    url, pool, region = sys.argv[1:]
    jobs = json.load(sys.stdin)
    print(json.dumps([
        logged_in(url, pool, region, job["log_in"]) if "log_in" in job else signed(pool, region, job["claims"])
        for job in jobs
    ]))
