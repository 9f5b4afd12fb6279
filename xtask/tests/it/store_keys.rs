//! Keys of Omni's store; their rotation is tested in the transcript `store-keys`.

use std::fs;

use crate::sandbox::{Sandbox, root};

/// Writes the private key `name` of `fixtures/pgp`; `next` is the only one for which the lab's Omni adds a slot.
pub fn write(lab: &Sandbox, name: &str, file: &str) {
    let body = fs::read_to_string(root().join(format!("xtask/tests/fixtures/pgp/{name}.b64"))).expect("a key");
    let label = "PGP PRIVATE KEY BLOCK";
    lab.write(file, &format!("-----BEGIN {label}-----\n\n{body}-----END {label}-----\n"));
}
