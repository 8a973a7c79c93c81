//! What an operator may write about signatures, and what they are told when it is wrong.

use super::super::{Effects, Surroundings, parse_in};
use super::*;

/// The problems of a config whose one route verifies like this.
fn problems(verify: &str) -> String {
    problems_of(&format!("tenant: acme\n    verify: {verify}"))
}

fn problems_of(route: &str) -> String {
    let text = format!(
        "listen: [{{ address: \"127.0.0.1:0\" }}]\ntenants: {{ acme: {{}} }}\nupstreams: {{ u: {{ servers: [\"127.0.0.1:1\"] }} }}\n\
         routes:\n  - name: r\n    path: /r\n    methods: [POST]\n    upstream: u\n    {route}\n"
    );
    let env = |name: &str| match name {
        "GOOD" => Some("a-secret-that-is-long-enough".to_owned()),
        "SHORT" => Some("short".to_owned()),
        "STANDARD" => Some("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned()),
        "STANDARD_EMPTY" => Some("whsec_".to_owned()),
        "STANDARD_SHORT" => Some("whsec_c2hvcnQ=".to_owned()),
        "STANDARD_PRIVATE" => Some("whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc=".to_owned()),
        "DOTS" => Some("dots.are.not.sent.by.telegram".to_owned()),
        _ => None,
    };
    match parse_in("edge.yaml", &text, Surroundings { env: &env, effects: Effects::None }) {
        Ok(_) => String::new(),
        Err(problems) => problems.to_string(),
    }
}

fn good(verify: &str) {
    assert_eq!(problems(verify), "", "{verify}");
}

fn bad(verify: &str, why: &str) {
    let told = problems(verify);
    assert!(told.contains(why), "{verify}: {told:?}");
}

#[test]
fn one_line_is_enough_for_each_sender() {
    for scheme in ["github", "slack", "stripe", "telegram", "shopify", "twilio"] {
        good(&format!("{{ scheme: {scheme}, secret: {{ env: GOOD }} }}"));
        good(&format!("{{ scheme: {scheme}, secrets: [{{ env: GOOD }}, {{ env: GOOD }}] }}"));
        bad(&format!("{{ scheme: {scheme} }}"), "needs a `secret`");
        bad(&format!("{{ scheme: {scheme}, secret: {{ env: SHORT }} }}"), "weak");
        bad(&format!("{{ scheme: {scheme}, secret: {{ env: GOOD }}, mode: optional }}"), "does not go with");
    }
    good("{ scheme: standard-webhooks, secret: { env: STANDARD } }");
    good(
        "{ scheme: standard-webhooks, public_keys: [\"whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=\"] }",
    );
    good(
        "{ scheme: discord, public_keys: [d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a] }",
    );
    good(
        "{ scheme: generic-hmac, secret: { env: GOOD }, hmac: { header: X-Sig, signed: \"v0:{timestamp}:{body}\", timestamp_header: X-Time } }",
    );
}

#[test]
fn secrets_and_keys_must_have_their_senders_form() {
    for (name, why) in [
        ("STANDARD_EMPTY", "no secret of Standard Webhooks"),
        ("STANDARD_SHORT", "no secret of Standard Webhooks"),
        ("STANDARD_PRIVATE", "a private key stands here"),
        ("NOT_SET", "not set"),
    ] {
        bad(&format!("{{ scheme: standard-webhooks, secret: {{ env: {name} }} }}"), why);
    }
    bad("{ scheme: telegram, secret: { env: DOTS } }", "Telegram does not send");
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../tests/vectors/standard_webhooks_v1a_ed25519.json")).unwrap();
    for example in vectors["bad_key_examples"].as_array().unwrap() {
        let key = example["key"].as_str().unwrap();
        assert!(public_key(raw::Scheme::StandardWebhooks, key).is_err(), "{example}");
        let secret = usable(raw::Scheme::StandardWebhooks, &Secret::new(key.into()));
        assert!(secret.is_err() || !key.starts_with("wh"), "{example}");
    }
    // Without its prefix it could be a secret as well.
    let bare = "1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
    assert_eq!(public_key(raw::Scheme::StandardWebhooks, bare), Err(KeyError::Public));
    let neutral = format!("01{}", "0".repeat(62));
    assert_eq!(public_key(raw::Scheme::Discord, &neutral), Err(KeyError::Weak));
}

#[test]
fn the_rules_of_telegram_tokens_hold() {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../tests/vectors/telegram_rules.json")).unwrap();
    for case in vectors["cases"].as_array().unwrap() {
        let token = case["token"].as_str().unwrap();
        let found = usable(raw::Scheme::Telegram, &Secret::new(token.into()));
        // Telegram takes one character; the edge wants a secret that cannot be guessed.
        let wanted = case["valid_config"] == true && token.len() >= SHORTEST_SECRET;
        assert_eq!(found.is_ok(), wanted, "{case}");
    }
}

#[test]
fn a_generic_signature_must_cover_the_body_and_what_it_is_judged_by() {
    let hmac = |hmac: &str| {
        format!("{{ scheme: generic-hmac, secret: {{ env: GOOD }}, hmac: {{ header: X-Sig, {hmac} }} }}")
    };
    bad(&hmac("signed: \"{timestamp}\", timestamp_header: X-Time"), "would not cover the body");
    bad(&hmac("timestamp_header: X-Time"), "go together");
    bad(&hmac("signed: \"{id}.{body}\""), "go together");
    bad(&hmac("signed: \"{bdy}\""), "`body`");
    bad(&hmac("signed: \"{body\""), "not closed");
    bad(&hmac("signed: \"{header:a b}{body}\""), "no name of a header field");
    bad("{ scheme: generic-hmac, secret: { env: GOOD } }", "needs `hmac`");
}

#[test]
fn deliveries_belong_to_a_tenant() {
    let github = "verify: { scheme: github, secret: { env: GOOD } }";
    assert!(problems_of(github).contains("needs a `tenant`"), "{}", problems_of(github));
    let public = format!("public: true\n    {github}");
    assert!(problems_of(&public).contains("belong to a tenant"), "{}", problems_of(&public));
}

#[test]
fn a_public_url_is_an_origin() {
    let url = |url: &str| format!("{{ scheme: twilio, secret: {{ env: GOOD }}, public_url: \"{url}\" }}");
    good(&url("https://hooks.example.com"));
    good(&url("https://hooks.example.com:8443/"));
    for wrong in ["hooks.example.com", "ftp://a", "https://a/b", "https://a?b", "https://u@a", "https://a//"]
    {
        bad(&url(wrong), "no public URL");
    }
}
