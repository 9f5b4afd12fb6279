#!/usr/bin/env bash
# Restarts the stack with a renewed certificate, which Omni reads only when it starts. Run it as root, in one of two ways:
#
#   certbot calls it after each renewal:
#     sudo ln -s "$PWD/docker/certificate-renewed.sh" /etc/letsencrypt/renewal-hooks/deploy/omni-scale
#
#   docker/omni-certificate.timer calls it each night, for a name of the tailnet:
#     certificate-renewed.sh --tailscale   gets a certificate with `tailscale cert` if less than 30 days are left, into the files
#                                          that docker/.env names
#
# The new certificate is checked first: a wrong one changes nothing and ends with status 1.
set -euo pipefail
cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")"

die() {
  printf 'certificate-renewed: %s\n' "$1" >&2
  exit 1
}
value() { # NAME: its value in .env, without quotes
  sed -n "s/^$1=//p" .env | tail -n 1 | sed "s/^'\(.*\)'\$/\1/; s/^\"\(.*\)\"\$/\1/"
}
compose() { docker compose -f compose.yaml --profile provider "$@"; }
check() { # CERTIFICATE KEY
  openssl x509 -in "$1" -noout -checkend 3600 >/dev/null || die "$1 is not a certificate that is valid for another hour"
  openssl x509 -in "$1" -noout -checkhost "$domain" | grep 'does match' >/dev/null || die "$1 is not for $domain"
  [[ $(openssl x509 -in "$1" -noout -pubkey) == "$(openssl pkey -in "$2" -pubout)" ]] || die "$2 is not the key of $1"
}

[[ -r .env ]] || die 'docker/.env does not exist, or cannot be read: run this as root'
domain=$(value OMNI_DOMAIN) cert=$(value OMNI_TLS_CERT) key=$(value OMNI_TLS_KEY)
[[ -n $domain && -n $cert && -n $key ]] || die 'docker/.env does not set OMNI_DOMAIN, OMNI_TLS_CERT and OMNI_TLS_KEY'

if [[ ${1:-} == --tailscale ]]; then
  umask 077
  new=$(mktemp -d "$(dirname -- "$cert")/.renewed.XXXXXX")
  trap 'rm -rf "$new"' EXIT
  compose exec -T omni-tailscale tailscale cert --min-validity 720h --cert-file - --key-file - "$domain" >"$new/both" ||
    die "tailscale gave no certificate for $domain"
  awk '/BEGIN CERTIFICATE/, /END CERTIFICATE/' "$new/both" >"$new/cert"
  awk '/BEGIN .*PRIVATE KEY/, /END .*PRIVATE KEY/' "$new/both" >"$new/key"
  check "$new/cert" "$new/key"
  if cmp -s "$new/cert" "$cert"; then exit 0; fi
  mv -f -- "$new/key" "$key"
  mv -f -- "$new/cert" "$cert"
elif [[ -n ${RENEWED_LINEAGE:-} && $(dirname -- "$cert") != "$RENEWED_LINEAGE" ]]; then
  # certbot renewed another certificate of this host.
  exit 0
fi
check "$cert" "$key"
if [[ -z $(compose ps --quiet omni-tailscale) ]]; then
  echo 'certificate-renewed: the stack does not run; it reads the certificate when it starts'
  exit 0
fi
# `restart` creates no container, and the sidecar restarts the others with it.
compose restart omni-tailscale
