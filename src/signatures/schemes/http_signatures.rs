//! HTTP message signatures (RFC 9421) with content digests (RFC 9530), Web Bot Auth included.
//!
//! The operator fixes what must be covered; a signature over less is refused, whatever it says of itself. The
//! algorithm is the key's, never the message's. Each component stands once, in lower case, and is there. Labels
//! must match exactly between the two fields. Ed25519 and HMAC-SHA256; no RSA, no ECDSA.

use super::super::delivery::{Claim, Delivery, Identity, MAX_CLAIMS, Proof, Statement, is_fresh};
use super::super::malformed::Malformed;
use super::super::mesh::{Failure, Reason};
use super::{Keys, Proved, digest, holds};
use crate::config::checked::{HmacAlgorithm, HttpSignatures, Signer, SignerKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sfv::{BareItem, Dictionary, FieldType as _, InnerList, Item, ListEntry, Parameters, Parser};
use std::collections::HashSet;
use std::fmt::Write as _;
use std::time::Duration;

/// Most components that one signature may cover.
const MAX_COMPONENTS: usize = 32;

/// One signature of the request, read but not yet believed.
#[derive(Debug)]
pub(super) struct Signed {
    /// The text that was signed (RFC 9421 section 2.5).
    pub(super) base: String,
    /// The signature.
    pub(super) sig: Vec<u8>,
    covered: Vec<String>,
    created: u64,
    expires: Option<u64>,
    key_id: String,
    algorithm: Option<String>,
}

/// Decides over a request: one of its signatures must do.
pub(super) fn verify(
    rules: &HttpSignatures,
    tolerance: Duration,
    delivery: &Delivery<'_>,
) -> Result<Proved, Failure> {
    let mut last = Failure::from(Reason::SignatureMissing);
    for signed in read(rules, delivery)? {
        match signed.and_then(|signed| judge(rules, tolerance, delivery, signed)) {
            Ok(proved) => return Ok(proved),
            Err(failure) => last = failure,
        }
    }
    Err(last)
}

/// The signatures that carry the tag that the operator wants.
pub(super) fn read(
    rules: &HttpSignatures,
    delivery: &Delivery<'_>,
) -> Result<Vec<Result<Signed, Failure>>, Failure> {
    let (inputs, _) = dictionary(delivery, "signature-input")?.ok_or(Reason::SignatureMissing)?;
    let (sigs, raw) = dictionary(delivery, "signature")?.ok_or(Reason::SignatureMissing)?;
    let mut found = Vec::new();
    for (label, entry) in inputs.iter().take(MAX_CLAIMS) {
        let ListEntry::InnerList(list) = entry else { return Err(Malformed::Field.into()) };
        let tag = text(&list.params, "tag")?;
        if rules.tag.is_some() && rules.tag != tag {
            continue;
        }
        found.push(match sigs.get(label.as_str()) {
            Some(ListEntry::Item(Item { bare_item: BareItem::ByteSequence(sig), .. })) => {
                // The field's grammar lets decoders overlook spare bits; here one signature has one spelling.
                if raw.contains(&format!(":{}:", STANDARD.encode(sig))) {
                    one(list, sig.clone(), delivery)
                } else {
                    Err(Reason::SignatureInvalid.into())
                }
            }
            Some(_) | None => Err(Malformed::Field.into()),
        });
    }
    Ok(found)
}

/// What a request says, for people who look at it.
pub(super) fn statement<'a>(
    rules: &HttpSignatures,
    delivery: &Delivery<'a>,
) -> Result<Statement<'a>, Failure> {
    let first = read(rules, delivery)?.into_iter().next().ok_or(Reason::SignatureMissing)?;
    let signed = first?;
    let signer = signer(rules, &signed)?;
    Ok(Statement {
        identity: identity(&signed),
        moment: Some(signed.created),
        claims: vec![Claim { proof: proof(signer), bytes: signed.sig }],
        texts: vec![vec![signed.base.into_bytes().into()]],
    })
}

fn judge(
    rules: &HttpSignatures,
    tolerance: Duration,
    delivery: &Delivery<'_>,
    signed: Signed,
) -> Result<Proved, Failure> {
    for component in &rules.components {
        let is_needed = component != "content-digest" || !delivery.body.is_empty();
        if is_needed && !signed.covered.iter().any(|covered| covered == component) {
            return Err(Malformed::Uncovered.into());
        }
    }
    let signer = signer(rules, &signed)?;
    if !is_timely(rules, tolerance, delivery.now_unix, &signed) {
        return Err(Reason::Stale.into());
    }
    let identity = identity(&signed);
    let statement = Statement {
        claims: vec![Claim { proof: proof(signer), bytes: signed.sig }],
        texts: vec![vec![signed.base.into_bytes().into()]],
        moment: None,
        identity,
    };
    let keys = match &signer.key {
        SignerKey::Ed25519(key) => Keys { secrets: &[], public: std::slice::from_ref(key) },
        SignerKey::HmacSha256(secret) => Keys { secrets: std::slice::from_ref(secret), public: &[] },
    };
    if !holds(&statement, keys) {
        return Err(Reason::SignatureInvalid.into());
    }
    if signed.covered.iter().any(|covered| covered == "content-digest") {
        digest::check(delivery)?;
    }
    Ok(Proved { identity, moment: Some(signed.created), key_id: Some(signed.key_id), setup: None })
}

/// Bots sign once for many requests and say until when; all others sign each request.
fn is_timely(rules: &HttpSignatures, tolerance: Duration, now: u64, signed: &Signed) -> bool {
    let is_over = signed.expires.is_some_and(|expires| expires < now);
    let begun = if rules.is_bot() {
        signed.expires.is_some() && signed.created <= now.saturating_add(tolerance.as_secs())
    } else {
        is_fresh(signed.created, now, tolerance)
    };
    begun && !is_over
}

fn identity(signed: &Signed) -> Identity {
    Identity::of([b"http-signatures".as_slice(), signed.base.as_bytes()])
}

fn proof(signer: &Signer) -> Proof {
    match signer.key {
        SignerKey::Ed25519(_) => Proof::Ed25519,
        SignerKey::HmacSha256(_) => Proof::Mac(HmacAlgorithm::Sha256),
    }
}

/// The key that a signature names, if what it says of its algorithm is true.
fn signer<'r>(rules: &'r HttpSignatures, signed: &Signed) -> Result<&'r Signer, Failure> {
    let signer = rules.signers.iter().find(|signer| signer.id == signed.key_id).ok_or(Reason::KeyUnknown)?;
    let name = match signer.key {
        SignerKey::Ed25519(_) => "ed25519",
        SignerKey::HmacSha256(_) => "hmac-sha256",
    };
    match &signed.algorithm {
        Some(stated) if stated != name => Err(Reason::SignatureInvalid.into()),
        Some(_) | None => Ok(signer),
    }
}

/// A field that is a dictionary, over as many lines as it has, and its text.
pub(super) fn dictionary(
    delivery: &Delivery<'_>,
    name: &str,
) -> Result<Option<(Dictionary, String)>, Failure> {
    let Some(raw) = joined(delivery, name)? else { return Ok(None) };
    let parsed = Parser::new(&raw).parse::<Dictionary>().map_err(|_| Malformed::Field)?;
    Ok(Some((parsed, raw)))
}

/// All values of a field, as RFC 9421 section 2.1 puts them together.
fn joined(delivery: &Delivery<'_>, name: &str) -> Result<Option<String>, Failure> {
    let mut all = String::new();
    for (at, value) in delivery.fields.get_all(name).iter().enumerate() {
        let value = value.to_str().map_err(|_| Malformed::Field)?;
        all.push_str(if at > 0 { ", " } else { "" });
        all.push_str(value.trim_matches([' ', '\t']));
    }
    Ok(delivery.fields.contains_key(name).then_some(all))
}

fn text(params: &Parameters, name: &str) -> Result<Option<String>, Failure> {
    match params.get(name) {
        None => Ok(None),
        Some(BareItem::String(text)) => Ok(Some(text.as_str().to_owned())),
        Some(_) => Err(Malformed::Field.into()),
    }
}

fn seconds(params: &Parameters, name: &str) -> Result<Option<u64>, Failure> {
    match params.get(name) {
        None => Ok(None),
        Some(BareItem::Integer(number)) => {
            u64::try_from(i64::from(*number)).map(Some).map_err(|_| Malformed::Moment.into())
        }
        Some(_) => Err(Malformed::Moment.into()),
    }
}

/// One signature and the text that it must be over.
fn one(list: &InnerList, sig: Vec<u8>, delivery: &Delivery<'_>) -> Result<Signed, Failure> {
    if list.items.len() > MAX_COMPONENTS {
        return Err(Malformed::Field.into());
    }
    let (base, covered) = base(list, delivery)?;
    Ok(Signed {
        base,
        sig,
        covered,
        created: seconds(&list.params, "created")?.ok_or(Malformed::Moment)?,
        expires: seconds(&list.params, "expires")?,
        key_id: text(&list.params, "keyid")?.ok_or(Malformed::Field)?,
        algorithm: text(&list.params, "alg")?,
    })
}

/// The text that a signature with this input is over: the other side's way to it.
pub(in crate::signatures) fn base_of(input: &str, delivery: &Delivery<'_>) -> Result<String, Failure> {
    let inputs = Parser::new(&format!("sig={input}")).parse::<Dictionary>().map_err(|_| Malformed::Field)?;
    match inputs.get("sig") {
        Some(ListEntry::InnerList(list)) => base(list, delivery).map(|(base, _)| base),
        Some(ListEntry::Item(_)) | None => Err(Malformed::Field.into()),
    }
}

/// The signature base (RFC 9421 section 2.5), and what it covers.
fn base(list: &InnerList, delivery: &Delivery<'_>) -> Result<(String, Vec<String>), Failure> {
    let mut base = String::new();
    let mut seen = HashSet::new();
    let mut covered = Vec::new();
    for item in &list.items {
        let BareItem::String(name) = &item.bare_item else { return Err(Malformed::Field.into()) };
        let name = name.as_str();
        let identifier = item.serialize();
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) || !seen.insert(identifier.clone()) {
            return Err(Malformed::Field.into());
        }
        let value = component(name, &item.params, delivery)?;
        // Writing to a String cannot fail.
        let _ = writeln!(base, "{identifier}: {value}");
        covered.push(name.to_owned());
    }
    let params = vec![ListEntry::InnerList(list.clone())].serialize().ok_or(Malformed::Field)?;
    let _ = write!(base, "\"@signature-params\": {params}");
    Ok((base, covered))
}

/// The value of one component (RFC 9421 section 2).
fn component(name: &str, params: &Parameters, delivery: &Delivery<'_>) -> Result<String, Failure> {
    let missing = || Failure::from(Malformed::Uncovered);
    if !name.starts_with('@') {
        return match (params.len(), text(params, "key")?) {
            (0, None) => joined(delivery, name)?.ok_or_else(missing),
            (1, Some(key)) => member(name, &key, delivery),
            // `bs`, `sf`, `tr` and `req` are for other messages than these.
            _ => Err(Malformed::Field.into()),
        };
    }
    if !params.is_empty() {
        return Err(Malformed::Field.into());
    }
    let (scheme, host) = delivery.origin.split_once("://").ok_or_else(missing)?;
    Ok(match name {
        "@method" => delivery.method.to_owned(),
        "@authority" => authority(scheme, host),
        "@scheme" => scheme.to_ascii_lowercase(),
        "@target-uri" => format!("{scheme}://{}{}", authority(scheme, host), delivery.target),
        "@request-target" => delivery.target.to_owned(),
        "@path" => delivery.path().to_owned(),
        "@query" => format!("?{}", delivery.query().unwrap_or_default()),
        _ => return Err(Malformed::Field.into()),
    })
}

/// Host in lower case, without the scheme's own port.
fn authority(scheme: &str, host: &str) -> String {
    let port = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
    host.strip_suffix(port).unwrap_or(host).to_ascii_lowercase()
}

/// One member of a dictionary.
fn member(name: &str, key: &str, delivery: &Delivery<'_>) -> Result<String, Failure> {
    let (fields, _) = dictionary(delivery, name)?.ok_or(Malformed::Uncovered)?;
    let entry = fields.get(key).ok_or(Malformed::Uncovered)?;
    vec![entry.clone()].serialize().ok_or_else(|| Malformed::Field.into())
}
