//! What lies on the machine: who may read and write what, and whether there is room for more.

use super::finding::Findings;
use crate::config::checked::Config;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Bits for everybody but the owner.
const OTHERS: u32 = 0o077;
/// Bits that let others write.
const WRITE: u32 = 0o022;
/// Least room that anything can be done with.
const LEAST: u64 = 64 << 20;
/// From here on down it is time for more.
const LITTLE: u64 = 1 << 30;

pub(super) fn look(config: &Config, findings: &mut Findings) {
    for file in &config.files {
        config_file(file, findings);
    }
    data(&config.data, findings);
    room(&config.data, findings);
}

/// Whoever writes the config decides who is let in. Secrets that others can read are refused by the check.
fn config_file(file: &Path, findings: &mut Findings) {
    let name = file.display().to_string();
    let Ok(about) = std::fs::metadata(file) else { return };
    if about.mode() & WRITE != 0 && about.is_file() {
        let text = format!("others than its owner may write to it (mode {:o})", about.mode() & 0o777);
        findings.bad("files", &name, text, format!("chmod go-w {name}"));
    }
}

fn data(data: &Path, findings: &mut Findings) {
    let name = data.display().to_string();
    match std::fs::metadata(data) {
        Ok(about) if !about.is_dir() => {
            findings.bad("files", &name, "`data` is no folder", "take the file away, or name another folder");
        }
        Ok(about) if about.mode() & OTHERS != 0 => {
            let text = format!(
                "others may look into what the edge keeps: deliveries, devices' keys (mode {:o})",
                about.mode() & 0o777
            );
            findings.bad("files", &name, text, format!("chmod 700 {name}"));
        }
        Ok(_) => findings.good("files", &name, "only its owner looks into it"),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let advice =
                "nothing where the edge has not run yet; else look whether `data` is the folder that it uses";
            findings.look("files", &name, "is not there", advice);
        }
        Err(error) => {
            findings.look("files", &name, error.to_string(), "run the doctor as the edge's user");
        }
    }
}

fn room(data: &Path, findings: &mut Findings) {
    let Ok(about) = rustix::fs::statvfs(data) else { return };
    let free = about.f_bavail.saturating_mul(about.f_frsize);
    judge(free, &data.display().to_string(), findings);
}

fn judge(free: u64, name: &str, findings: &mut Findings) {
    let text = format!("{} MiB are free", free >> 20);
    let advice = "make room: quotas, deliveries and the store refuse what they cannot write down";
    match free {
        ..LEAST => findings.bad("disk", name, text, advice),
        LEAST..LITTLE => findings.look("disk", name, text, advice),
        LITTLE.. => findings.good("disk", name, text),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    #[test]
    fn little_room_is_told_before_there_is_none() {
        for (free, state) in
            [(0, State::Bad), (LEAST - 1, State::Bad), (LEAST, State::Look), (LITTLE, State::Good)]
        {
            let mut findings = Findings::default();
            judge(free, "data", &mut findings);
            assert_eq!(findings.count(state), 1, "{free}");
        }
    }
}
