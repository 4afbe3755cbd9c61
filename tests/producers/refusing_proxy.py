"""Stands before an endpoint and refuses some of what is put: stand-ins never do.

    refusing_proxy.py ENDPOINT [EACH]

Prints its port. Of BatchWriteItem and PutRecordBatch it holds back each EACH-th item or record, which
never reaches the endpoint, and reports it as unprocessed; each EACH-th request is throttled as a whole.
Of PutRecords it loses the answer to each EACH-th request: what it put is stored.
"""
import http.client
import json
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ENDPOINT = urllib.parse.urlsplit(sys.argv[1])
EACH = int(sys.argv[2]) if len(sys.argv) > 2 else 5
COUNTS = {"requests": 0, "items": 0}
LOCK = threading.Lock()


def is_turn(what):
    with LOCK:
        COUNTS[what] += 1
        return COUNTS[what] % EACH == 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        if operation == "BatchWriteItem":
            self.refusing(body, self.items, "ProvisionedThroughputExceededException")
        elif operation == "PutRecordBatch":
            self.refusing(body, self.records, "ServiceUnavailableException")
        elif operation == "PutRecords" and is_turn("requests"):
            self.forward(body)
            self.close_connection = True
        else:
            self.answer(*self.forward(body))

    def refusing(self, body, some, code):
        if is_turn("requests"):
            self.answer(400, json.dumps({"__type": f"x#{code}", "message": "slow down"}).encode())
        else:
            some(json.loads(body))

    def items(self, request):
        ((table, puts),) = request["RequestItems"].items()
        kept = [(put, is_turn("items")) for put in puts]
        request["RequestItems"] = {table: [put for put, held in kept if not held]}
        # A request without an item is not a request.
        taken = request["RequestItems"][table]
        status, answer = self.forward(json.dumps(request).encode()) if taken else (200, b"{}")
        if status == 200:
            answer = json.loads(answer)
            answer["UnprocessedItems"] = {table: [put for put, held in kept if held]}
            answer = json.dumps(answer).encode()
        self.answer(status, answer)

    def records(self, request):
        kept = [(record, is_turn("items")) for record in request["Records"]]
        request["Records"] = [record for record, held in kept if not held]
        nothing = (200, b'{"RequestResponses": []}')
        status, answer = self.forward(json.dumps(request).encode()) if request["Records"] else nothing
        if status == 200:
            taken = iter(json.loads(answer)["RequestResponses"])
            refused = {"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "slow down"}
            responses = [refused if held else next(taken) for _, held in kept]
            failed = sum(held for _, held in kept)
            answer = json.dumps({"FailedPutCount": failed, "RequestResponses": responses}).encode()
        self.answer(status, answer)

    def forward(self, body):
        names = ["Content-Type", "X-Amz-Target", "X-Amz-Date", "Authorization", "X-Amz-Content-Sha256"]
        headers = {name: self.headers[name] for name in names if name in self.headers}
        connection = http.client.HTTPConnection(ENDPOINT.hostname, ENDPOINT.port, timeout=30)
        connection.request("POST", self.path, body, headers)
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        return response.status, answer

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(f"port {server.server_port}", flush=True)
server.serve_forever()
