//! Any bytes as a path: what is taken as clean has no dot segments, however it is decoded.

use openclaw_edge::identity::path::examine;

/// The claim, for these bytes.
pub(super) fn hold(path: &[u8]) {
    // Where a slash is encoded, the route says whether it may be.
    if examine(path).is_ok_and(|clean| !clean.encoded_slash) {
        let decoded: Vec<u8> = percent_encoding::percent_decode(path).collect();
        assert!(decoded.split(|&byte| byte == b'/').all(|segment| segment != b".." && segment != b"."));
        assert!(!decoded.contains(&0) && !decoded.contains(&b'\\'));
    }
}
