//! Any bytes as a request head: what the guard takes, a parser reads with the same method, target and fields.

use openclaw_edge::identity::head::{Bounds, Progress, examine};

const BOUNDS: Bounds = Bounds { max_bytes: 16 * 1024, max_fields: 64 };

/// The claim, for these bytes.
pub(super) fn hold(bytes: &[u8]) {
    let Ok(Progress::Whole { len }) = examine(bytes, BOUNDS) else { return };
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut fields);
    assert_eq!(request.parse(&bytes[..len]), Ok(httparse::Status::Complete(len)));
    assert!(request.path.is_some_and(|path| path.starts_with('/')));
    let lengths = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("content-length"));
    let codings = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("transfer-encoding"));
    assert!(lengths.count() + codings.count() < 2);
    let hosts = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("host"));
    assert!(hosts.count() == 1 || request.version == Some(0));
}
