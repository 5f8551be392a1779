"""User pools: the resource types of their templates, and the places where moto takes what Cognito refuses."""

from botocore.exceptions import ClientError
from moto.cognitoidp.models import CognitoIdpBackend
from moto.cognitoidp.responses import CognitoIdpResponse
from moto.core.exceptions import JsonRESTError
from moto.core.responses import ActionResult

# Properties that are called the same in Cognito's own API.
OF_A_POOL = {
    "DeletionProtection", "AdminCreateUserConfig", "AutoVerifiedAttributes", "UserAttributeUpdateSettings",
    "AccountRecoverySetting", "Policies", "MfaConfiguration", "UserPoolTags",
}
OF_AN_APP_CLIENT = {
    "UserPoolId", "ClientName", "ExplicitAuthFlows", "PreventUserExistenceErrors", "EnableTokenRevocation",
    "AccessTokenValidity", "IdTokenValidity", "RefreshTokenValidity", "TokenValidityUnits", "SupportedIdentityProviders",
    "AllowedOAuthFlowsUserPoolClient", "AllowedOAuthFlows", "AllowedOAuthScopes", "CallbackURLs",
}


def only(properties, names):
    return {key: value for key, value in properties.items() if key in names}


def missing_is_fine(call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise


class UserPool:
    takes = OF_A_POOL | {"UserPoolName", "UsernameConfiguration", "EnabledMfas"}
    fixed = {"UsernameConfiguration"}

    def __init__(self, clients):
        self.cognito = clients("cognito-idp")

    def create(self, properties, tags, made):
        pool = self.cognito.create_user_pool(
            PoolName=properties["UserPoolName"],
            UsernameConfiguration=properties["UsernameConfiguration"],
            **self._config(properties, tags),
        )["UserPool"]["Id"]
        made(pool)
        self._second_factors(pool, properties)

    def update(self, pool, _old, new, tags):
        self.cognito.update_user_pool(UserPoolId=pool, PoolName=new["UserPoolName"], **self._config(new, tags))
        self._second_factors(pool, new)

    def _config(self, properties, tags):
        return {**only(properties, OF_A_POOL), "UserPoolTags": {**tags, **properties.get("UserPoolTags", {})}}

    def _second_factors(self, pool, properties):
        enabled = properties["EnabledMfas"]
        if enabled != ["SOFTWARE_TOKEN_MFA"]:
            raise ValueError(f"EnabledMfas {enabled} are not understood here")
        self.cognito.set_user_pool_mfa_config(
            UserPoolId=pool,
            SoftwareTokenMfaConfiguration={"Enabled": True},
            MfaConfiguration=properties["MfaConfiguration"],
        )

    def attributes(self, pool):
        name = f"cognito-idp.{pool.split('_')[0]}.amazonaws.com/{pool}"
        arn = self.cognito.describe_user_pool(UserPoolId=pool)["UserPool"]["Arn"]
        return {"Arn": arn, "ProviderName": name, "ProviderURL": f"https://{name}", "UserPoolId": pool}

    def delete(self, pool, _properties):
        missing_is_fine(self.cognito.delete_user_pool, UserPoolId=pool)


class Domain:
    takes = {"UserPoolId", "Domain"}
    fixed = {"UserPoolId", "Domain"}

    def __init__(self, clients):
        self.cognito = clients("cognito-idp")

    def create(self, properties, _tags, made):
        self.cognito.create_user_pool_domain(**properties)
        made(properties["Domain"])

    def update(self, _name, _old, _new, _tags):
        """Everything about it is fixed."""

    def attributes(self, _name):
        return {}

    def delete(self, _name, properties):
        missing_is_fine(self.cognito.delete_user_pool_domain, **properties)


class AppClient:
    takes = OF_AN_APP_CLIENT | {"GenerateSecret"}
    fixed = {"UserPoolId", "GenerateSecret"}

    def __init__(self, clients):
        self.cognito = clients("cognito-idp")

    def create(self, properties, _tags, made):
        client = self.cognito.create_user_pool_client(
            GenerateSecret=properties["GenerateSecret"], **only(properties, OF_AN_APP_CLIENT)
        )["UserPoolClient"]["ClientId"]
        made(client)

    def update(self, client, _old, new, _tags):
        self.cognito.update_user_pool_client(ClientId=client, **only(new, OF_AN_APP_CLIENT))

    def attributes(self, client):
        return {"ClientId": client}

    def delete(self, client, properties):
        missing_is_fine(self.cognito.delete_user_pool_client, UserPoolId=properties["UserPoolId"], ClientId=client)


class Group:
    takes = {"UserPoolId", "GroupName", "Description", "Precedence"}
    fixed = {"UserPoolId", "GroupName"}

    def __init__(self, clients):
        self.cognito = clients("cognito-idp")

    def create(self, properties, _tags, made):
        self.cognito.create_group(**properties)
        made(properties["GroupName"])

    def update(self, _name, _old, new, _tags):
        self.cognito.update_group(**new)

    def attributes(self, _name):
        return {}

    def delete(self, name, properties):
        missing_is_fine(self.cognito.delete_group, UserPoolId=properties["UserPoolId"], GroupName=name)


class Refusal(JsonRESTError):
    """An answer of Cognito's that moto does not have."""


def complete():
    """A resource server can be changed, an app client has scopes of resource servers that are there, a domain belongs
    to one pool, nobody signs up where only administrators make people, and a pool that is protected, or has a domain,
    stays."""

    def update_resource_server(self):
        pool, identifier = self._get_param("UserPoolId"), self._get_param("Identifier")
        server = self.backend.describe_resource_server(pool, identifier)
        server.name, server.scopes = self._get_param("Name"), self._get_param("Scopes")
        return ActionResult({"ResourceServer": server.to_json()})

    CognitoIdpResponse.update_resource_server = update_resource_server
    if getattr(CognitoIdpBackend, "completed", False):
        return
    CognitoIdpBackend.completed = True
    create_client, create_domain = CognitoIdpBackend.create_user_pool_client, CognitoIdpBackend.create_user_pool_domain
    sign_up, delete_pool = CognitoIdpBackend.sign_up, CognitoIdpBackend.delete_user_pool

    def with_known_scopes(self, user_pool_id, generate_secret, extended_config):
        servers = self.describe_user_pool(user_pool_id).resource_servers
        there = {f"{name}/{scope['ScopeName']}" for name, server in servers.items() for scope in server.scopes}
        for scope in extended_config.get("AllowedOAuthScopes") or []:
            if "/" in scope and scope not in there:
                raise Refusal("ScopeDoesNotExistException", f"{scope} does not exist")
        return create_client(self, user_pool_id, generate_secret, extended_config)

    def of_one_pool(self, user_pool_id, domain, custom_domain_config=None):
        if domain in self.user_pool_domains:
            raise Refusal("InvalidParameterException", "Domain already associated with another user pool.")
        return create_domain(self, user_pool_id, domain, custom_domain_config)

    def by_administrators(self, client_id, *rest, **named):
        pool = next((one for one in self.user_pools.values() if client_id in one.clients), None)
        if pool is not None and pool.extended_config["AdminCreateUserConfig"].get("AllowAdminCreateUserOnly"):
            raise Refusal("NotAuthorizedException", "SignUp is not permitted for this user pool")
        return sign_up(self, client_id, *rest, **named)

    def unless_protected(self, user_pool_id):
        pool = self.describe_user_pool(user_pool_id)
        if pool.extended_config.get("DeletionProtection") == "ACTIVE":
            said = "The user pool cannot be deleted because deletion protection is activated."
            raise Refusal("InvalidParameterException", f"{said} Deletion protection must be inactivated first.")
        if pool.domain:
            raise Refusal("InvalidParameterException", "User pool cannot be deleted. It has a domain configured.")
        return delete_pool(self, user_pool_id)

    CognitoIdpBackend.create_user_pool_client, CognitoIdpBackend.create_user_pool_domain = with_known_scopes, of_one_pool
    CognitoIdpBackend.sign_up, CognitoIdpBackend.delete_user_pool = by_administrators, unless_protected
