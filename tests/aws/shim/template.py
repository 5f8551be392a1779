"""Reads a CloudFormation template and resolves it: parameters, mappings, conditions, rules, intrinsic functions.

Everything that is not understood is an error. A function silently left as it stands would make a
policy look narrow that is not.
"""

import re

import yaml

PARTITION = "aws"
IAM_TYPES = {"AWS::IAM::ManagedPolicy", "AWS::IAM::Role", "AWS::IAM::User", "AWS::IAM::Policy", "AWS::IAM::Group"}
IAM_NAMES = {"ManagedPolicyName", "RoleName", "UserName", "GroupName"}
# CloudFormation takes a template in the request up to this size.
MOST_BYTES = 51_200


class TemplateError(Exception):
    """What CloudFormation answers as ValidationError."""


class NoValue:
    """The value of AWS::NoValue: the property is as if it were not there."""


class _Loader(yaml.SafeLoader):
    """YAML with the short forms of the functions."""


def _short_form(loader, suffix, node):
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        if suffix == "GetAtt":
            value = value.split(".", 1)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {name: value}


_Loader.add_multi_constructor("!", _short_form)
# CloudFormation reads 2010-09-09 as text.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load(text):
    """The template as plain objects, functions in their long form."""
    if len(text.encode()) > MOST_BYTES:
        raise TemplateError(f"template body is longer than {MOST_BYTES} bytes")
    try:
        template = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise TemplateError(f"Template format error: {error}") from error
    if not isinstance(template, dict) or not template.get("Resources"):
        raise TemplateError("Template format error: At least one Resources member must be defined.")
    known = {"AWSTemplateFormatVersion", "Description", "Metadata", "Parameters", "Rules", "Conditions", "Mappings"}
    unknown = set(template) - known - {"Resources", "Outputs"}
    if unknown:
        raise TemplateError(f"Template format error: Invalid template property or properties {sorted(unknown)}")
    return template


def capabilities(template):
    """The capability that must be given for this template, or None."""
    needed = None
    for resource in template["Resources"].values():
        if resource["Type"] in IAM_TYPES:
            if IAM_NAMES & set(resource.get("Properties", {})):
                return "CAPABILITY_NAMED_IAM"
            needed = "CAPABILITY_IAM"
    return needed


def parameters(template, given):
    """The value of every parameter; refuses what the template's constraints refuse."""
    declared = template.get("Parameters", {})
    unknown = sorted(set(given) - set(declared))
    if unknown:
        raise TemplateError(f"Parameters: {unknown} do not exist in the template")
    values = {}
    missing = []
    for name, rule in declared.items():
        if name not in given and "Default" not in rule:
            missing.append(name)
            continue
        values[name] = _checked(name, rule, str(given.get(name, rule.get("Default"))))
    if missing:
        raise TemplateError(f"Parameters: {missing} must have values")
    return values


def _checked(name, rule, value):
    allowed = [str(one) for one in rule.get("AllowedValues", [])]
    if allowed and value not in allowed:
        raise TemplateError(f"Parameter '{name}' must be one of AllowedValues")
    if "AllowedPattern" in rule and not re.fullmatch(rule["AllowedPattern"], value):
        raise TemplateError(f"Parameter {name} failed to satisfy constraint: must match pattern {rule['AllowedPattern']}")
    if not int(rule.get("MinLength", 0)) <= len(value) <= int(rule.get("MaxLength", 1 << 20)):
        raise TemplateError(f"Parameter {name} failed to satisfy constraint: length")
    if rule["Type"] == "Number":
        try:
            number = float(value)
        except ValueError:
            raise TemplateError(f"Parameter '{name}' must be a number.") from None
        if not float(rule.get("MinValue", number)) <= number <= float(rule.get("MaxValue", number)):
            raise TemplateError(f"Parameter {name} failed to satisfy constraint: value")
    elif rule["Type"] != "String":
        raise TemplateError(f"parameters of type {rule['Type']} are not understood here")
    return value


class Rendering:
    """A template with parameters, in one account and region.

    `physical` maps logical ids to physical ones (for Ref), `attributes` to what Fn::GetAtt finds;
    both grow while a stack is made.
    """

    def __init__(self, template, values, account, region, stack_name, stack_id):
        self.template = template
        self.values = values
        self.pseudo = {
            "AWS::AccountId": account,
            "AWS::Region": region,
            "AWS::Partition": PARTITION,
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::StackName": stack_name,
            "AWS::StackId": stack_id,
            "AWS::NoValue": NoValue,
        }
        self.physical = {}
        self.attributes = {}
        self._refuse_what_rules_refuse()
        for name, resource in template["Resources"].items():
            self._check_references(name, resource)

    def condition(self, name):
        if name not in self.template.get("Conditions", {}):
            raise TemplateError(f"Template format error: Unresolved condition dependency {name}")
        return self.resolve(self.template["Conditions"][name])

    def wanted(self):
        """The logical ids to make, each after those it needs."""
        chosen = {
            name: resource
            for name, resource in self.template["Resources"].items()
            if "Condition" not in resource or self.condition(resource["Condition"])
        }
        order, left = [], dict(chosen)
        while left:
            ready = [name for name, resource in left.items() if not self._needs(resource) & set(left)]
            if not ready:
                raise TemplateError(f"Circular dependency between resources: {sorted(left)}")
            order += ready
            for name in ready:
                del left[name]
        return order

    def properties(self, name):
        """The properties of a resource with everything resolved."""
        return self.resolve(self.template["Resources"][name].get("Properties", {}))

    def outputs(self):
        found = []
        for key, output in self.template.get("Outputs", {}).items():
            if "Condition" not in output or self.condition(output["Condition"]):
                found.append({"OutputKey": key, "OutputValue": str(self.resolve(output["Value"]))})
        return found

    def resolve(self, value):
        if isinstance(value, list):
            return [one for one in map(self.resolve, value) if one is not NoValue]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (function, argument), = value.items()
            if function == "Ref":
                return self._ref(argument)
            if function == "Condition" and isinstance(argument, str):
                return self.condition(argument)
            if function.startswith("Fn::"):
                return self._call(function, argument)
        resolved = {key: self.resolve(one) for key, one in value.items()}
        return {key: one for key, one in resolved.items() if one is not NoValue}

    def _ref(self, name):
        for known in (self.pseudo, self.values, self.physical):
            if name in known:
                return known[name]
        raise TemplateError(f"Unresolved resource dependencies [{name}] in the template")

    def _call(self, function, argument):
        if function == "Fn::GetAtt":
            name, attribute = argument
            try:
                return self.attributes[name][attribute]
            except KeyError:
                raise TemplateError(f"resource {name} has no attribute {attribute} here") from None
        if function == "Fn::If":
            condition, yes, no = argument
            return self.resolve(yes if self.condition(condition) else no)
        if function == "Fn::Sub":
            return self._sub(argument)
        argument = self.resolve(argument)
        if function == "Fn::Equals":
            return str(argument[0]) == str(argument[1])
        if function == "Fn::Not":
            return not argument[0]
        if function == "Fn::And":
            return all(argument)
        if function == "Fn::Or":
            return any(argument)
        if function == "Fn::Join":
            return argument[0].join(str(one) for one in argument[1])
        if function == "Fn::Select":
            return argument[1][int(argument[0])]
        if function == "Fn::Split":
            return argument[1].split(argument[0])
        if function == "Fn::FindInMap":
            mapping, top, second = argument
            try:
                return self.template["Mappings"][mapping][top][second]
            except KeyError:
                raise TemplateError(f"Unable to get mapping for {mapping}::{top}::{second}") from None
        raise TemplateError(f"{function} is not understood here")

    def _sub(self, argument):
        text, own = (argument, {}) if isinstance(argument, str) else argument

        def one(match):
            name = match.group(1)
            if name.startswith("!"):
                return "${" + name[1:] + "}"
            if name in own:
                return str(self.resolve(own[name]))
            if "." in name:
                return str(self._call("Fn::GetAtt", name.split(".", 1)))
            return str(self._ref(name))

        return re.sub(r"\$\{([^}]+)\}", one, text)

    def _needs(self, resource):
        needs = set(_references(resource.get("Properties", {})))
        after = resource.get("DependsOn", [])
        needs.update([after] if isinstance(after, str) else after)
        return needs & set(self.template["Resources"])

    def _check_references(self, name, resource):
        known = set(self.template["Resources"]) | set(self.values) | set(self.pseudo)
        missing = sorted(set(_references(resource)) - known)
        if missing:
            raise TemplateError(f"Unresolved resource dependencies {missing} in the Resources block ({name})")

    def _refuse_what_rules_refuse(self):
        for name, rule in self.template.get("Rules", {}).items():
            if "RuleCondition" in rule and not self.resolve(rule["RuleCondition"]):
                continue
            for assertion in rule["Assertions"]:
                if not self.resolve(assertion["Assert"]):
                    raise TemplateError(f"Template validation error: Rule {name}: {assertion['AssertDescription']}")


def _references(value):
    """The names that a piece of a template refers to."""
    if isinstance(value, list):
        for one in value:
            yield from _references(one)
    elif isinstance(value, dict):
        for key, one in value.items():
            if key == "Ref":
                yield one
            elif key == "Fn::GetAtt":
                yield one[0]
            elif key == "Fn::Sub":
                text, own = (one, {}) if isinstance(one, str) else one
                names = re.findall(r"\$\{([^!}][^}]*)\}", text)
                yield from (name.split(".")[0] for name in names if name not in own)
                yield from _references(own)
            else:
                yield from _references(one)
