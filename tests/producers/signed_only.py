"""A Kinesis endpoint that takes only signed requests, in front of one that takes all.

    signed_only.py PORT UPSTREAM KEY SECRET REGION

What a request must be signed with is computed by botocore from what arrived. A wrong signature gets the
service's refusal.
"""
import http.client
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

port, upstream, key, secret, region = sys.argv[1:]
auth = SigV4Auth(Credentials(key, secret), "kinesis", region)


def is_signed(headers, body):
    found = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=([^,]+), ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})",
        headers.get("authorization", ""),
    )
    if not found:
        return False
    names = found[2].split(";")
    if not {"host", "x-amz-date", "x-amz-target"} <= set(names):
        return False
    kept = {name: headers[name] for name in names}
    request = AWSRequest("POST", f"http://{headers['host']}/", headers=kept, data=body)
    request.context["timestamp"] = headers["x-amz-date"]
    # The digest that a client may send along is not taken on trust.
    digest = SigV4Auth(auth.credentials, "kinesis", region).payload(AWSRequest("POST", "http://x/", data=body))
    if headers.get("x-amz-content-sha256", digest) != digest:
        return False
    to_sign = auth.string_to_sign(request, auth.canonical_request(request))
    return (found[1], found[3]) == (auth.scope(request), auth.signature(to_sign, request))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if is_signed(self.headers, body):
            connection = http.client.HTTPConnection(upstream.removeprefix("http://"))
            headers = {name: self.headers[name] for name in ["content-type", "x-amz-target", "x-amz-date", "authorization"]}
            connection.request("POST", "/", body, headers)
            answer = connection.getresponse()
            status, text = answer.status, answer.read()
        else:
            status, text = 400, b'{"__type":"InvalidSignatureException","message":"The request signature we calculated does not match"}'
        self.send_response(status)
        self.send_header("content-type", "application/x-amz-json-1.1")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()
