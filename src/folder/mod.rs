//! The files of a folder that a route serves: which file a path means, in which of its forms the client
//! takes it, and what is said of it.
//!
//! Files are opened by their path below the folder's descriptor, never by a path of the whole machine, so
//! nothing leads out of the folder: no dot segment, no link, however it is spelt. What is open is then asked what it
//! is. This room knows no socket, no route and no caller.

mod codings;
mod conditions;
mod name;

pub use codings::{Coding, Codings};
pub use conditions::{Conditions, Verdict, Version};

use crate::config::checked::Folder;
use bytes::Bytes;
use cap_fs_ext::OpenOptionsSyncExt as _;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};
use conditions::Ranged;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom};
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes of a file that are in memory at once.
pub const PIECE: usize = 64 * 1024;
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const BYTES: HeaderValue = HeaderValue::from_static("bytes");

/// What a client asks of a folder.
#[derive(Debug)]
pub struct Request {
    below: String,
    is_whole: bool,
    codings: Codings,
    conditions: Conditions,
}

impl Request {
    /// `below` is the path behind the route's own, as it came: one that the path guard has let through.
    #[must_use]
    pub fn new(below: &str, method: &Method, fields: &HeaderMap) -> Self {
        Self {
            below: below.to_owned(),
            // Ranges are a matter of GET (RFC 9110 section 14.2).
            is_whole: *method != Method::GET,
            codings: Codings::of(fields),
            conditions: Conditions::of(fields),
        }
    }
}

/// What a folder has for a path.
#[derive(Debug)]
pub enum Found {
    /// This.
    Answer(Answer),
    /// A folder with a page: it is below the same path with a slash at its end.
    Folder,
    /// Nothing that is shown.
    Nothing,
    /// The client has asked for another version than there is.
    OtherVersion,
    /// The client has asked for a range beyond the end of this many bytes.
    BeyondEnd(u64),
}

/// A file, or that the client has it already.
#[derive(Debug)]
pub struct Answer {
    /// 200, 206 or 304.
    pub status: StatusCode,
    /// All that is said of it.
    pub fields: HeaderMap,
    /// Its bytes; none with 304.
    pub body: Option<Body>,
}

/// Why a folder has no answer.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The folder itself cannot be opened.
    #[error("the folder cannot be opened")]
    Root(#[source] io::Error),
    /// A file of it cannot be read, though it is there.
    #[error("a file of the folder cannot be read")]
    File(#[from] io::Error),
}

/// Looks for what a path means. Blocks on the disk. `now` bounds what is told of a file's time.
///
/// # Errors
/// [`FolderError`]: what is wrong here and not with the request.
pub fn find(folder: &Folder, request: &Request, now: SystemTime) -> Result<Found, FolderError> {
    // Opened anew each time: whoever deploys may have put another folder, or another link, in its place.
    let root = Dir::open_ambient_dir(&folder.root, ambient_authority()).map_err(FolderError::Root)?;
    let Some(path) = name::in_folder(&request.below) else { return Ok(Found::Nothing) };
    let is_folder = path.is_empty() || path.ends_with('/');
    let name = if is_folder { format!("{path}{}", folder.index) } else { path.clone() };
    match open(&root, &name)? {
        Opened::File(file, known) => answer(folder, request, &root, (name, file, known), now),
        Opened::Folder if !is_folder && has_page(folder, &root, &path)? => Ok(Found::Folder),
        Opened::Folder | Opened::Nothing => match folder.fallback.clone().filter(|_| name::is_page(&path)) {
            Some(name) => match open(&root, &name)? {
                Opened::File(file, known) => answer(folder, request, &root, (name, file, known), now),
                Opened::Folder | Opened::Nothing => Ok(Found::Nothing),
            },
            None => Ok(Found::Nothing),
        },
    }
}

/// What is at a path.
enum Opened {
    File(File, Metadata),
    Folder,
    Nothing,
}

fn open(root: &Dir, name: &str) -> io::Result<Opened> {
    let mut options = OpenOptions::new();
    // Opening a pipe would wait for someone who writes.
    options.read(true).nonblock(true);
    let file = match root.open_with(name, &options) {
        Ok(file) => file.into_std(),
        Err(error) if is_nothing(&error) => return Ok(Opened::Nothing),
        Err(error) => return Err(error),
    };
    let known = file.metadata()?;
    Ok(match known.file_type() {
        kind if kind.is_file() => Opened::File(file, known),
        kind if kind.is_dir() => Opened::Folder,
        _ => Opened::Nothing,
    })
}

/// What clients cannot have because of what they asked for; a link out of the folder is "permission denied".
fn is_nothing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound
            | ErrorKind::PermissionDenied
            | ErrorKind::NotADirectory
            | ErrorKind::InvalidFilename
            | ErrorKind::InvalidInput
    ) || matches!(error.raw_os_error(), Some(NO_DEVICE | LOOP))
}

/// ENXIO: a socket, or a device that is none.
const NO_DEVICE: i32 = 6;
/// ELOOP: links that lead to each other.
const LOOP: i32 = 40;

fn has_page(folder: &Folder, root: &Dir, path: &str) -> io::Result<bool> {
    Ok(matches!(open(root, &format!("{path}/{}", folder.index))?, Opened::File(..)))
}

fn answer(
    folder: &Folder,
    request: &Request,
    root: &Dir,
    (name, file, known): (String, File, Metadata),
    now: SystemTime,
) -> Result<Found, FolderError> {
    let (file, known, coding) = smallest(root, &name, (file, known), request.codings)?;
    let version = Version { tag: tag(&known, coding), modified: told(&known, now) };
    let mut fields = HeaderMap::with_capacity(16);
    version.write(&mut fields);
    fields.insert(header::CACHE_CONTROL, folder.cache_control.clone());
    fields.insert(header::VARY, HeaderValue::from_name(header::ACCEPT_ENCODING));
    match request.conditions.judge(&version) {
        Verdict::Send => {}
        Verdict::NotModified => {
            return Ok(Found::Answer(Answer { status: StatusCode::NOT_MODIFIED, fields, body: None }));
        }
        Verdict::OtherVersion => return Ok(Found::OtherVersion),
    }
    let length = known.len();
    let ranged = if request.is_whole { Ranged::Whole } else { request.conditions.range(&version, length) };
    let (status, from, left) = match ranged {
        Ranged::Whole => (StatusCode::OK, 0, length),
        Ranged::Part(first, last) => {
            if let Ok(value) = HeaderValue::try_from(format!("bytes {first}-{last}/{length}")) {
                fields.insert(header::CONTENT_RANGE, value);
            }
            (StatusCode::PARTIAL_CONTENT, first, last - first + 1)
        }
        Ranged::BeyondEnd => return Ok(Found::BeyondEnd(length)),
    };
    fields.insert(header::ACCEPT_RANGES, BYTES);
    fields.insert(header::CONTENT_TYPE, kind(&name));
    fields.insert(header::CONTENT_LENGTH, HeaderValue::from(left));
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    if let Some(coding) = coding {
        fields.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.word()));
    }
    let body = Some(Body::new(file, from, left)?);
    Ok(Found::Answer(Answer { status, fields, body }))
}

/// The file, or what lies beside it compressed, where the client takes that. One that is older than the
/// file is of another version of it.
fn smallest(
    root: &Dir,
    name: &str,
    (file, known): (File, Metadata),
    codings: Codings,
) -> io::Result<(File, Metadata, Option<Coding>)> {
    for coding in codings.wanted() {
        if let Opened::File(packed, its) = open(root, &format!("{name}{}", coding.ending()))?
            && its.modified()? >= known.modified()?
        {
            return Ok((packed, its, Some(coding)));
        }
    }
    Ok((file, known, None))
}

/// A text that is another whenever the bytes are. The time of the last change is in it, since the time of the
/// last writing is what the writer says: images of containers often have one date on all files.
fn tag(known: &Metadata, coding: Option<Coding>) -> String {
    use std::os::unix::fs::MetadataExt as _;
    let length = known.len();
    let (written, changed) = (known.mtime(), known.ctime());
    let (written_nanos, changed_nanos) = (known.mtime_nsec(), known.ctime_nsec());
    let ending = coding.map_or("", Coding::ending);
    format!("\"{length:x}-{written:x}.{written_nanos:x}-{changed:x}.{changed_nanos:x}{ending}\"")
}

/// The time of the last writing, where a server may tell it (RFC 9110 section 8.8.2.1).
fn told(known: &Metadata, now: SystemTime) -> Option<SystemTime> {
    known.modified().ok().filter(|time| (UNIX_EPOCH..=now).contains(time))
}

/// What a file is, by the ending of its name; never guessed from what is in it.
#[must_use]
pub fn kind(name: &str) -> HeaderValue {
    let kind = match mime_guess::from_path(name).first_raw().unwrap_or("application/octet-stream") {
        // RFC 9239 section 6: what the table calls modules by is obsolete.
        "application/javascript" => "text/javascript",
        kind => kind,
    };
    let text = if kind.starts_with("text/") { format!("{kind}; charset=utf-8") } else { kind.to_owned() };
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

/// The bytes of an answer, in pieces.
#[derive(Debug)]
pub struct Body {
    file: File,
    left: u64,
}

impl Body {
    fn new(mut file: File, from: u64, left: u64) -> io::Result<Self> {
        if from > 0 {
            file.seek(SeekFrom::Start(from))?;
        }
        Ok(Self { file, left })
    }

    /// Whether all of it was read.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.left == 0
    }

    /// The next piece. Blocks on the disk.
    ///
    /// # Errors
    /// Where the disk fails, and where the file has become shorter than was said.
    pub fn piece(&mut self) -> io::Result<Bytes> {
        let most = usize::try_from(self.left).unwrap_or(PIECE).min(PIECE);
        let mut piece = vec![0; most];
        self.file.read_exact(&mut piece)?;
        self.left -= most as u64;
        Ok(Bytes::from(piece))
    }
}

#[cfg(test)]
mod tests;
