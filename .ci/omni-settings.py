#!/usr/bin/env python3
"""Writes xtask/data/omni-settings.txt from the schemas of Omni's configuration (internal/pkg/config/schema.json of siderolabs/omni).

    .ci/omni-settings.py 1.5=DIR/v1.5.11 … 1.10=DIR/v1.10.4 > xtask/data/omni-settings.txt

Each argument is a minor and the unpacked tree of its last release, oldest first; nothing of their text is kept.
"""
import json
import sys

DURATION = "ns|us"
KINDS = {"string": "text", "integer": "int", "boolean": "bool", "number": "number", "array": "list"}


def kind(node):
    if node.get("const") is False:
        return "false"
    if "enum" in node:
        return "|".join(node["enum"])
    if DURATION in node.get("pattern", ""):
        return "duration"
    if node.get("pattern") == "^https://":
        return "https"
    if node["type"] == "object":
        return "map"
    if "minimum" in node:
        return "uint" if node["minimum"] == 0 else f"int{node['minimum']}"
    return "text+" if node.get("minLength") == 1 else KINDS[node["type"]]


def merged(schema, node, above):
    """A node with what it refers to, and with what its parent says about its children."""
    target = node.get("$ref")
    whole = dict(schema["definitions"][target.rsplit("/", 1)[1]]) if target else {}
    own = {key: value for key, value in node.items() if key not in ("$ref", "properties")}
    properties = {key: dict(value) for key, value in whole.get("properties", {}).items()}
    for key, value in node.get("properties", {}).items():
        properties[key] = properties.get(key, {}) | value
    return whole | own | ({"properties": properties} if properties else {}) | above


def walk(schema, node, path, found):
    node = merged(schema, node, {})
    for key, child in node.get("properties", {}).items():
        walk(schema, child, [*path, key], found)
    if "properties" not in node:
        found[".".join(path)] = (kind(node), node.get("x-cli-flag", "-"))


def main(columns):
    rows, flags = {}, {}
    for at, column in enumerate(columns):
        with open(f"{column[1]}/internal/pkg/config/schema.json", encoding="utf-8") as file:
            schema = json.load(file)
        found = {}
        walk(schema, schema, [], found)
        for path, (what, flag) in found.items():
            rows.setdefault((path, what), []).append(at)
            # The schema names the flags from 1.7 on; they are older.
            flags[path] = flag
    print("# The keys of Omni's configuration by release. Written by .ci/omni-settings.py; do not edit.")
    print("# KEY KIND FLAG [@FROM-TO]: FLAG is that of the command line, or -; without @ all releases have the line.")
    print("# text+ is not empty, uint not negative, int1 at least 1, map has any keys and texts, a|b is one of them.")
    for minor, tree in columns:
        print("source", minor, tree.rstrip("/").rsplit("/", 1)[-1])
    for (path, what), has in sorted(rows.items()):
        assert has == list(range(has[0], has[-1] + 1)), f"{path} comes and goes"
        until = "" if has[-1] == len(columns) - 1 else columns[has[-1]][0]
        some = f" @{columns[has[0]][0]}-{until}" if len(has) < len(columns) else ""
        print(f"{path} {what} {flags[path]}{some}")


main([argument.split("=", 1) for argument in sys.argv[1:]])
