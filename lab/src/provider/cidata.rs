//! The cloud-init image, as far as the lab needs it: the label `cidata` at its place in an ISO 9660 image, the size of
//! the recorded uploads, and the user data (go-proxmox v0.3.2 virtual_machine.go:133-182).

/// The size of the recorded uploads, in bytes.
const SIZE: usize = 51_200;
/// Offsets in an ISO 9660 image: its volume descriptor, and the first possible position of files.
const DESCRIPTOR: usize = 16 * 2048;
const FILES: usize = 20 * 2048;
/// The text before the join token in the user data, by which the token is found.
const TOKEN_KEY: &str = "jointoken=";

/// Creates the image of a machine. The token lets the machine join Omni.
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

/// Returns the join token in an image, if it has one.
pub fn token(image: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(image);
    let (_, rest) = text.split_once(TOKEN_KEY)?;
    Some(rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect())
}
