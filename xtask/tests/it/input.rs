//! Keys in the form of real ones, and advice that can be pasted. The output for bad input and bad environments is in the
//! transcripts `errors`, `usage`, `names` and `access`, and in `unwritable.rs`.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::sandbox::Sandbox;

/// A key with the real structure for `name`, created `created` seconds after 1970 and valid for `lifetime` seconds.
pub fn key(name: &str, created: u32, lifetime: u32) -> String {
    let mut secret = vec![4];
    secret.extend(created.to_be_bytes());
    secret.extend([22; 40]);
    let mut fields = vec![5, 2];
    fields.extend(created.to_be_bytes());
    fields.extend([5, 9]);
    fields.extend(lifetime.to_be_bytes());
    let mut signature = vec![4, 0x13, 22, 8, 0, fields.len() as u8];
    signature.extend(fields);
    signature.extend([0; 20]);
    let mut packets = Vec::new();
    for (tag, body) in [(5u8, secret), (13, b"a <a@b>".to_vec()), (2, signature)] {
        packets.extend([0xc0 | tag, body.len() as u8]);
        packets.extend(body);
    }
    let armored = format!(
        "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n{}\n-----END PGP PRIVATE KEY BLOCK-----\n",
        STANDARD.encode(packets)
    );
    STANDARD.encode(serde_json::json!({ "name": name, "pgp_key": armored }).to_string())
}

/// Like [`key`], valid for this many more days.
pub fn lasting_key(name: &str, days: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later").as_secs() as i64;
    key(name, (now - 65 * 86_400) as u32, ((65 + days) * 86_400) as u32)
}

/// The advice of a task can be pasted where it is printed: in text and in JSON, as a command and inside a sentence.
#[test]
fn advice_carries_the_project_that_was_given() {
    let lab = Sandbox::new();
    let given = format!(" --project-dir {}", lab.project().display());
    let said = |words: &[&str]| {
        let output = lab.command(words).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    for words in [&["provider-status"][..], &["cluster-status", "zebra"], &["cluster-sync", "zebra", "--json"]] {
        let text = said(words);
        let advised: Vec<&str> = text.split("cargo xtask ").skip(1).collect();
        assert!(!advised.is_empty(), "{text}");
        for rest in advised {
            let call = rest.split(['`', '\n', '"']).next().unwrap_or_default();
            assert!(call.ends_with(&given), "{call}\n\n{text}");
        }
    }
    // The next step of a dry run contains it once.
    let text = said(&["provider-setup", "--dry-run", "--yes", "--json"]);
    assert_eq!(text.matches(&given).count(), 1, "{text}");
}
