//! The cloud-init image, as far as anybody in the lab looks at it: the label `cidata` where an ISO 9660 has it, the size of
//! the recorded uploads, and the user data (go-proxmox v0.3.2 virtual_machine.go:133-182).

/// As many bytes as the recorded uploads carry.
const SIZE: usize = 51_200;
/// Where an ISO 9660 says what it is, and where its files may begin.
const DESCRIPTOR: usize = 16 * 2048;
const FILES: usize = 20 * 2048;
/// What is before the join token in the user data, so that a machine can be asked for it.
const TOKEN_KEY: &str = "jointoken=";

/// The image of one machine. The token lets it join Omni.
pub fn image(uuid: &str, name: &str, token: &str) -> Vec<u8> {
    let text = format!(
        "apiVersion: v1alpha1\nkind: SideroLinkConfig\napiUrl: https://omni.example.invalid:8090?{TOKEN_KEY}{token}\n\n\
         instance-id: {uuid}\nlocal-hostname: {name}\nhostname: {name}"
    );
    let mut out = vec![0u8; SIZE];
    for (at, bytes) in [
        (DESCRIPTOR, &b"\x01CD001\x01"[..]),
        (DESCRIPTOR + 40, b"cidata                          "),
        (FILES, text.as_bytes()),
    ] {
        out[at..at + bytes.len()].copy_from_slice(bytes);
    }
    out
}

/// The join token in an image, if there is one.
pub fn token(image: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(image);
    let (_, rest) = text.split_once(TOKEN_KEY)?;
    Some(rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect())
}
