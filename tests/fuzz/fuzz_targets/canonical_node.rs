//! The canonical text beside what Node writes (`tests/it/reference/canonical.mjs`): any text, as far as coverage leads.
//!
//! Needs `node` on the PATH and the package's root as the working directory.
#![no_main]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use libfuzzer_sys::fuzz_target;
use openclaw_edge::signatures::{Malformed, sign::canonical_text};
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{LazyLock, Mutex};

/// One Node process that answers line for line, for as long as the fuzzer runs.
static NODE: LazyLock<Mutex<(ChildStdin, BufReader<ChildStdout>)>> = LazyLock::new(|| {
    let mut child = Command::new("node")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../it/reference/canonical.mjs"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node is on the PATH");
    let pipes = child.stdin.take().zip(child.stdout.take()).expect("both were asked for");
    Mutex::new((pipes.0, BufReader::new(pipes.1)))
});

fn ask(text: &str) -> String {
    let mut node = NODE.lock().expect("one thread fuzzes");
    writeln!(node.0, "{}", STANDARD.encode(text)).expect("node reads");
    let mut line = String::new();
    node.1.read_line(&mut line).expect("node answers");
    line
}

fuzz_target!(|body: &[u8]| {
    let Ok(text) = std::str::from_utf8(body) else {
        assert!(matches!(canonical_text(body), Err(Malformed::NotUtf8 { .. })));
        return;
    };
    let theirs = ask(text);
    match canonical_text(body) {
        Ok(ours) => assert_eq!(theirs, format!("text {}\n", STANDARD.encode(ours))),
        Err(Malformed::Syntax { .. }) => assert_eq!(theirs, "refused\n"),
        Err(Malformed::NotAnObject) => assert_eq!(theirs, "other\n"),
        // Refused here on purpose, wherever in the text it stands; Node may read on and find worse, or nothing.
        Err(
            Malformed::RepeatedName { .. }
            | Malformed::NumberRange { .. }
            | Malformed::TooDeep { .. }
            | Malformed::TooMany { .. }
            | Malformed::Prototype,
        ) => {}
        Err(other) => panic!("{other:?} of text that is UTF-8"),
    }
});
