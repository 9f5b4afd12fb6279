#!/usr/bin/env bash
# Builds docker compose for tests on a machine that has Go and no compose plugin: Debian's docker.io comes without one.
#   build-compose.sh DIRECTORY    leaves DIRECTORY/docker-compose; takes minutes the first time, nothing afterwards
set -euo pipefail
readonly version=v5.5.1
directory=$(mkdir -p "$1" && cd "$1" && pwd)
if [[ -x $directory/docker-compose && $(cat "$directory/version" 2>/dev/null) == "$version" ]]; then exit 0; fi
module=$(mktemp -d)
trap 'rm -rf "$module"' EXIT
cd "$module"
go mod init tests/compose >/dev/null 2>&1
nice go get -tool "github.com/docker/compose/v5/cmd@$version" >/dev/null 2>&1
nice go build -ldflags "-X github.com/docker/compose/v5/internal.Version=$version" \
  -o "$directory/docker-compose" github.com/docker/compose/v5/cmd
printf '%s' "$version" >"$directory/version"
