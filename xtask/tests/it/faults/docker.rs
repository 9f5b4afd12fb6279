//! Faults of Docker and its host.

use super::fault_case::says;

/// What a set-up has written when its stack does not start: all of it, so that the next run goes on.
const WRITTEN: &[&str] = &["docker/.env", "docker/config.yaml"];

fault_cases! {
    docker_down "docker-down": says(&["the Docker engine does not answer", "failed to connect to the docker API"])
        .hints(&["systemctl start docker"]);
    docker_denied "docker-denied": says(&["the Docker engine refuses this user", "permission denied"])
        .hints(&["add the user to the group `docker`"]);
    docker_no_compose "docker-no-compose": says(&["docker has no compose plugin (v2)", "unknown command: docker compose"])
        .hints(&["apt-get install docker-compose"]);
    docker_compose_old "docker-compose-old": says(&["docker's compose plugin is too old", "Additional property content"])
        .hints(&["since 2.23.1", "docker compose version --short"]);
    docker_image_missing "docker-image-missing": says(&["manifest for", "tailscale", "not found"])
        .hints(&["docker-image-missing", "a misspelt version", "docker diff compose.yaml"]);
    docker_disk_full "docker-disk-full": says(&["no space left on device"])
        .hints(&["Never prune volumes", "docker system df"]);
    docker_port_taken "docker-port-taken": says(&["127.0.0.1:443: bind: address already in use"])
        .hints(&["Another program listens", "sudo ss -lntup"]);
    docker_address_not_here "docker-address-not-here": says(&["bind: cannot assign requested address"])
        .hints(&["OMNI_LAN_ADDRESS", "ip -brief address"]);
    docker_no_tun "docker-no-tun": says(&["custom device \"/dev/net/tun\": no such file"])
        .hints(&["docker-no-tun-device", "sudo modprobe tun"]);
    docker_sidecar_died "docker-sidecar-died": says(&["cannot join network of a non running container|controller runtime watch error"]).hints(&["recreate the whole stack|recreate all containers", "stack-up --recreate"]).changes(WRITTEN);
    docker_sidecar_unhealthy "docker-sidecar-unhealthy":
        says(&["its sidecar is not healthy", "is unhealthy", "failed to auth tailscale"])
        .hints(&["most often TS_AUTHKEY is already used", "cargo xtask stack-logs omni-tailscale"])
        .changes(WRITTEN);
    sidecar_key_expired "sidecar-key-expired": says(&["its sidecar is not healthy", "invalid key: API key does not exist"])
        .hints(&["tailscale-key-invalid", "Create a new auth key"]);
}
