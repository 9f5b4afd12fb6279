//! Secrets of each kind in `xtask/data/secret-kinds.yaml`, generated from a seed, and texts that only look like secrets.

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use fastrand::Rng;

/// A secret in a text, and its parts, which must not be found anywhere.
#[derive(Debug, Clone)]
pub struct Planted {
    pub kind: String,
    pub text: String,
    pub parts: Vec<String>,
}

/// Generates this many secrets, each kind in turn: as it is, in a JSON string, in base64 and percent-encoded.
pub fn secrets(count: usize, seed: u64) -> Vec<Planted> {
    let table: serde_yaml::Value =
        serde_yaml::from_str(include_str!("../data/secret-kinds.yaml")).expect("a table of kinds");
    let text = |value: &serde_yaml::Value| value.as_str().expect("a text").to_owned();
    let list = |key: &str| table[key].as_sequence().expect("a list").clone();
    let mut samples: Vec<(String, String)> =
        list("kinds").iter().map(|kind| (text(&kind["id"]), text(&kind["sample"]).replace("\\n", "\n"))).collect();
    for (at, name) in list("names").iter().map(text).enumerate() {
        let form = ["{n}={A20}", "my-{n}: {A22}", "\"{n}\": \"{A24}\"", "X_{n} := '{A12} {A12}'"][at % 4];
        samples.push((format!("named {name}"), form.replace("{n}", &name)));
    }
    let mut rng = Rng::with_seed(seed);
    let plant = |at: usize| {
        let (kind, sample) = &samples[at % samples.len()];
        let (text, parts) = filled(sample, &mut rng);
        let text = match at / samples.len() % 4 {
            0 => text,
            1 => serde_json::json!({ "level": "info", "msg": format!("seen: {text}") }).to_string(),
            2 => format!("blob {} end", STANDARD.encode(format!("at first {text}\n"))),
            _ => text.bytes().map(|byte| format!("%{byte:02X}")).collect(),
        };
        Planted { kind: kind.clone(), text, parts }
    };
    (0..count).map(plant).collect()
}

/// Generates digests, UUIDs, public keys, addresses and words that are not secrets.
pub fn lookalikes(seed: u64) -> Vec<String> {
    let mut rng = Rng::with_seed(seed);
    let lines = include_str!("fixtures/lookalikes.txt").lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| filled(&line.replace("\\n", "\n"), &mut rng).0).collect()
}

/// Fills the placeholders of `form`. Returns the result, and the values of the long ones.
fn filled(form: &str, rng: &mut Rng) -> (String, Vec<String>) {
    let (mut text, mut parts, mut rest) = (String::new(), Vec::new(), form);
    while let Some((before, hole, after)) = rest.split_once('{').and_then(|(before, rest)| {
        let (hole, after) = rest.split_once('}')?;
        Some((before, hole, after))
    }) {
        let length = hole.get(1..).and_then(|length| length.parse().ok());
        let letters = |set: &str, count: usize, rng: &mut Rng| -> String {
            (0..count).map(|_| char::from(set.as_bytes()[rng.usize(..set.len())])).collect()
        };
        let (lower, upper) = ("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
        let part = match (hole.chars().next(), length) {
            (Some('a'), Some(count)) => letters(&format!("{lower}0123456789"), count, rng),
            (Some('A'), Some(count)) => letters(&format!("{lower}{upper}0123456789"), count, rng),
            (Some('b'), Some(count)) => letters(&format!("{lower}{upper}0123456789+/"), count, rng),
            (Some('d'), Some(count)) => letters("0123456789", count, rng),
            (Some('h'), Some(count)) => letters("0123456789abcdef", count, rng),
            (Some('U'), None) => [8, 4, 4, 4, 12].map(|count| letters("0123456789abcdef", count, rng)).join("-"),
            _ => format!("{{{hole}}}"),
        };
        text = text + before + &part;
        if part.len() >= 10 && !part.starts_with('{') {
            parts.push(part);
        }
        rest = after;
    }
    (text + rest, parts)
}

/// Returns the secrets with parts in `text`, including its base64 and percent-encoded contents.
pub fn found<'p>(text: &str, planted: &'p [Planted]) -> Vec<&'p Planted> {
    let lenient = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
    let lenient = lenient.with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let decoder = GeneralPurpose::new(&alphabet::STANDARD, lenient);
    let mut texts = vec![text.to_owned(), percent_decoded(text)];
    for run in text.split(|c: char| !(c.is_ascii_alphanumeric() || "+/=".contains(c))).filter(|run| run.len() >= 16) {
        let run = run.trim_end_matches('=');
        for skip in 0..4.min(run.len()) {
            let part = &run[skip..];
            let part = &part[..part.len() - usize::from(part.len() % 4 == 1)];
            texts.extend(decoder.decode(part).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
    let all = texts.join("\n");
    planted.iter().filter(|planted| planted.parts.iter().any(|part| all.contains(part.as_str()))).collect()
}

fn percent_decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| match part.get(..2).and_then(|code| u8::from_str_radix(code, 16).ok()) {
        Some(byte) if byte.is_ascii() => text + &char::from(byte).to_string() + &part[2..],
        _ => text + "%" + part,
    })
}
