//! Checks tsidp's discovery document and keys as Omni reads them when it starts (omni v1.9.3 `internal/backend/oidc`, with
//! go-oidc: the issuer in the document is compared byte by byte with the configured one).

use serde_json::{Map, Value};

use super::diagnosis::Diagnosis;

/// The result of checking the discovery document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    pub verdict: Diagnosis,
    /// The URL of the keys, if given.
    pub jwks: Option<String>,
}

/// Checks the discovery document of `issuer`.
pub fn discovery(text: &str, issuer: &str) -> Discovery {
    let Ok(Value::Object(document)) = serde_json::from_str::<Value>(text) else {
        let verdict = Diagnosis::failed("the response is not a discovery document")
            .fix("another service uses this name or port: check OIDC_ISSUER_URL, and that tsidp is running");
        return Discovery { verdict, jwks: None };
    };
    let jwks = document.get("jwks_uri").and_then(Value::as_str).filter(|url| !url.is_empty()).map(str::to_owned);
    Discovery { verdict: verdict(&document, issuer), jwks }
}

fn verdict(document: &Map<String, Value>, issuer: &str) -> Diagnosis {
    let text = |key: &str| document.get(key).and_then(Value::as_str).unwrap_or_default();
    if text("issuer") != issuer {
        let detail = format!("tsidp's issuer is {:?}, OIDC_ISSUER_URL is {issuer:?}", text("issuer"));
        return Diagnosis::failed(detail).fix(format!("set OIDC_ISSUER_URL in docker/.env to {}", text("issuer")));
    }
    let mut missing = vec!["authorization_endpoint", "token_endpoint", "jwks_uri"];
    missing.retain(|key| !text(key).starts_with("https://"));
    if !missing.is_empty() {
        return Diagnosis::failed(format!("the document has no {}", missing.join(", ")));
    }
    let lacks = |key: &str, expected: &[&'static str]| -> Vec<&'static str> {
        // A missing list proves nothing.
        let Some(Value::Array(list)) = document.get(key) else { return Vec::new() };
        expected.iter().copied().filter(|expected| !list.iter().any(|item| item == expected)).collect()
    };
    let mut lacking = lacks("scopes_supported", &["openid", "profile", "email"]);
    lacking.extend(lacks("response_types_supported", &["code"]));
    if !lacking.is_empty() {
        return Diagnosis::failed(format!("it does not offer {}", lacking.join(", ")))
            .fix("check that this is tsidp: Omni requests openid, profile, email");
    }
    Diagnosis::ok(format!("issuer {issuer}"))
}

/// Checks the set of keys: Omni needs one for RS256, which tsidp signs with.
pub fn keys(text: &str) -> Diagnosis {
    let Ok(document) = serde_json::from_str::<Value>(text) else {
        return Diagnosis::failed("the keys are not valid JSON");
    };
    let keys = document["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
    let signs = |key: &&Value| {
        let is = |name: &str, expected: &str| key[name].as_str().is_none_or(|found| found == expected);
        key["kty"] == "RSA"
            && is("alg", "RS256")
            && is("use", "sig")
            && key["n"].as_str().is_some_and(|n| !n.is_empty())
    };
    match keys.iter().filter(signs).count() {
        0 => Diagnosis::failed(format!("none of {} is for RS256", domain::words::count(keys.len(), "key"))),
        count => Diagnosis::ok(format!("{count} for RS256")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::State;

    const ISSUER: &str = "https://idp.tail1.ts.net";

    /// A document in the form of tsidp v0.0.12 `server/oauth-metadata.go`.
    fn document() -> String {
        format!(
            r#"{{"issuer":"{ISSUER}","authorization_endpoint":"{ISSUER}/authorize","token_endpoint":"{ISSUER}/token","userinfo_endpoint":"{ISSUER}/userinfo","jwks_uri":"{ISSUER}/.well-known/jwks.json","scopes_supported":["openid","email","profile"],"response_types_supported":["id_token","code"],"subject_types_supported":["public"],"id_token_signing_alg_values_supported":["RS256"]}}"#
        )
    }

    #[test]
    fn discovery_document_is_checked() {
        let found = discovery(&document(), ISSUER);
        assert_eq!(found.verdict.state, State::Ok, "{found:?}");
        assert_eq!(found.jwks.as_deref(), Some("https://idp.tail1.ts.net/.well-known/jwks.json"));
        let cases = [
            (document(), "https://idp.tail1.ts.net/", "OIDC_ISSUER_URL is"),
            (document().replace("idp.", "idp-1."), ISSUER, "tsidp's issuer is"),
            (document().replace("token_endpoint", "x"), ISSUER, "no token_endpoint"),
            (document().replace("\"email\",", ""), ISSUER, "does not offer email"),
            ("<html>".to_owned(), ISSUER, "not a discovery document"),
            ("[]".to_owned(), ISSUER, "not a discovery document"),
        ];
        for (text, issuer, why) in cases {
            let found = discovery(&text, issuer).verdict;
            assert!(found.state == State::Failed && found.detail.contains(why), "{why}: {found:?}");
        }
    }

    #[test]
    fn oidc_key_must_sign_with_rs256() {
        let key = r#"{"keys":[{"use":"sig","kty":"RSA","kid":"1","alg":"RS256","n":"abc","e":"AQAB"}]}"#;
        assert_eq!(keys(key).state, State::Ok);
        for bad in ["", "{}", "{\"keys\":[]}", &key.replace("RS256", "ES256"), &key.replace("\"sig\"", "\"enc\"")] {
            assert_eq!(keys(bad).state, State::Failed, "{bad}");
        }
    }
}
