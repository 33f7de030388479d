"""An OpenID Connect provider on the loopback address that lets everybody in under one name."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlparse

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "quantcore", "not a secret here"
SECRETS_TOML = f"""
[auth]
redirect_uri = "http://127.0.0.1:{{port}}/oauth2callback"
cookie_secret = "any long random text; this one is for tests"
client_id = "{CLIENT}"
client_secret = "{SECRET}"
server_metadata_url = "{{issuer}}/.well-known/openid-configuration"
"""


class _Provider(ThreadingHTTPServer):
    """Answers the four addresses that a login asks."""

    daemon_threads = True

    def __init__(self, name: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.name = name
        self.key = RSAKey.generate_key(2048, {"kid": "one"})
        self.nonces: dict[str, str] = {}

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: _Provider

    def do_GET(self) -> None:
        address = urlparse(self.path)
        asked = {key: values[0] for key, values in parse_qs(address.query).items()}
        issuer = self.server.issuer
        if address.path == "/authorize":
            code = f"code-{len(self.server.nonces)}"
            self.server.nonces[code] = asked.get("nonce", "")
            back = urlencode({"code": code, "state": asked["state"]})
            self.send_response(302)
            self.send_header("Location", f"{asked['redirect_uri']}?{back}")
            self.end_headers()
        elif address.path == "/keys":
            self._answer({"keys": [self.server.key.as_dict(private=False)]})
        else:
            self._answer(
                {
                    "issuer": issuer,
                    "authorization_endpoint": f"{issuer}/authorize",
                    "token_endpoint": f"{issuer}/token",
                    "jwks_uri": f"{issuer}/keys",
                    "id_token_signing_alg_values_supported": ["RS256"],
                }
            )

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        code, now = parse_qs(text)["code"][0], int(time.time())
        claims = {
            "iss": self.server.issuer,
            "sub": "subject-1",
            "aud": CLIENT,
            "iat": now,
            "exp": now + 600,
            "nonce": self.server.nonces[code],
            "name": self.server.name,
        }
        token = jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.server.key)
        self._answer({"access_token": "any", "token_type": "Bearer", "id_token": token})

    def _answer(self, found: object) -> None:
        body = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def identity_provider(name: str) -> Iterator[str]:
    """Run a provider; yield the `secrets.toml` of a site whose visitors log in through it."""
    provider = _Provider(name)
    threading.Thread(target=provider.serve_forever, daemon=True).start()
    try:
        yield SECRETS_TOML.replace("{issuer}", provider.issuer)
    finally:
        provider.shutdown()
        provider.server_close()
