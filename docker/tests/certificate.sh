#!/usr/bin/env bash
# Checks docker/certificate-renewed.sh with a stand-in for docker, which records what it is called with.
#   certificate.sh PROJECT_DIRECTORY
set -euo pipefail
kit=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{bin,docker,live/omni}
cp "$kit/docker/certificate-renewed.sh" "$work/docker/"
cat >"$work/bin/docker" <<'DOCKER'
#!/bin/sh
printf '%s\n' "$*" >>"$WORK/calls"
case " $* " in
  *' ps '*) cat "$WORK/running" ;;
  *' exec '*) cat "$WORK/offered" ;;
esac
DOCKER
chmod +x "$work/bin/docker"
export PATH=$work/bin:$PATH WORK=$work

certificate() { # DIRECTORY NAME
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 60 -subj "/CN=$2" -addext "subjectAltName=DNS:$2" \
    -keyout "$1/privkey.pem" -out "$1/fullchain.pem" 2>/dev/null
}
certificate "$work/live/omni" omni.example.com
{
  echo 'OMNI_DOMAIN=omni.example.com'
  echo "OMNI_TLS_CERT='$work/live/omni/fullchain.pem'"
  echo "OMNI_TLS_KEY=$work/live/omni/privkey.pem"
} >"$work/docker/.env"
echo 0123abcd >"$work/running"

expect() { # STATUS RESTARTS ARGUMENTS…
  local status=0 restarts
  : >"$work/calls"
  "$work/docker/certificate-renewed.sh" "${@:3}" >"$work/out" 2>&1 || status=$?
  restarts=$(grep -c ' restart omni-tailscale$' "$work/calls") || true
  if [[ $status != "$1" || $restarts != "$2" ]]; then
    echo "certificate-renewed.sh ${*:3}: status $status, $restarts restarts; expected $1 and $2" >&2
    cat "$work/out" >&2
    exit 1
  fi
}

expect 0 1
RENEWED_LINEAGE=$work/live/omni expect 0 1
RENEWED_LINEAGE=$work/live/other expect 0 0
: >"$work/running"
expect 0 0
echo 0123abcd >"$work/running"

# tailscale gives the certificate that is there, a new one, and one for another name.
cat "$work"/live/omni/{fullchain,privkey}.pem >"$work/offered"
expect 0 0 --tailscale
mkdir "$work/new"
certificate "$work/new" omni.example.com
cat "$work"/new/{fullchain,privkey}.pem >"$work/offered"
expect 0 1 --tailscale
cmp "$work/new/fullchain.pem" "$work/live/omni/fullchain.pem"
[[ $(stat -c %a "$work/live/omni/privkey.pem") == 600 ]]
certificate "$work/new" other.example.com
cat "$work"/new/{fullchain,privkey}.pem >"$work/offered"
cp "$work/live/omni/fullchain.pem" "$work/before"
expect 1 0 --tailscale
: >"$work/offered"
expect 1 0 --tailscale
cmp "$work/before" "$work/live/omni/fullchain.pem"
[[ -z $(find "$work/live/omni" -name '.renewed.*') ]]

# A key that is not the certificate's, a certificate for another name, no values.
cp "$work/new/privkey.pem" "$work/live/omni/privkey.pem"
expect 1 0
cp "$work/new/fullchain.pem" "$work/live/omni/fullchain.pem"
expect 1 0
: >"$work/docker/.env"
expect 1 0
