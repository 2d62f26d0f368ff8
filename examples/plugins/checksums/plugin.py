"""A plugin for TestMesh: check digits (Luhn) and check sums, of texts, files and what a URL answers."""

import hashlib
import json
import zlib
from urllib.parse import urlsplit

import wit_world
from componentize_py_types import Err
from wit_world.imports import files, http
from wit_world.imports.types import Action, Description, Failure, FailureKind

LUHN = {
    "type": "object",
    "properties": {"number": {"type": "string", "pattern": "^[0-9 ]+$"}},
    "required": ["number"],
    "additionalProperties": False,
}

SUM = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "file": {"type": "string"},
        "url": {"type": "string"},
        "algorithm": {"enum": ["crc32", "sha256", "md5"]},
    },
    "required": ["algorithm"],
    "oneOf": [{"required": [source]} for source in ("text", "file", "url")],
    "additionalProperties": False,
}


class WitWorld(wit_world.WitWorld):
    def describe(self) -> Description:
        return Description(
            version="1.0.0",
            summary="Check digits and check sums.",
            capabilities=["files", "http"],
            actions=[
                Action("luhn", "Whether a number's last digit is its Luhn check digit.", json.dumps(LUHN)),
                Action("sum", "The check sum of a text, a file, or what a URL answers.", json.dumps(SUM)),
            ],
        )

    def run(self, action: str, config: str) -> str:
        given = json.loads(config)
        return json.dumps(luhn(given["number"]) if action == "luhn" else checksum(given))


def luhn(number: str) -> dict:
    digits = [int(digit) for digit in reversed(number.replace(" ", ""))]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    return {"valid": (sum(digits[::2]) + sum(doubled)) % 10 == 0, "digits": len(digits)}


def checksum(given: dict) -> dict:
    contents = read(given)
    print(f"{len(contents)} bytes")
    if given["algorithm"] == "crc32":
        return {"sum": f"{zlib.crc32(contents):08x}", "size": len(contents)}
    return {"sum": hashlib.new(given["algorithm"], contents).hexdigest(), "size": len(contents)}


def read(given: dict) -> bytes:
    if "text" in given:
        return given["text"].encode()
    if "file" in given:
        return files.read(given["file"])
    answer = http.send(http.Request("GET", given["url"], [], b"", None))
    if answer.status != 200:
        host = urlsplit(given["url"]).netloc
        raise Err(Failure(FailureKind.PROTOCOL, f"`{host}` answers with status {answer.status}"))
    return answer.body
