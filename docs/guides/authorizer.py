"""An authorizer: answers whether an account may use something, after the access rules have allowed it.

    AUTHORIZER_SECRET=… python3 authorizer.py 9090

Needs nothing but Python. The rule is in `decide`; the rest is how it is asked.
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = os.environ["AUTHORIZER_SECRET"].encode()
FOR_CONTRACTORS = {"demo-1"}


def decide(request):
    """Contractors use the models that are named for them."""
    model = request["context"].get("model")
    if "contractor" in request["roles"] and model not in FOR_CONTRACTORS:
        message = f"contractors may use {', '.join(sorted(FOR_CONTRACTORS))}"
        return {"decision": "deny", "policy": "contractors", "reason": {"kind": "role_deny", "message": message}}
    return {"decision": "allow"}


def is_ours(headers, body):
    """Whether the gateway signed this, within the last five minutes (standardwebhooks.com)."""
    sent = headers.get("webhook-timestamp", "")
    if not sent.isdigit() or abs(time.time() - int(sent)) > 300:
        return False
    signed = b".".join([headers.get("webhook-id", "").encode(), sent.encode(), body])
    expected = base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
    return hmac.compare_digest(f"v1,{expected}", headers.get("webhook-signature", ""))


class Authorizer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # so that the gateway keeps its connection

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if is_ours(self.headers, body):
            self.answer(200, decide(json.loads(body)))
        else:
            self.answer(401, {"error": "the signature is not good"})

    def answer(self, status, answer):
        answer = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Authorizer)
    print(f"http://127.0.0.1:{server.server_port}/", flush=True)
    server.serve_forever()
