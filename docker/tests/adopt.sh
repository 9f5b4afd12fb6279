# shellcheck shell=bash disable=SC2016,SC2154 # what inside.sh sets, and what is in single quotes is for others
# Sourced by inside.sh. An Omni of other compose files is taken over: three layouts, written for this test from what is known of them, each
# with a store of its form. Tests of every layout: what is refused, killed runs, the same data here, and the way back.

old=$work/old
account=00000000-0000-4000-8000-000000000000

make_old_image() { # NAME ACCOUNT
  local root=$work/image
  rm -rf "$root"
  mkdir -p "$root"/{bin,tmp}
  cp "$(command -v busybox)" "$root/bin/busybox"
  for applet in sh sleep; do ln -s busybox "$root/bin/$applet"; done
  install -m 0755 "$here/stand-ins/old-omni" "$root/omni"
  cp "$kit/lab/data/store/omni.db" "$root/seed.db"
  LC_ALL=C sed "s/$account/$2/g" "$kit/lab/data/store/etcd.db" >"$root/store.db"
  tar -C "$root" -c . | docker import --change 'ENTRYPOINT ["/omni"]' --change 'ENV PATH=/bin' - "$1" >/dev/null
}

# The original kit: project `docker`, one volume for all of Omni, values in .env, no account id, no certificate.
make_original() {
  mkdir -p "$old/docker"
  cat >"$old/docker/compose.yaml" <<'YAML'
services:
  omni-tailscale:
    image: docker.io/tailscale/tailscale:latest
    environment: { TS_HOSTNAME: omni, TS_STATE_DIR: /var/lib/tailscale, TS_LOCAL_ADDR_PORT: "127.0.0.1:9002", TS_AUTHKEY: "file:/run/key" }
    env_file: .env
    entrypoint: [/bin/sh, -c]
    command: ['echo "$$TS_AUTHKEY" >/tmp/key; TS_AUTHKEY=file:/tmp/key exec /usr/local/bin/containerboot']
    volumes: [ts-state:/var/lib/tailscale]
    healthcheck: { test: [CMD-SHELL, "wget -q -O /dev/null http://127.0.0.1:9002/healthz"], interval: 1s, retries: 20 }
  omni:
    image: ghcr.io/siderolabs/omni:latest
    network_mode: service:omni-tailscale
    depends_on: { omni-tailscale: { condition: service_healthy } }
    command:
      - --sqlite-storage-path=/_out/omni.db
      - --private-key-source=file:///omni.asc
      - --advertised-api-url=https://${OMNI_DOMAIN}/
      - --machine-api-advertised-url=https://${OMNI_DOMAIN}:8090/
      - --siderolink-wireguard-advertised-addr=${OMNI_DOMAIN}:50180
      - --auth-oidc-enabled=true
      - --auth-oidc-provider-url=${OIDC_ISSUER_URL}
      - --auth-oidc-client-id=${OIDC_CLIENT_ID}
      - --auth-oidc-client-secret=${OIDC_CLIENT_SECRET}
      - --initial-users=${OMNI_INITIAL_USER}
    volumes: [omni-data:/_out, "./omni.asc:/omni.asc:ro"]
  proxmox-provider:
    image: ghcr.io/siderolabs/omni-infra-provider-proxmox:latest
    network_mode: service:omni-tailscale
    depends_on: { omni-tailscale: { condition: service_healthy } }
    entrypoint: [/bin/sh, -c, "trap 'exit 0' TERM; while :; do sleep 1; done"]
    command: [sh, --config-file=/config.yaml, "--omni-service-account-key=${OMNI_INFRA_PROVIDER_KEY}", --id=Proxmox]
    volumes: ["./config.yaml:/config.yaml:ro"]
    restart: unless-stopped
volumes: { ts-state: , omni-data: }
YAML
  cp "$work/store.asc" "$old/docker/omni.asc"
  cp "$kit/docker/config.yaml.example" "$old/docker/config.yaml"
  cat >"$old/docker/.env" <<ENV
TS_AUTHKEY=${canaries[0]}
OMNI_DOMAIN=omni.example.net
OMNI_INITIAL_USER=operator@example.net
OIDC_ISSUER_URL=https://idp.tail1234.ts.net
OIDC_CLIENT_ID=0123456789abcdef0123456789abcdef
OIDC_CLIENT_SECRET=${canaries[1]}
OMNI_INFRA_PROVIDER_KEY=CANARY2provider
ENV
}

# Omni's own compose file, and the starter kit beside it: one service in the host's network, directories instead of volumes.
make_directories() { # PROJECT SQLITE_FILE
  mkdir -p "$old/$1"/{etcd,sqlite}
  cat >"$old/$1/compose.yaml" <<YAML
name: omni-on-prem
services:
  omni:
    container_name: omni
    image: mirror.example.net:5000/siderolabs/omni:\${OMNI_IMG_TAG}
    network_mode: host
    restart: always
    volumes:
      - \${ETCD_VOLUME_PATH}:/_out/etcd
      - \${SQLITE_STORAGE_PATH}:/_out/$2
      - \${ETCD_ENCRYPTION_KEY}:/omni.asc
      - \${TLS_CERT}:/tls.crt
      - \${TLS_KEY}:/tls.key
    command: >
      --account-id=\${OMNI_ACCOUNT_UUID}
      --name=\${NAME}
      --sqlite-storage-path=/_out/$2/sqlite.db
      --cert=/tls.crt
      --key=/tls.key
      --private-key-source='file:///omni.asc'
      --event-sink-port=8091
      --advertised-api-url=https://\${OMNI_DOMAIN_NAME}
      --siderolink-api-advertised-url=https://\${OMNI_DOMAIN_NAME}:8090/
      --siderolink-wireguard-advertised-addr=$lan:50180
      --initial-users=\${INITIAL_USER_EMAILS}
      --auth-auth0-enabled=true
YAML
  cp "$work/store.asc" "$old/$1/omni.asc"
  cat >"$old/$1/omni.env" <<ENV
OMNI_IMG_TAG=v1.9.3
OMNI_ACCOUNT_UUID=$account
NAME=omni
TLS_CERT=$work/chain.pem
TLS_KEY=$work/leaf.key
ETCD_VOLUME_PATH=$old/$1/etcd
SQLITE_STORAGE_PATH=$old/$1/sqlite
ETCD_ENCRYPTION_KEY=$old/$1/omni.asc
OMNI_DOMAIN_NAME=omni.example.net
INITIAL_USER_EMAILS=operator@example.net
ENV
}

old_up() { # PROJECT
  local env=$old/$1/.env
  if [[ -f $old/$1/omni.env ]]; then env=$old/$1/omni.env; fi
  docker compose -f "$old/$1/compose.yaml" --env-file "$env" up -d >"$work/out" 2>&1
}
adopt() {
  TS_AUTHKEY=${canaries[0]} OIDC_CLIENT_SECRET=${canaries[1]} OIDC_ISSUER_URL=https://idp.tail1234.ts.net \
    OIDC_CLIENT_ID=0123456789abcdef0123456789abcdef fresh_task omni-adopt --timeout 60s "$@"
}
# What the old containers kept: of stopped ones too.
old_data() {
  local container
  for container in "$@"; do
    docker inspect "$container" --format '{{range .Mounts}}{{if .RW}}{{.Source}}{{"\n"}}{{end}}{{end}}' | while read -r place; do
      if [[ -d $place ]]; then (cd "$place" && find . -type f -exec sha256sum {} + | sort -k 2); fi
    done
  done | sort
}
new_volumes() { docker volume ls -q | grep -c '^omni-scale_'; }
states() { docker ps --all --format '{{.Names}} {{.State}}' | sort; }

# Ends a task by SIGKILL after its first call of docker that changes something, then after its second one, and so on, until it
# ends well; LOOK holds after each.
killed_everywhere() { # LOOK COMMAND…
  local look=$1 at=0 status=137
  shift
  mkdir -p "$work/gate"
  cat >"$work/gate/docker" <<END
#!/bin/bash
[[ " \$* " =~ ' '(update|stop|start|cp|rm|up|create|down)' ' ]] || exec $(command -v docker) "\$@"
$(command -v docker) "\$@"
status=\$?
echo >>"$work/gate/calls"
if ((\$(wc -l <"$work/gate/calls") == \$(<"$work/gate/at"))); then kill -KILL \$PPID; fi
exit \$status
END
  chmod +x "$work/gate/docker"
  while ((status == 137)); do
    at=$((at + 1))
    echo "$at" >"$work/gate/at"
    : >"$work/gate/calls"
    status=0
    PATH=$work/gate:$PATH "$@" >"$work/out" 2>&1 </dev/null || status=$?
    "$look" || return 1
  done
  echo "     killed $((at - 1)) times"
  ((status == 0 && at > 3))
}

test_layout() { # NAME PROJECT ACCOUNT OMNI_CONTAINER ALL_CONTAINERS FLAG…
  local name=$1 project_name=$2 id=$3 omni=$4 containers=$5 before pin flags data task
  shift 5
  flags=("$@")
  echo "# taking over $name"
  project=$work/adopter
  rm -rf "$project"
  mkdir -p "$project/docker"
  cp "$kit"/docker/{compose.yaml,no-providers.yaml,.env.example,config.yaml.example,site.yaml.example} "$project/docker/"
  pin=$(sed -n 's|^ *image: .*siderolabs/omni:v||p' "$project/docker/compose.yaml")
  check 'nothing to take over: says so' run 1 adopt --yes
  old_up "$project_name" || bad "$name did not start"
  eventually 20 bash -c "docker logs $omni 2>&1 | grep -q 'old omni: up'" || bad "$name: its Omni did not start"
  before=$(states)
  # shellcheck disable=SC2086 # a list of names
  data=$(old_data $containers)
  check 'omni-setup beside it: refused' run 1 fresh_setup
  check '… and names the task' says 'cargo xtask omni-adopt'
  check 'planned' run 3 adopt --dry-run "${flags[@]}"
  check '… with what the store has' says '1 cluster, 39 machines'
  check '… nothing was changed' test "$(states)$(new_volumes)" = "${before}0"
  check '… no file was written' test ! -e "$project/docker/.env"
  # shellcheck disable=SC2329 # by its name
  same_data() {
    # shellcheck disable=SC2086 # a list of names
    [[ $(old_data $containers) == "$data" ]]
  }
  check 'omni-adopt, killed after each of its changes' killed_everywhere same_data adopt --yes "${flags[@]}"
  for task in machineclass-export cluster-export; do check "… $task is next" says "next: cargo xtask $task --all"; done
  check '… Omni answers' eventually 20 omni_serves
  check '… with the account' grep -q "^OMNI_ACCOUNT_UUID=$id$" "$project/docker/.env"
  check '… in its version' test "$(inspect omni '{{.Config.Image}}')" = ghcr.io/siderolabs/omni:v1.9.3
  # The running etcd writes to its own; what it was filled from stays.
  check '… and with its store' test "$(sha256sum <"$HOME/.local/state/omni-scale/backups/adopted-$id/etcd/member/snap/db" | cut -d' ' -f1)" = "$(grep snap/db <<<"$data" | cut -d' ' -f1)"
  check '… and its SQLite file' test "$(docker exec omni-scale-omni-1 busybox sha256sum /_out/sqlite/omni.db | cut -d' ' -f1)" = "$(grep -E '(omni|sqlite).db$' <<<"$data" | cut -d' ' -f1)"
  check '… the old containers are off, also at boot' test "$(docker inspect "$omni" --format '{{.State.Running}} {{.HostConfig.RestartPolicy.Name}}')" = 'false no'
  check '… again: nothing to change' run 0 adopt --dry-run "${flags[@]}"
  docker rename "$omni" another
  check 'another Omni after it: refused' run 1 adopt --yes "${flags[@]}"
  check '… and says which one it was' says 'another Omni was taken over from this checkout'
  docker rename another "$omni"
  check '… secrets are for their owner alone' test "$(stat -c %a "$project/docker/.env" "$project/docker/omni.asc" | sort -u)" = 600
  check 'no secret in the journal, the state and the notes' bash -c "! grep -rqE 'CANARY[012]' '$project/.claude' '$HOME/.local/state/omni-scale' 2>/dev/null"
  if [[ $name == 'the original kit' ]]; then
    check '… the provider runs, by its old id' eventually 20 bash -c 'docker inspect omni-scale-proxmox-provider-1 --format "{{.State.Running}} {{.Args}}" | grep -q "^true.*--id Proxmox"'
    check '… the tailnet identity is the same' test "$(docker exec omni-scale-omni-tailscale-1 busybox sha256sum /var/lib/tailscale/tailscaled.state | cut -d' ' -f1)" = "$(grep tailscaled.state <<<"$data" | cut -d' ' -f1)"
  fi
  check 'going back without consent: refused' run 2 fresh_task omni-adopt --undo --yes
  check '… planned' run 3 fresh_task omni-adopt --undo --dry-run
  check 'going back, killed after each of its changes' killed_everywhere true \
    fresh_task omni-adopt --undo --yes --allow-destroy omni.example.net --timeout 60s
  check '… the old stack runs as before' test "$(states)" = "$before"
  check '… with its restart policies' test "$(docker inspect "$omni" --format '{{.HostConfig.RestartPolicy.Name}}')" = "$(if [[ $omni == omni ]]; then echo always; else echo no; fi)"
  check '… nothing is left here' test "$(new_volumes)$(ls "$project"/docker/{.env,omni.asc} 2>/dev/null)" = 0
  check '… the tag is the one of before' grep -q "siderolabs/omni:v$pin$" "$project/docker/compose.yaml"
  check 'going back twice: refused' run 1 fresh_task omni-adopt --undo --yes
  check '… and says why' says 'no Omni was taken over from this checkout'
  docker compose -p "$(docker inspect "$omni" --format '{{index .Config.Labels "com.docker.compose.project"}}')" down --volumes >/dev/null 2>&1
  rm -rf "$old"
}

test_adopt() {
  local name=ghcr.io/siderolabs/omni pinned
  pinned=$(sed -n 's|^ *image: .*siderolabs/omni:v||p' "$kit/docker/compose.yaml")
  {
    printf -- '-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n'
    cat "$kit/lab/src/omni/store-key.b64"
    printf -- '-----END PGP PRIVATE KEY BLOCK-----\n'
  } >"$work/store.asc"
  make_old_image "$name:latest" edd2822a-7834-4fe0-8172-cc5581f13a8d
  make_old_image mirror.example.net:5000/siderolabs/omni:v1.9.3 "$account"
  docker tag "$name:v$pinned" "$name:v1.9.3"
  docker tag "$(sed -n 's/^ *image: *//p' "$kit/docker/compose.yaml" | grep tailscale)" docker.io/tailscale/tailscale:latest
  docker tag "$(sed -n 's/^ *image: *//p' "$kit/docker/compose.yaml" | grep provider)" ghcr.io/siderolabs/omni-infra-provider-proxmox:latest
  make_original
  test_layout 'the original kit' docker edd2822a-7834-4fe0-8172-cc5581f13a8d docker-omni-1 \
    'docker-omni-1 docker-omni-tailscale-1' --lan-address "$lan" --tls-cert "$work/chain.pem" --tls-key "$work/leaf.key"
  make_directories upstream secondary-storage
  test_layout "Omni's own compose file" upstream "$account" omni omni
  make_directories starter omni-sqlite
  test_layout 'the starter kit' starter "$account" omni omni
}
