//! Callers who come with tokens: whose they are, what they may do, and every way in which a token is no good.

use crate::house::client::Client;
use crate::house::double::{Double, Reply};
use crate::house::edge::Edge;
use crate::house::keys::{ACME, GLOBEX};
use crate::house::parts::program;
use crate::house::process::{free_address, run_edge};
use crate::house::site::Site;
use crate::house::sockets::{EchoGateway, ask, closed, open};
use crate::house::temp::Temp;
use crate::house::wait::{SOON, until};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use ed25519_dalek::{Signer as _, SigningKey};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
    RsaPublicKeyComponents,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

/// Someone's key, who issues tokens.
enum Issuer {
    Ed(SigningKey),
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl Issuer {
    fn ed(seed: u8) -> Self {
        Self::Ed(SigningKey::from_bytes(&[seed; 32]))
    }

    fn ec() -> Self {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        Self::Ec(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_ref(), &random).unwrap())
    }

    fn rsa(bits: &str) -> Option<Self> {
        let output =
            Command::new(program("openssl")?).args(["genrsa", bits]).output().expect("openssl starts");
        let PrivateKeyDer::Pkcs8(der) = PrivateKeyDer::from_pem_slice(&output.stdout).unwrap() else {
            return None;
        };
        RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).ok().map(Self::Rsa)
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Ed(_) => "EdDSA",
            Self::Ec(_) => "ES256",
            Self::Rsa(_) => "RS256",
        }
    }

    fn jwk(&self, kid: &str) -> Value {
        match self {
            Self::Ed(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": B64.encode(key.verifying_key())})
            }
            Self::Ec(key) => {
                let point = key.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "kid": kid, "use": "sig",
                       "x": B64.encode(&point[1..33]), "y": B64.encode(&point[33..])})
            }
            Self::Rsa(key) => {
                let parts: RsaPublicKeyComponents<Vec<u8>> = key.public().into();
                json!({"kty": "RSA", "alg": "RS256", "kid": kid, "n": B64.encode(parts.n), "e": B64.encode(parts.e)})
            }
        }
    }

    fn sign(&self, text: &[u8]) -> Vec<u8> {
        match self {
            Self::Ed(key) => key.sign(text).to_vec(),
            Self::Ec(key) => key.sign(&SystemRandom::new(), text).unwrap().as_ref().to_vec(),
            Self::Rsa(key) => {
                let mut out = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut out).unwrap();
                out
            }
        }
    }

    /// A token with this header and these claims.
    fn token_of(&self, header: &Value, claims: &Value) -> String {
        let text = format!("{}.{}", B64.encode(header.to_string()), B64.encode(claims.to_string()));
        format!("{text}.{}", B64.encode(self.sign(text.as_bytes())))
    }

    fn token(&self, kid: &str, claims: &Value) -> String {
        self.token_of(&json!({"alg": self.algorithm(), "typ": "JWT", "kid": kid}), claims)
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Good claims, with some others in their place.
#[allow(
    clippy::needless_pass_by_value,
    reason = "it reads better without a borrow at each of its many calls"
)]
fn claims(others: Value) -> Value {
    let mut claims = json!({
        "iss": "https://id.test", "aud": "edge", "sub": "somebody", "iat": now() - 600, "exp": now() + 600, "org": "acme-corp",
    });
    for (name, value) in others.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

const ISSUER: &str = "id: corp, issuer: \"https://id.test\", audience: [edge, other-edge], tenant_claim: org, \
                      tenants: { acme-corp: acme, globex-corp: globex }, scopes: [mesh:read, gateways:connect], scope_claim: scope, \
                      scope_map: { reader: [mesh:read], all: [mesh:read, gateways:connect] }, node_claim: node";

/// An issuer whose keys are in a file in the test's folder.
fn believing(site: Site, folder: &Temp, keys: &[Value]) -> Site {
    let file = folder.write("keys.json", json!({ "keys": keys }).to_string());
    site.top(&format!("token_issuers: [{{ {ISSUER}, keys: {{ file: \"{}\" }} }}]", file.display()))
}

fn site(upstream: &Double) -> Site {
    Site::new()
        .upstream("all", upstream.address())
        .credential("id: of-ceo, tenant: acme, node: ceo, hash: \"sha256:0000000000000000000000000000000000000000000000000000000000000001\"")
        .route("name: read, path: /read, scopes: [mesh:read], upstream: all")
        .route("name: any, path: /any, upstream: all")
}

fn bearer(edge: &Edge, token: &str) -> Client {
    edge.client().with("Authorization", &format!("Bearer {token}"))
}

#[test]
fn a_token_of_each_kind_says_whose_a_request_is() {
    let folder = Temp::new();
    let mut issuers = vec![Issuer::ed(1), Issuer::ec()];
    issuers.extend(Issuer::rsa("2048"));
    let keys: Vec<Value> = issuers.iter().map(|issuer| issuer.jwk(issuer.algorithm())).collect();
    let upstream = Double::mirror();
    let edge = Edge::start(&believing(site(&upstream), &folder, &keys));
    for issuer in &issuers {
        let token = |others| issuer.token(issuer.algorithm(), &claims(others));
        let acme = bearer(&edge, &token(json!({"scope": "mesh:read", "node": "ceo"})));
        // The second time it is known already.
        for _ in 0..2 {
            let answer = acme.get("/read").expect(200);
            assert_eq!(answer.json()["tenant"], "acme");
            let line = edge.log_line(&answer);
            assert_eq!((&line["tenant"], &line["credential"]), (&json!("acme"), &json!("corp.acme")));
        }
        let seen = upstream.seen().pop().unwrap();
        assert_eq!(seen.field("x-credential-id"), Some("corp.acme"));
        assert_eq!(seen.field("x-credential-scopes"), Some("mesh:read"));
        assert_eq!((seen.field("x-node-id"), seen.field("authorization")), (Some("ceo"), None));
        let globex = bearer(
            &edge,
            &token(json!({"org": "globex-corp", "scope": ["reader", "unknown"], "aud": ["x", "other-edge"]})),
        );
        assert_eq!(globex.get("/read").expect(200).json()["tenant"], "globex");
        // Scopes are those that the token has and the issuer may give.
        bearer(&edge, &token(json!({"scope": "mesh:write"}))).get("/read").refused(403, "forbidden");
        bearer(&edge, &token(json!({}))).get("/read").refused(403, "forbidden");
        bearer(&edge, &token(json!({}))).get("/any").expect(200);
        bearer(&edge, &token(json!({"scope": "all"}))).get("/read").expect(200);
    }
    // Keys are keys as ever.
    edge.caller(ACME).get("/any").expect(200);
    edge.caller(GLOBEX).get("/any").expect(200);
    let used = edge
        .metrics()
        .sum("openclaw_edge_credential_last_used_timestamp_seconds", &[("credential", "corp.acme")]);
    assert!(used > 1.7e9, "{used}");
}

#[test]
fn a_token_that_is_no_good_is_one_and_the_same_401() {
    let folder = Temp::new();
    let (issuer, stranger) = (Issuer::ed(1), Issuer::ed(2));
    let upstream = Double::mirror();
    let site = believing(site(&upstream), &folder, &[issuer.jwk("one"), Issuer::ec().jwk("ec")]);
    let edge = Edge::start(&site);
    let with = |others| issuer.token("one", &claims(others));
    let good = with(json!({}));
    let (head, rest) = good.split_once('.').unwrap();
    let (body, signature) = rest.split_once('.').unwrap();
    let headed = |header: Value| issuer.token_of(&header, &claims(json!({})));
    let missing = edge.client().get("/any").refused(401, "unauthorized").shape();
    for (token, detail) in [
        (stranger.token("one", &claims(json!({}))), "signature is wrong"),
        (issuer.token("two", &claims(json!({}))), "key is not known"),
        (format!("{head}.{body}."), "signature is wrong"),
        (
            format!("{head}.{}.{signature}", B64.encode(claims(json!({"org": "globex-corp"})).to_string())),
            "signature is wrong",
        ),
        (format!("{}.{body}.", B64.encode("{\"alg\":\"none\"}")), "algorithm is not taken"),
        (headed(json!({"alg": "HS256", "kid": "one"})), "algorithm is not taken"),
        (headed(json!({"alg": "ES256", "kid": "one"})), "algorithm is not taken"),
        (headed(json!({"alg": "EdDSA", "kid": "ec"})), "algorithm is not taken"),
        (headed(json!({"alg": "EdDSA", "kid": "one", "crit": ["exp"]})), "malformed"),
        (headed(json!({"alg": "EdDSA", "kid": 5})), "malformed"),
        (format!("eyJ.{body}.{signature}"), "malformed"),
        (format!("{head}.!!!.{signature}"), "malformed"),
        (with(json!({"iss": "https://other.test"})), "issuer is not known"),
        (with(json!({"iss": null})), "issuer is not known"),
        (with(json!({"aud": "elsewhere"})), "another audience"),
        (with(json!({"aud": null})), "another audience"),
        (with(json!({"aud": []})), "another audience"),
        (with(json!({"exp": now() - 31})), "has expired"),
        (with(json!({"exp": null})), "no end"),
        (with(json!({"iat": null})), "no end"),
        (with(json!({"exp": now() + 90_000})), "no end"),
        (with(json!({"exp": "never"})), "claims are malformed"),
        (with(json!({"exp": -1})), "claims are malformed"),
        (with(json!({"nbf": now() + 60})), "not in force yet"),
        (with(json!({"iat": now() + 60})), "not in force yet"),
        (with(json!({"org": "initech"})), "no tenant that is known"),
        (with(json!({"org": ["acme-corp"]})), "no tenant that is known"),
        (with(json!({"org": "acme"})), "no tenant that is known"),
        (with(json!({"org": null})), "no tenant that is known"),
        (with(json!({"node": "nobody"})), "a node that is not known"),
        (with(json!({"org": "globex-corp", "node": "ceo"})), "a node that is not known"),
        (with(json!({"scope": 7})), "claims are malformed"),
        (issuer.token_of(&json!({"alg": "EdDSA", "kid": "one"}), &json!([1])), "claims are malformed"),
    ] {
        let answer = bearer(&edge, &token).get("/any").refused(401, "unauthorized");
        assert_eq!(answer.shape(), missing, "{detail}");
        let line = edge.log_line(&answer);
        assert!(line["detail"].as_str().is_some_and(|told| told.contains(detail)), "{detail}: {line}");
    }
    // In time, give or take the skew.
    for others in [json!({"exp": now() - 20}), json!({"nbf": now() + 20}), json!({"iat": now() + 20})] {
        bearer(&edge, &with(others)).get("/any").expect(200);
    }
    bearer(&edge, &good).get("/any").expect(200);
    // A key that is wrong is not saved by a token beside it, and two tokens are none.
    let both = bearer(&edge, &good).with("X-API-Key", "oce_no-key-of-anybody-0123456789");
    both.get("/any").refused(401, "unauthorized");
    bearer(&edge, &good)
        .with("Authorization", &format!("Bearer {good}"))
        .get("/any")
        .refused(401, "unauthorized");
    assert!(!edge.all_output().contains(signature), "a token is told");
}

#[test]
fn keys_from_a_url_are_learnt_kept_and_changed() {
    let folder = Temp::new();
    let (first, second) = (Issuer::ed(1), Issuer::ed(2));
    let keys = Arc::new(Mutex::new(json!({"keys": [first.jwk("first")]}).to_string()));
    let served = keys.clone();
    let provider = Double::start(move |_| match served.lock().unwrap().as_str() {
        "" => Reply::text(500, "down"),
        text => Reply::text(200, text.to_owned()),
    });
    let upstream = Double::mirror();
    let url = format!("http://{}/keys", provider.address());
    let with = |more: &str| {
        site(&upstream)
            .top(&format!("token_issuers: [{{ {ISSUER}, keys: {{ url: \"{url}\", refresh: 1h }} }}]{more}"))
    };
    let edge = Edge::start_in(folder, &with(""));
    let status =
        |issuer: &Issuer, kid: &str| bearer(&edge, &issuer.token(kid, &claims(json!({})))).get("/any").status;
    assert_eq!((status(&first, "first"), status(&second, "second")), (200, 401));
    // A token with a key that nobody knows has the set fetched again, well before its time.
    *keys.lock().unwrap() = json!({"keys": [second.jwk("second")]}).to_string();
    until("the second key", SOON, || (status(&second, "second") == 200).then_some(()));
    // What was found with the first key is forgotten with it.
    assert_eq!(status(&first, "first"), 401);
    // Nonsense and silence change nothing, and neither does a reload meanwhile.
    keys.lock().unwrap().clear();
    edge.reload(&with("\nlog: { level: info }"));
    assert_eq!(status(&second, "second"), 200);
    let labels = &[("source", "token_issuer:corp")];
    until("the failure", SOON, || {
        (edge.metrics().sum("openclaw_edge_key_source_failures_total", labels) > 0.5).then_some(())
    });
    assert_eq!(status(&second, "second"), 200);
}

#[test]
fn a_socket_lives_as_long_as_its_token() {
    let folder = Temp::new();
    let issuer = Issuer::ed(1);
    let gateway = EchoGateway::start();
    let plain = Site::new().gateway("ceo", "acme", gateway.address()).gateway_routes();
    let edge = Edge::start(&believing(plain.clone(), &folder, &[issuer.jwk("one")]));
    let socket = |token: &str| {
        open(edge.address(), "/gateways/ceo", &[("Authorization", &format!("Bearer {token}"))])
            .expect("an open socket")
    };
    let scope = json!({"scope": "gateways:connect"});
    let mut long = socket(&issuer.token("one", &claims(scope.clone())));
    // It has ended, but for the skew.
    let mut short =
        socket(&issuer.token("one", &claims(json!({"scope": "gateways:connect", "exp": now() - 18}))));
    assert_eq!(ask(&mut long, "here"), "here");
    assert_eq!(closed(&mut short).0, 1008);
    assert_eq!(ask(&mut long, "still here"), "still here");
    // The key is taken back.
    edge.reload(&believing(plain, &folder, &[Issuer::ed(2).jwk("two")]));
    assert_eq!(closed(&mut long).0, 1008);
}

#[test]
fn mistakes_about_issuers_have_their_places() {
    let folder = Temp::new();
    let upstream = Double::mirror();
    let file = folder.write("keys.json", json!({"keys": [Issuer::ed(1).jwk("one")]}).to_string());
    let weak =
        folder.write("weak.json", json!({"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}).to_string());
    let (file, weak) = (file.display().to_string(), weak.display().to_string());
    let entry = |keys: &str, rest: &str| {
        format!("id: corp, issuer: \"https://id.test\", keys: {{ file: \"{keys}\" }}, {rest}")
    };
    for (entries, message) in [
        (vec![entry(&file, "audience: [], tenant: acme")], "at least one audience is needed"),
        (vec![entry(&weak, "audience: [a], tenant: acme")], "key 0 of the set is weak"),
        (vec![entry("gone.json", "audience: [a], tenant: acme")], "it is not there"),
        (vec![entry(&file, "audience: [a]")], "one of `tenant` and `tenant_claim`"),
        (
            vec![entry(&file, "audience: [a], tenant: acme, tenant_claim: org")],
            "one of `tenant` and `tenant_claim`",
        ),
        (vec![entry(&file, "audience: [a], tenant_claim: org")], "a `tenant_claim` needs `tenants`"),
        (vec![entry(&file, "audience: [a], tenant: nobody")], "there is no tenant"),
        (vec![entry(&file, "audience: [a], tenant: acme, max_lifetime: 400d")], "is not between"),
        (
            vec![entry(&file, "audience: [a], tenant: acme, scope_claim: s, scope_map: { a: [b] }")],
            "is not among `scopes`",
        ),
        (vec![entry(&file, "audience: [a], tenant: acme"); 2], "this issuer stands here twice"),
        (
            vec![entry(&file, "audience: [a], tenant: acme").replace("corp", "of-ceo")],
            "two credentials or issuers",
        ),
    ] {
        let entries: Vec<String> = entries.iter().map(|one| format!("{{ {one} }}")).collect();
        let site = site(&upstream).top(&format!("token_issuers: [{}]", entries.join(", ")));
        let config = folder.write("edge.yaml", site.text(free_address(), free_address(), "/nowhere"));
        let output = run_edge(&["check", "--config", &config.display().to_string()]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(message), "{message}: {said}");
    }
}

#[test]
fn guessing_tokens_cools_an_address_down() {
    let folder = Temp::new();
    let upstream = Double::mirror();
    let site = believing(site(&upstream), &folder, &[Issuer::ed(1).jwk("one")]);
    let edge = Edge::start(&site.top("abuse: { spare: [] }"));
    let forged = Issuer::ed(2).token("one", &claims(json!({})));
    let caller = bearer(&edge, &forged);
    for _ in 0..60 {
        caller.get("/any").refused(401, "unauthorized");
    }
    // A few more may be let in as the first ones are forgotten.
    until("the pause", SOON, || (caller.get("/any").code() == "cooling_down").then_some(()));
}
