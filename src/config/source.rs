//! YAML text as a tree in which every node and every key knows where it stands.
//!
//! The subset is strict: one document, plain text keys, no key twice, no tags, no merges, YAML 1.2
//! words only (`off` is text). Size, depth and the number of nodes are bounded, aliases included.
//! This file does not know what a config looks like.

use super::checker::Checker;
use super::interpolate::{self, Filled};
use super::problems::{Location, Problem, Problems, printable};
use super::tree::{Entry, Kind, Node};
use serde_yaml::granit_parser::{
    ErrorKind, Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput, options,
};
use std::collections::HashMap;
use std::path::Path;

/// Deepest nesting; a config needs six.
const MAX_DEPTH: usize = 64;
/// Most nodes after aliases are put in: far beyond any config, and little memory.
const MAX_NODES: usize = 400_000;

/// Reads a file of bounded size as text.
///
/// # Errors
/// One problem: not there, not readable, too large, not text.
pub(super) fn read_file(path: &Path) -> Result<String, Problems> {
    let name = path.display().to_string();
    let fail = |at: Location, message: String, hint: Option<&str>| {
        let (file, Location { line, column }) = (name.as_str().into(), at);
        Problems::new(vec![Problem { file, line, column, message, hint: hint.map(Into::into) }])
    };
    let whole = Location::default();
    let bytes = match super::secrets::read_bounded(path, super::MAX_BYTES) {
        Ok(bytes) => bytes,
        Err(error) => return Err(fail(whole, format!("this file {error}"), None)),
    };
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let at = end_of(&String::from_utf8_lossy(good));
        fail(at, "this is not UTF-8 text".into(), Some("is this the right file?"))
    })
}

/// The place just after `text`.
fn end_of(text: &str) -> Location {
    let line = 1 + text.matches('\n').count();
    let column = 1 + text.rsplit('\n').next().map_or(0, |last| last.chars().count());
    Location { line, column }
}

/// Parses one document. `None` when there is nothing to go on with; the problems say why.
pub(super) fn parse(
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
    problems: &mut Checker,
) -> Option<Node> {
    if text.len() > super::MAX_BYTES {
        problems.problem(Location::default(), "this file is larger than 4 MiB");
        return None;
    }
    let odd = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r');
    if let Some(at) = text.find(odd) {
        let at = end_of(&text[..at]);
        problems.hinted(at, "a control character; this is not YAML text", "is this the right file?");
        return None;
    }
    let limits = options! {
        emit_comments: false,
        emit_unresolved_aliases: true,
        disallow_directives: true,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let parser = Parser::new_from_str_with_options(text, limits);
    Builder { text, parser, env, problems, anchors: HashMap::new(), nodes: 0 }.document()
}

/// The parse is over: the rest cannot be understood, or is too much. The problem has been told.
struct Over;

struct Builder<'t, 'c> {
    text: &'t str,
    parser: Parser<'t, StrInput<'t>>,
    env: &'c dyn Fn(&str) -> Option<String>,
    problems: &'c mut Checker,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl<'t> Builder<'t, '_> {
    fn document(mut self) -> Option<Node> {
        let mut root = None;
        loop {
            let Ok((event, span)) = self.next() else { return None };
            match event {
                Event::StreamEnd => break,
                Event::DocumentStart(..) if root.is_some() => {
                    let at = location(span.start);
                    self.problems.hinted(at, "a second document begins here", "one file, one document");
                    return None;
                }
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                other => root = Some(self.node(other, span, 0).ok()?),
            }
        }
        match root {
            Some(Node { kind: Kind::Null, .. }) | None => {
                self.problems.problem(Location { line: 1, column: 1 }, "this file is empty");
                None
            }
            root => root,
        }
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), Over> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => {
                self.tell_scan_error(&error);
                Err(Over)
            }
            None => Ok((Event::StreamEnd, Span::empty(Marker::new(0, 1, 0)))),
        }
    }

    fn tell_scan_error(&mut self, error: &ScanError) {
        let at = location(*error.marker());
        match error.kind() {
            ErrorKind::RecursionLimitExceeded => {
                self.problems.problem(at, format!("more than {MAX_DEPTH} levels deep"));
            }
            ErrorKind::TabNotAllowed
            | ErrorKind::TabInBlockIndentation
            | ErrorKind::TabInIndentation
            | ErrorKind::TabInPlainScalar => {
                let at = self.tab_before(at);
                self.problems.hinted(at, "a tab where YAML allows none", "indent with spaces");
            }
            _ => self.problems.problem(at, format!("this is not YAML: {}", error.info())),
        }
    }

    /// The parser stops behind a tab; the operator looks for the tab itself.
    fn tab_before(&self, at: Location) -> Location {
        let line = self.text.split('\n').nth(at.line.saturating_sub(1)).unwrap_or_default();
        let tab = line.chars().take(at.column).enumerate().filter(|(_, c)| *c == '\t').last();
        Location { column: tab.map_or(at.column, |(index, _)| index + 1), ..at }
    }

    /// Counts a node and refuses what is too deep or too much.
    fn count(&mut self, at: Location, depth: usize) -> Result<(), Over> {
        self.nodes += 1;
        if depth > MAX_DEPTH {
            self.problems.problem(at, format!("more than {MAX_DEPTH} levels deep"));
            return Err(Over);
        }
        if self.nodes > MAX_NODES {
            let message = format!("more than {MAX_NODES} values, with aliases put in");
            self.problems.problem(at, message);
            return Err(Over);
        }
        Ok(())
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, Over> {
        let at = location(span.start);
        self.count(at, depth)?;
        if event.tag().is_some() {
            let at = span.tag_start().map_or(at, location);
            self.problems.hinted(at, "a YAML tag", "leave it out: the key says what the value is");
        }
        let anchor = event.anchor_id();
        let node = match event {
            Event::Scalar(text, style, ..) => self.scalar(&text, style, at),
            Event::SequenceStart(..) => self.list(at, depth)?,
            Event::MappingStart(..) => self.map(at, depth)?,
            Event::Alias(id) => return self.alias(id, at, depth),
            Event::UnresolvedAlias(_) => {
                self.problems.problem(at, "an alias of an anchor that is not there");
                Node::new(at, Kind::Broken)
            }
            _ => {
                self.problems.problem(at, "this is not YAML: a value was expected");
                return Err(Over);
            }
        };
        if let Some(id) = anchor {
            // The copy that is kept counts too, or anchors within anchors would be a bomb of their own.
            self.count_below(&node, at, depth)?;
            self.anchors.insert(id, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, at: Location, depth: usize) -> Result<Node, Over> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => break,
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
        Ok(Node::new(at, Kind::List(items)))
    }

    fn map(&mut self, at: Location, depth: usize) -> Result<Node, Over> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen: HashMap<String, Location> = HashMap::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let key_at = location(span.start);
            let key = self.key(event, span, depth)?;
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            let Some(key) = key else { continue };
            if let Some(first) = seen.get(&key) {
                let message =
                    format!("`{}` stands here twice; first on line {}", printable(&key), first.line);
                self.problems.problem(key_at, message);
                continue;
            }
            seen.insert(key.clone(), key_at);
            entries.push(Entry { key, key_at, value });
        }
        Ok(Node::new(at, Kind::Map(entries)))
    }

    /// A key is plain text; anything else is told, and its value passed over.
    fn key(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Option<String>, Over> {
        let at = location(span.start);
        match event {
            Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<" => {
                self.problems.hinted(at, "a merge", "write the keys out");
                Ok(None)
            }
            Event::Scalar(text, _, 0, None) if !text.is_empty() => {
                self.count(at, depth)?;
                Ok(Some(text.into_owned()))
            }
            other => {
                self.problems.hinted(at, "this is no key", "a key is one plain word");
                self.node(other, span, depth + 1)?;
                Ok(None)
            }
        }
    }

    fn alias(&mut self, id: usize, at: Location, depth: usize) -> Result<Node, Over> {
        let Some(node) = self.anchors.get(&id).cloned() else {
            self.problems.problem(at, "an alias inside the value that it stands for");
            return Ok(Node::new(at, Kind::Broken));
        };
        self.count_below(&node, at, depth)?;
        Ok(Node { at, ..node })
    }

    fn count_below(&mut self, node: &Node, at: Location, depth: usize) -> Result<(), Over> {
        match &node.kind {
            Kind::Broken | Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => Ok(()),
            Kind::List(items) => items.iter().try_for_each(|item| {
                self.count(at, depth + 1)?;
                self.count_below(item, at, depth + 1)
            }),
            Kind::Map(entries) => entries.iter().try_for_each(|entry| {
                self.count(at, depth + 1)?;
                self.count_below(&entry.value, at, depth + 1)
            }),
        }
    }

    /// Puts the environment in, then decides what plain text means. Single quotes keep text as it is.
    fn scalar(&mut self, text: &str, style: ScalarStyle, at: Location) -> Node {
        let open = matches!(style, ScalarStyle::Plain | ScalarStyle::DoubleQuoted);
        let (text, interpolated) = match open.then(|| interpolate::fill(text, self.env)) {
            None | Some(Ok(Filled::Unchanged)) => (text.to_owned(), false),
            Some(Ok(Filled::Unescaped(text))) => (text, false),
            Some(Ok(Filled::FromEnvironment(text))) => (text, true),
            Some(Err(error)) => {
                self.problems.hinted(at, error.to_string(), error.hint());
                return Node::new(at, Kind::Broken);
            }
        };
        let kind = match style {
            ScalarStyle::Plain => plain(text),
            _ => Kind::Text(text),
        };
        Node { interpolated, ..Node::new(at, kind) }
    }
}

/// What plain text means by the core schema of YAML 1.2, less octal and hexadecimal numbers.
fn plain(text: String) -> Kind {
    match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => return Kind::Null,
        "true" | "True" | "TRUE" => return Kind::Bool(true),
        "false" | "False" | "FALSE" => return Kind::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(&text);
    let starts_as_number = digits.starts_with(|c: char| c.is_ascii_digit());
    let whole = starts_as_number && digits.bytes().all(|b| b.is_ascii_digit());
    if whole && let Ok(number) = text.parse::<u64>() {
        return Kind::Number(number.into());
    }
    if whole && let Ok(number) = text.parse::<i64>() {
        return Kind::Number(number.into());
    }
    let number_like =
        digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'-' | b'+'));
    if starts_as_number
        && number_like
        && let Some(number) = text.parse().ok().and_then(serde_json::Number::from_f64)
    {
        return Kind::Number(number);
    }
    Kind::Text(text)
}

fn location(mark: Marker) -> Location {
    Location { line: mark.line(), column: mark.col() + 1 }
}
