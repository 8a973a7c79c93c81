//! Whether a text looks like a secret that nobody meant to share: private keys, and tokens of well-known
//! services, told by how they begin.
//!
//! One pass finds all beginnings at once (Aho-Corasick); what stands around each is then held against the
//! token's shape. Only shapes that nothing but a secret has are here: a guard that is wrong often is soon
//! switched off. It says which pattern it was and never what it found. It is no defence against somebody
//! who wants to smuggle a secret in.

use super::model::Content;
use crate::config::checked_store::SecretGuard;
use aho_corasick::AhoCorasick;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// The name of a pattern, as clients are told it.
pub(crate) type Pattern = &'static str;

/// What must stand around a beginning.
#[derive(Debug, Clone, Copy)]
enum Rest {
    /// At least so many of these characters; what they go on with does not matter.
    AtLeast(usize, Of),
    /// Exactly so many, and then something else.
    Exactly(usize, Of),
    /// So many, this text, and at least so many more.
    Around(usize, &'static str, usize, Of),
    /// The words of a PEM block of a private key.
    Pem,
    /// At least so many digits before, and exactly so many characters behind.
    AfterDigits(usize, usize),
    /// Two parts in base64, and a signature.
    Jwt,
}

/// Sets of characters.
#[derive(Debug, Clone, Copy)]
enum Of {
    /// Letters and digits.
    Alnum,
    /// Those, `-` and `_`.
    Word,
    /// Capitals and the digits of base32.
    Base32,
    /// Digits and the letters to f.
    Hex,
    /// What stands in the path of a URL.
    Path,
}

impl Of {
    fn has(self, byte: u8) -> bool {
        match self {
            Self::Alnum => byte.is_ascii_alphanumeric(),
            Self::Word => byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_',
            Self::Base32 => byte.is_ascii_uppercase() || matches!(byte, b'2'..=b'7'),
            Self::Hex => byte.is_ascii_hexdigit(),
            Self::Path => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'/'),
        }
    }

    fn run(self, text: &[u8]) -> usize {
        text.iter().take_while(|byte| self.has(**byte)).count()
    }
}

/// Name, how it begins, what follows. Shapes as the services document them, or as the scanners of GitHub and
/// gitleaks have them.
const PATTERNS: &[(Pattern, &str, Rest)] = &[
    ("private-key", "-----BEGIN ", Rest::Pem),
    ("age-secret-key", "AGE-SECRET-KEY-1", Rest::Exactly(58, Of::Alnum)),
    ("aws-access-key", "AKIA", Rest::Exactly(16, Of::Base32)),
    ("aws-access-key", "ASIA", Rest::Exactly(16, Of::Base32)),
    ("aws-access-key", "ABIA", Rest::Exactly(16, Of::Base32)),
    ("aws-access-key", "ACCA", Rest::Exactly(16, Of::Base32)),
    ("github-token", "ghp_", Rest::AtLeast(36, Of::Alnum)),
    ("github-token", "gho_", Rest::AtLeast(36, Of::Alnum)),
    ("github-token", "ghu_", Rest::AtLeast(36, Of::Alnum)),
    ("github-token", "ghs_", Rest::AtLeast(36, Of::Alnum)),
    ("github-token", "ghr_", Rest::AtLeast(36, Of::Alnum)),
    ("github-token", "github_pat_", Rest::AtLeast(82, Of::Word)),
    ("gitlab-token", "glpat-", Rest::AtLeast(20, Of::Word)),
    ("slack-token", "xoxb-", Rest::AtLeast(20, Of::Word)),
    ("slack-token", "xoxp-", Rest::AtLeast(20, Of::Word)),
    ("slack-token", "xoxa-", Rest::AtLeast(20, Of::Word)),
    ("slack-token", "xoxr-", Rest::AtLeast(20, Of::Word)),
    ("slack-token", "xoxs-", Rest::AtLeast(20, Of::Word)),
    ("slack-token", "xapp-", Rest::AtLeast(20, Of::Word)),
    ("slack-webhook", "hooks.slack.com/services/T", Rest::AtLeast(30, Of::Path)),
    ("stripe-key", "sk_live_", Rest::AtLeast(20, Of::Alnum)),
    ("stripe-key", "rk_live_", Rest::AtLeast(20, Of::Alnum)),
    ("stripe-key", "sk_test_", Rest::AtLeast(20, Of::Alnum)),
    ("stripe-key", "rk_test_", Rest::AtLeast(20, Of::Alnum)),
    ("webhook-secret", "whsec_", Rest::AtLeast(24, Of::Alnum)),
    ("google-api-key", "AIza", Rest::Exactly(35, Of::Word)),
    ("google-oauth-secret", "GOCSPX-", Rest::Exactly(28, Of::Word)),
    ("google-oauth-token", "ya29.", Rest::AtLeast(30, Of::Word)),
    ("openai-key", "sk-proj-", Rest::AtLeast(40, Of::Word)),
    ("openai-key", "sk-svcacct-", Rest::AtLeast(40, Of::Word)),
    ("openai-key", "sk-admin-", Rest::AtLeast(40, Of::Word)),
    ("openai-key", "sk-", Rest::Around(20, "T3BlbkFJ", 20, Of::Alnum)),
    ("anthropic-key", "sk-ant-", Rest::AtLeast(40, Of::Word)),
    ("openrouter-key", "sk-or-v1-", Rest::AtLeast(64, Of::Hex)),
    ("huggingface-token", "hf_", Rest::Exactly(34, Of::Alnum)),
    ("npm-token", "npm_", Rest::Exactly(36, Of::Alnum)),
    ("pypi-token", "pypi-AgEIcHlwaS5vcmc", Rest::AtLeast(50, Of::Word)),
    ("sendgrid-key", "SG.", Rest::Around(22, ".", 43, Of::Word)),
    ("digitalocean-token", "dop_v1_", Rest::AtLeast(64, Of::Hex)),
    ("shopify-token", "shpat_", Rest::AtLeast(32, Of::Hex)),
    ("shopify-token", "shpss_", Rest::AtLeast(32, Of::Hex)),
    ("telegram-token", ":AA", Rest::AfterDigits(8, 33)),
    ("openclaw-edge-key", "oce_", Rest::AtLeast(40, Of::Word)),
    ("json-web-token", "eyJ", Rest::Jwt),
];

/// Finds secrets.
#[derive(Clone)]
pub(crate) struct Guard(Arc<AhoCorasick>);

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guard")
    }
}

impl Default for Guard {
    fn default() -> Self {
        let beginnings = PATTERNS.iter().map(|(_, beginning, _)| beginning);
        Self(Arc::new(AhoCorasick::new(beginnings).expect("some dozen short texts fit into an automaton")))
    }
}

impl Guard {
    /// The first pattern that something here fits, of those that are looked for.
    pub(crate) fn look(&self, guard: SecretGuard, content: &Content) -> Option<Pattern> {
        let texts: [Option<&str>; 4] = match content {
            Content::Memory(memory) => {
                [Some(&memory.scope), Some(&memory.key), Some(memory.value.as_str()), Some(&memory.node_id)]
            }
            Content::Skill(skill) => {
                [Some(&skill.name), Some(&skill.source_node), skill.content.as_deref(), skill.path.as_deref()]
            }
            // Public, and read strictly before they came here.
            Content::Keys(_) => [None; 4],
        };
        texts.into_iter().flatten().find_map(|text| self.look_at(guard, text))
    }

    /// The same for one text: JSON, or any other.
    pub(crate) fn look_at(&self, guard: SecretGuard, text: &str) -> Option<Pattern> {
        match guard {
            SecretGuard::Off => None,
            SecretGuard::On | SecretGuard::WithJwt => {
                // An escape may stand in a token (`\/`) or right before it (`\n`).
                let text = unescaped(text);
                let text = text.as_bytes();
                let mut found = self.0.find_overlapping_iter(text).filter_map(|found| {
                    let (name, _, rest) = PATTERNS[found.pattern().as_usize()];
                    let wanted = guard == SecretGuard::WithJwt || !matches!(rest, Rest::Jwt);
                    (wanted && fits(rest, &text[..found.start()], &text[found.end()..])).then_some(name)
                });
                found.next()
            }
        }
    }
}

fn fits(rest: Rest, before: &[u8], behind: &[u8]) -> bool {
    // A token is a word of its own.
    let begins = before.last().is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
    match rest {
        Rest::AtLeast(least, of) => begins && of.run(behind) >= least,
        Rest::Exactly(count, of) => begins && of.run(behind) == count,
        Rest::Around(first, middle, second, of) => {
            begins
                && of.run(&behind[..behind.len().min(first)]) == first
                && behind[first..].strip_prefix(middle.as_bytes()).is_some_and(|rest| of.run(rest) >= second)
        }
        Rest::Pem => {
            // `-----BEGIN RSA PRIVATE KEY-----`, `-----BEGIN PGP PRIVATE KEY BLOCK-----`.
            let line = &behind[..behind.len().min(40)];
            line.split(|byte| *byte == b'-')
                .next()
                .is_some_and(|words| words.ends_with(b"PRIVATE KEY") || words.ends_with(b"PRIVATE KEY BLOCK"))
        }
        Rest::AfterDigits(least, count) => {
            let digits = before.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
            digits >= least && Of::Word.run(behind) == count
        }
        Rest::Jwt => {
            let mut parts = behind.splitn(3, |byte| *byte == b'.');
            let (head, claims, signature) = (parts.next(), parts.next(), parts.next());
            let whole = |part: Option<&[u8]>| part.is_some_and(|part| part.iter().all(|b| Of::Word.has(*b)));
            begins
                && whole(head)
                && whole(claims)
                && claims.is_some_and(|claims| claims.starts_with(b"eyJ"))
                && signature.is_some_and(|signature| Of::Word.run(signature) >= 20)
        }
    }
}

/// The text with the escapes of JSON's strings read, whatever it is otherwise.
fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let escape = &rest[at + 1..];
        let coded = escape.strip_prefix('u').and_then(|digits| digits.get(..4));
        let coded = coded.and_then(|digits| u32::from_str_radix(digits, 16).ok()).and_then(char::from_u32);
        let (c, length) = match (coded, escape.chars().next()) {
            (Some(c), _) => (c, 5),
            (None, Some('n' | 'r' | 't' | 'b' | 'f')) => ('\n', 1),
            (None, Some(c)) => (c, c.len_utf8()),
            (None, None) => ('\\', 0),
        };
        out.push(c);
        rest = &escape[length..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{memory, skill};
    use proptest::prelude::{any, prop_assert_eq, proptest};

    /// Texts of these shapes, put together here so that no scanner takes this file for a leak.
    fn samples() -> Vec<(Pattern, String)> {
        let of = |count: usize| "a1B2c3D4e5".chars().cycle().take(count).collect::<String>();
        let hex = |count: usize| "0a1b2c3d".chars().cycle().take(count).collect::<String>();
        vec![
            ("private-key", format!("-----BEGIN {}PRIVATE KEY-----\nMII{}", "RSA ", of(60))),
            ("private-key", format!("-----BEGIN {}-----", "PRIVATE KEY")),
            ("private-key", format!("-----BEGIN {} KEY BLOCK-----", "PGP PRIVATE")),
            ("age-secret-key", format!("AGE-SECRET-KEY-1{}", of(58))),
            ("aws-access-key", format!("AKIA{}", "ABCDEFGH234567AB")),
            ("aws-access-key", format!("ASIA{}", "ABCDEFGH234567AB")),
            ("github-token", format!("ghp_{}", of(36))),
            ("github-token", format!("github_pat_{}", of(82))),
            ("gitlab-token", format!("glpat-{}", of(20))),
            ("slack-token", format!("xoxb-{}-{}", "123456789012", of(24))),
            ("slack-webhook", format!("https://hooks.slack.com/services/T{}/B{}/{}", of(8), of(8), of(24))),
            ("stripe-key", format!("sk_live_{}", of(24))),
            ("webhook-secret", format!("whsec_{}", of(32))),
            ("google-api-key", format!("AIza{}", of(35))),
            ("google-oauth-secret", format!("GOCSPX-{}", of(28))),
            ("google-oauth-token", format!("ya29.{}", of(60))),
            ("openai-key", format!("sk-proj-{}", of(74))),
            ("openai-key", format!("sk-{}T3BlbkFJ{}", of(20), of(20))),
            ("anthropic-key", format!("sk-ant-api03-{}", of(93))),
            ("openrouter-key", format!("sk-or-v1-{}", hex(64))),
            ("huggingface-token", format!("hf_{}", of(34))),
            ("npm-token", format!("npm_{}", of(36))),
            ("pypi-token", format!("pypi-AgEIcHlwaS5vcmc{}", of(60))),
            ("sendgrid-key", format!("SG.{}.{}", of(22), of(43))),
            ("digitalocean-token", format!("dop_v1_{}", hex(64))),
            ("shopify-token", format!("shpat_{}", hex(32))),
            ("telegram-token", format!("123456789:AA{}", of(33))),
            ("openclaw-edge-key", format!("oce_{}", of(43))),
        ]
    }

    fn look(guard: SecretGuard, value: &str) -> Option<Pattern> {
        let json = serde_json::to_string(value).unwrap();
        Guard::default().look(guard, &Content::Memory(memory("mesh", "k", &json)))
    }

    #[test]
    fn every_pattern_is_found_alone_in_a_sentence_and_in_json_and_named() {
        let guard = Guard::default();
        let samples = samples();
        for (name, token) in &samples {
            assert_eq!(look(SecretGuard::On, token), Some(*name), "{token}");
            assert_eq!(look(SecretGuard::On, &format!("use this: {token}.\n")), Some(*name), "{token}");
            assert_eq!(look(SecretGuard::Off, token), None);
            let nested = format!(
                "{{\"deep\":[{{\"env\":\"TOKEN={}\"}}]}}",
                token.replace('\n', "\\n").replace('/', "\\/")
            );
            assert_eq!(guard.look(SecretGuard::On, &Content::Memory(memory("m", "k", &nested))), Some(*name));
            let skill = Content::Skill(skill("s", &format!("# How\n\nexport TOKEN={token}\n")));
            assert_eq!(guard.look(SecretGuard::On, &skill), Some(*name), "{token}");
        }
        for (name, _, rest) in PATTERNS {
            let is_sampled = samples.iter().any(|(sampled, _)| sampled == name);
            assert!(is_sampled || matches!(rest, Rest::Jwt), "{name} has no sample");
        }
    }

    #[test]
    fn a_token_in_a_key_is_found_too() {
        let (name, token) = samples().swap_remove(6);
        let content = Content::Memory(memory("mesh", &token, "1"));
        assert_eq!(Guard::default().look(SecretGuard::On, &content), Some(name));
    }

    #[test]
    fn web_tokens_are_looked_for_where_that_is_asked() {
        let part = "eyJhbGciOiJIUzI1NiJ9";
        let token = format!("{part}.{part}.{}", "a".repeat(43));
        assert_eq!(look(SecretGuard::On, &token), None);
        assert_eq!(look(SecretGuard::WithJwt, &token), Some("json-web-token"));
        assert_eq!(look(SecretGuard::WithJwt, &format!("Bearer {token}")), Some("json-web-token"));
        assert_eq!(look(SecretGuard::WithJwt, part), None);
    }

    #[test]
    fn what_only_resembles_a_token_is_kept() {
        for text in [
            "keys begin with AKIA, ghp_ or sk-ant-, says the manual",
            "-----BEGIN CERTIFICATE-----\nMIIB",
            "-----BEGIN PUBLIC KEY-----\nMCow",
            "task-proj-1234567890123456789012345678901234567890",
            "LAKIAABCDEFGH234567AB",
            "AKIAABCDEFGH234567ABCDEF",
            "npm_config_registry_url_of_the_company_mirror",
            "the ratio is 12345678:AAA",
            "sk-learn and sk_test_ are prefixes",
            "eyJ",
            "\\u",
            "\\",
        ] {
            assert_eq!(look(SecretGuard::WithJwt, text), None, "{text}");
        }
    }

    #[test]
    fn what_is_escaped_is_found_as_what_it_means() {
        let raw = format!("\"\\u0067hp_{}\"", "a1".repeat(18));
        let content = Content::Memory(memory("mesh", "k", &raw));
        assert_eq!(Guard::default().look(SecretGuard::On, &content), Some("github-token"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_back_from_its_json(text in any::<String>()) {
            // Blanks of all kinds are one to the guard.
            let plain: String =
                text.chars().map(|c| if matches!(c, '\r' | '\t' | '\u{8}' | '\u{c}') { '\n' } else { c }).collect();
            let json = serde_json::to_string(&text).unwrap();
            let read = unescaped(&json[1..json.len() - 1]).into_owned();
            let read: String = read.chars().map(|c| if matches!(c, '\r' | '\t' | '\u{8}' | '\u{c}') { '\n' } else { c }).collect();
            prop_assert_eq!(read, plain);
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            Guard::default().look_at(SecretGuard::WithJwt, &text);
        }
    }
}
