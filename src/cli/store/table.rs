//! Tables for terminals: columns as wide as what is in them, heads in bold where there are colours.

use std::io::IsTerminal as _;
use unicode_width::UnicodeWidthStr as _;

/// Widest that a column gets; longer texts are cut.
const WIDEST: usize = 60;

/// On which side a column's texts stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    /// Texts.
    Left,
    /// Numbers.
    Right,
}

/// A table, with a line end after each row.
pub(super) fn table(names: &[&str], aligns: &[Align], rows: &[Vec<String>]) -> String {
    let shown: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| one_line(cell)).collect()).collect();
    let widths: Vec<usize> = (0..names.len())
        .map(|at| shown.iter().map(|row| row[at].width()).chain([names[at].width()]).max().unwrap_or(0))
        .collect();
    let mut out = String::new();
    let head: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    out.push_str(&bold(&line(&head, &widths, aligns)));
    out.push('\n');
    for row in &shown {
        out.push_str(&line(row, &widths, aligns));
        out.push('\n');
    }
    out
}

fn line(cells: &[String], widths: &[usize], aligns: &[Align]) -> String {
    let mut out = String::new();
    for ((cell, &width), align) in cells.iter().zip(widths).zip(aligns) {
        let room = " ".repeat(width.saturating_sub(cell.width()));
        match align {
            Align::Left => out.extend([cell.as_str(), &room]),
            Align::Right => out.extend([room.as_str(), cell]),
        }
        out.push_str("  ");
    }
    out.trim_end().to_owned()
}

/// Control characters could move the cursor or change colours: a stored text does neither.
fn one_line(text: &str) -> String {
    let mut out = String::new();
    let mut width = 0;
    for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        let mut buffer = [0; 4];
        width += c.encode_utf8(&mut buffer).width();
        if width >= WIDEST {
            out.push('…');
            break;
        }
        out.push(c);
    }
    out
}

/// Whether standard output shows colours.
pub(super) fn has_colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

fn bold(text: &str) -> String {
    if has_colours() { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them_and_no_text_leaves_its_line() {
        let rows = vec![
            vec!["日本".to_owned(), "7".to_owned()],
            vec!["a\n\u{1b}[31mb".to_owned(), "1234".to_owned()],
        ];
        let told = table(&["name", "n"], &[Align::Left, Align::Right], &rows);
        assert_eq!(told, "name         n\n日本         7\na  [31mb  1234\n");
        assert!(one_line(&"x".repeat(500)).chars().count() == WIDEST);
    }
}
