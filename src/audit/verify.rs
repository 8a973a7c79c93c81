//! Reads a file of the audit log from its beginning and says whether each line names the one before it.

use super::NONE_BEFORE;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::io::{self, BufRead};

/// What a whole file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Its lines.
    pub lines: u64,
    /// Lines that a crash cut short. The next line names them as they are.
    pub cut: Vec<u64>,
    /// The SHA-256 of the last line, hex: kept elsewhere, it shows later that nothing before it was taken away.
    pub last: String,
    /// Whether a line has the hash that was asked for; none when none was.
    pub holds: Option<bool>,
}

/// Where a file does not hold.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// It cannot be read.
    #[error("it cannot be read")]
    Read(#[from] io::Error),
    /// A line does not name the one before it: something was changed, put in or taken out there.
    #[error(
        "line {line} does not name the line before it: one of the two was changed, or lines between them are gone"
    )]
    Chain {
        /// Counted from 1.
        line: u64,
    },
    /// Text that no crash leaves: the last line, or one after which the chain goes on, is all that may be cut.
    #[error("line {line} is no entry, and no crash leaves such a line")]
    Form {
        /// Counted from 1.
        line: u64,
    },
}

#[derive(Deserialize)]
struct Link {
    prev: String,
}

/// Reads all of it. `expected` is the hash of a line that must be in it (hex).
///
/// # Errors
/// The first [`Broken`] line.
pub fn verify(mut file: impl BufRead, expected: Option<&str>) -> Result<Verified, Broken> {
    let mut seen =
        Verified { lines: 0, cut: Vec::new(), last: String::new(), holds: expected.map(|_| false) };
    let mut before = NONE_BEFORE;
    let mut line = Vec::new();
    while file.read_until(b'\n', &mut line)? > 0 {
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        seen.lines += 1;
        match serde_json::from_slice::<Link>(&line) {
            Ok(link) if link.prev == hex::encode(before) => {}
            Ok(_) => return Err(Broken::Chain { line: seen.lines }),
            // The beginning of an entry and never its end.
            Err(error) if error.is_eof() && line.first().is_none_or(|byte| *byte == b'{') => {
                seen.cut.push(seen.lines);
            }
            Err(_) => return Err(Broken::Form { line: seen.lines }),
        }
        before = Sha256::digest(&line).into();
        seen.last = hex::encode(before);
        if expected.is_some_and(|expected| expected.eq_ignore_ascii_case(&seen.last)) {
            seen.holds = Some(true);
        }
        line.clear();
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::super::{Audit, Entry};
    use super::*;
    use crate::ids::TenantId;
    use proptest::prelude::*;

    /// A file with this many lines.
    fn file(name: &str, lines: usize) -> Vec<u8> {
        let folder = std::env::temp_dir().join(format!("audit-verify-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let audit = Audit::new(folder.clone());
        let acme = TenantId::parse("acme").unwrap();
        for at in 0..lines {
            audit
                .append(
                    &acme,
                    &Entry { event: "decision", approval: Some(at.to_string()), ..Entry::default() },
                )
                .unwrap();
        }
        let bytes = std::fs::read(folder.join("acme.ndjson")).unwrap();
        std::fs::remove_dir_all(folder).unwrap();
        bytes
    }

    #[test]
    fn a_whole_file_holds_and_names_its_last_line() {
        let whole = file("whole", 5);
        let seen = verify(&*whole, None).unwrap();
        assert_eq!((seen.lines, &seen.cut, seen.holds), (5, &Vec::new(), None));
        assert_eq!(verify(&*whole, Some(&seen.last)).unwrap().holds, Some(true));
        // A file that lost its end holds, and does not have what it had.
        let end = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap();
        let shorter = verify(&whole[..=end], Some(&seen.last)).unwrap();
        assert_eq!((shorter.lines, shorter.holds), (4, Some(false)));
        assert_eq!(verify(&b""[..], None).unwrap().lines, 0);
    }

    #[test]
    fn a_line_that_is_gone_put_in_or_put_elsewhere_is_found() {
        let whole = file("moved", 4);
        let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
        for (order, broken) in
            [(vec![0, 2, 3], 2), (vec![1, 2, 3], 1), (vec![0, 1, 1, 2], 3), (vec![0, 2, 1, 3], 2)]
        {
            let text = order.iter().map(|at| lines[*at]).collect::<Vec<_>>().concat();
            match verify(&*text, None) {
                Err(Broken::Chain { line }) => assert_eq!(line, broken, "{order:?}"),
                other => panic!("{order:?}: {other:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn no_byte_of_a_line_that_others_follow_can_be_changed(place in 0_usize..100_000, to in 0_u8..=255) {
            let mut text = file(&format!("p{place}-{to}"), 3);
            let end = text.len() - 1;
            let last = text[..end].iter().rposition(|byte| *byte == b'\n').unwrap();
            let place = place % last;
            prop_assume!(text[place] != to);
            text[place] = to;
            prop_assert!(verify(&*text, None).is_err());
        }
    }
}
