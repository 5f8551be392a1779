"""Checks the signature of a request (SigV4, in the header or in a presigned URL).

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hashlib
import hmac
import re
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qsl, quote

HEADER = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d+)/([^/]+)/([^/]+)/aws4_request, ?"
    r"SignedHeaders=([^,]+), ?Signature=([0-9a-f]+)"
)
# How far a signed request's clock may be off.
SKEW = timedelta(minutes=15)


class Signed:
    """What a request says about who signed it."""

    def __init__(self, method, path, query, headers, body):
        self.method, self.path, self.headers, self.body = method, path, headers, body
        pairs = parse_qsl(query, keep_blank_values=True)
        query = dict(pairs)
        self.presigned = "X-Amz-Signature" in query
        if self.presigned:
            self.key, self.day, self.region, self.service, _ = query["X-Amz-Credential"].split("/")
            self.signed, self.given = query["X-Amz-SignedHeaders"], query["X-Amz-Signature"]
            self.time, self.token = query["X-Amz-Date"], query.get("X-Amz-Security-Token")
            self.valid_for = timedelta(seconds=int(query["X-Amz-Expires"]))
            pairs = [pair for pair in pairs if pair[0] != "X-Amz-Signature"]
        else:
            match = HEADER.match(headers.get("authorization", ""))
            if match is None:
                raise ValueError("the request is not signed")
            self.key, self.day, self.region, self.service, self.signed, self.given = match.groups()
            self.time, self.token = headers.get("x-amz-date", ""), headers.get("x-amz-security-token")
            self.valid_for = SKEW
        self._query = "&".join(sorted(f"{quote(k, safe='-_.~')}={quote(v, safe='-_.~')}" for k, v in pairs))

    def is_in_time(self, now):
        at = datetime.strptime(self.time, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
        return at - SKEW <= now <= at + self.valid_for

    def is_by(self, secret):
        """Whether the holder of this secret signed exactly this request."""
        digest = hashlib.sha256(self._canonical().encode()).hexdigest()
        scope = f"{self.day}/{self.region}/{self.service}/aws4_request"
        key = f"AWS4{secret}".encode()
        for part in (self.day, self.region, self.service, "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        text = f"AWS4-HMAC-SHA256\n{self.time}\n{scope}\n{digest}"
        return hmac.compare_digest(hmac.new(key, text.encode(), "sha256").hexdigest(), self.given)

    def is_of_this_body(self):
        """Whether the body is the one whose hash was signed; chunked uploads carry theirs elsewhere."""
        stated = self.headers.get("x-amz-content-sha256", "")
        return not re.fullmatch("[0-9a-f]{64}", stated) or stated == hashlib.sha256(self.body).hexdigest()

    def _canonical(self):
        names = self.signed.split(";")
        headers = "".join(f"{name}:{' '.join(self.headers.get(name, '').split())}\n" for name in names)
        if self.presigned:
            payload = "UNSIGNED-PAYLOAD"
        else:
            payload = self.headers.get("x-amz-content-sha256") or hashlib.sha256(self.body).hexdigest()
        return "\n".join([self.method, self.path, self._query, headers, self.signed, payload])
