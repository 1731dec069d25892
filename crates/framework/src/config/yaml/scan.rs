//! Reads a text that is no YAML as YAML was meant, line by line, to find what is wrong with it and where.
//!
//! A parser stops where it cannot go on, often a line behind the mistake. This one keeps in which column each
//! mapping and list began, and where each bracket and quote was opened, so that it can tell what stands in
//! the way. It is not needed for a file that YAML takes, and never decides whether it does.

use super::characters::{is_litter, is_odd_space, like};
use super::mistake::{Kind, Mistake, key_meant, surely};

/// So many characters of one file are told.
const MOST: usize = 20;

/// What an item of a level is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Keys,
    Items,
}

/// A mapping or a list: the column in which it began, and its last key or dash.
#[derive(Debug, Clone, Copy)]
struct Level {
    column: usize,
    of: Of,
    last: usize,
}

/// What may come below what was read last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    /// Anything deeper: a key or a dash has no value yet.
    Open,
    /// More of a text without quotes, deeper than this column.
    Text(usize),
    /// Nothing deeper.
    Whole,
}

/// The mistake is found: what comes behind it would be read wrongly.
pub(super) struct Stop;

/// Where to go on.
pub(super) type Read<T> = Result<T, Stop>;

/// The reader.
pub(super) struct Scan<'a> {
    pub(super) text: &'a str,
    pub(super) found: Vec<Mistake>,
    levels: Vec<Level>,
    after: After,
    /// Words on a line of their own, and their column: a value, unless a key follows in this column.
    words: Option<(usize, Mistake)>,
}

/// What is wrong with a text, in its order. Only the last may have been taken for one by mistake.
pub(super) fn mistakes(text: &str) -> Vec<Mistake> {
    let mut scan = Scan { text, found: Vec::new(), levels: Vec::new(), after: After::Open, words: None };
    let mut at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    while at < text.len() {
        match scan.line(at) {
            Ok(end) => at = scan.next_line(end),
            Err(Stop) => break,
        }
    }
    scan.found
}

impl Scan<'_> {
    /// The rest of the line from `at`.
    pub(super) fn rest(&self, at: usize) -> &str {
        let rest = self.text.get(at..).unwrap_or_default();
        rest.split(['\n', '\r']).next().unwrap_or_default()
    }

    pub(super) fn char(&self, at: usize) -> Option<char> {
        self.text.get(at..).and_then(|rest| rest.chars().next())
    }

    /// Where the next line begins.
    pub(super) fn next_line(&self, at: usize) -> usize {
        let end = at + self.rest(at).len();
        let rest = self.text.get(end..).unwrap_or_default();
        end + if rest.starts_with("\r\n") { 2 } else { usize::from(!rest.is_empty()) }
    }

    /// Keeps a mistake behind which everything would be read wrongly.
    pub(super) fn stop<T>(&mut self, mistake: Mistake) -> Read<T> {
        self.found.push(mistake);
        Err(Stop)
    }

    /// Keeps a character that is read as what it looks like.
    pub(super) fn odd(&mut self, at: usize, c: char) -> Read<()> {
        if let Some(last) = self.found.last_mut()
            && last.kind == Kind::Odd(c)
            && last.end == at
        {
            last.end += c.len_utf8();
            return Ok(());
        }
        self.found.push(Mistake::new(Kind::Odd(c), at, at + c.len_utf8()));
        if self.found.len() < MOST { Ok(()) } else { Err(Stop) }
    }

    /// The column of the first character of a line that is no space, and where it is; tabs and odd spaces on
    /// the way are kept.
    pub(super) fn indentation(&mut self, start: usize) -> Read<(usize, usize)> {
        let (mut column, mut at) = (0, start);
        let blank = self.rest(start).trim().is_empty();
        while let Some(c) = self.char(at) {
            match c {
                ' ' => {}
                '\t' if blank => {}
                '\t' => {
                    let tabs = self.rest(at).chars().take_while(|c| *c == '\t').count();
                    return self.stop(Mistake::new(Kind::TabIndents, at, at + tabs));
                }
                c if is_odd_space(c) || is_litter(c) => self.odd(at, c)?,
                _ => break,
            }
            column += 1;
            at += c.len_utf8();
        }
        Ok((column, at))
    }

    /// Passes over spaces; tabs and odd spaces on the way are kept. `behind` is what stands before them.
    pub(super) fn gap(&mut self, mut at: usize, behind: char) -> Read<usize> {
        let mut tab = None;
        while let Some(c) = self.char(at) {
            match c {
                ' ' => {}
                '\t' => tab = tab.or(Some(at)),
                c if is_odd_space(c) || is_litter(c) => self.odd(at, c)?,
                _ => break,
            }
            at += c.len_utf8();
        }
        match tab {
            // A tab at the end of a line, or before a comment, does no harm.
            Some(tab) if !self.is_end(at) => self.stop(Mistake::new(Kind::TabBehind(behind), tab, tab + 1)),
            _ => Ok(at),
        }
    }

    /// True at the end of a line and at a comment.
    pub(super) fn is_end(&self, at: usize) -> bool {
        matches!(self.char(at), None | Some('\n' | '\r' | '#'))
    }

    /// Reads a line, and those that belong to its value; gives where that ends.
    fn line(&mut self, start: usize) -> Read<usize> {
        let (mut column, mut at) = self.indentation(start)?;
        if self.is_end(at) {
            return Ok(at);
        }
        let rest = self.rest(at);
        if column == 0 && (rest.starts_with("---") || rest.starts_with("...") || rest.starts_with('%')) {
            (self.after, self.words) = (After::Open, None);
            self.levels.clear();
            return Ok(at);
        }
        let mut first = true;
        while let Some(dash) = self.char(at).filter(|c| *c == '-' || like(*c, '-')) {
            let behind = at + dash.len_utf8();
            if !self.char(behind).is_none_or(|c| c.is_whitespace() || is_odd_space(c)) {
                break;
            }
            if let (After::Text(above), true) = (self.after, first)
                && column > above
            {
                self.deeper_first(column, at)?;
                let above = self.levels.last().map_or(at, |level| level.last);
                return self.stop(
                    Mistake::new(Kind::Deeper("-".into()), at, behind)
                        .also(above, "this has a value already"),
                );
            }
            if dash != '-' {
                self.odd(at, dash)?;
            }
            self.enter(column, Of::Items, at, "-")?;
            self.after = After::Open;
            let content = self.gap(behind, '-')?;
            if self.is_end(content) {
                return Ok(content);
            }
            column += self.text.get(at..content).unwrap_or_default().chars().count();
            (at, first) = (content, false);
        }
        self.content(column, at, first)
    }

    /// Reads a key with its value, or a value.
    fn content(&mut self, column: usize, at: usize, first: bool) -> Read<usize> {
        let continues = matches!(self.after, After::Text(above) if first && column > above);
        match self.char(at).unwrap_or(' ') {
            quote @ ('"' | '\'') if !continues => {
                let end = self.quoted(at, quote, self.around())?;
                if self.char(end) == Some(':') {
                    return self.key(column, at, end, 1);
                }
                self.behind(end, at, quote)
            }
            '{' | '[' if !continues => {
                let end = self.flow(at, self.around())?;
                if self.char(end) == Some(':') {
                    return self.key(column, at, end, 1);
                }
                self.behind(end, at, self.closer_before(end))
            }
            '?' | '|' | '>' if !continues => Err(Stop),
            c @ ('@' | '`' | '%') if !continues => self.reserved(at, c),
            c @ ('&' | '*' | '!') if !continues => self.mark(at, c),
            _ => self.plain(column, at, first, continues),
        }
    }

    pub(super) fn reserved<T>(&mut self, at: usize, c: char) -> Read<T> {
        let text = self.rest(at).split([',', ']', '}']).next().unwrap_or_default().trim_end().len();
        self.stop(Mistake::new(Kind::Reserved(c), at, at + text))
    }

    pub(super) fn mark<T>(&mut self, at: usize, c: char) -> Read<T> {
        let text = self.rest(at).split([',', ']', '}', ' ']).next().unwrap_or_default().len();
        self.stop(Mistake::new(Kind::Mark(c), at, at + text))
    }

    /// The column of the innermost key or dash: what belongs to it stands deeper.
    fn around(&self) -> Option<usize> {
        match self.after {
            // A list may begin in the column of its key.
            After::Open | After::Whole => self.levels.last().map(|level| level.column),
            After::Text(above) => Some(above),
        }
    }

    /// Where a key ends that begins at `at`, and how long its colon is; the end of the text where there is
    /// none. A colon that only looks like one counts where no other is there.
    fn colon(&self, at: usize) -> (usize, Option<usize>) {
        let line = self.rest(at);
        let (mut before, mut looks, mut end) = (None, None, line.trim_end().len());
        for (index, c) in line.char_indices() {
            let behind = line[index + c.len_utf8()..].chars().next();
            match c {
                '#' if before.is_some_and(char::is_whitespace) => {
                    end = line[..index].trim_end().len();
                    break;
                }
                ':' if behind.is_none_or(|b| b.is_whitespace() || is_odd_space(b)) => {
                    let word = looks.filter(|looks| !line[..*looks].trim_end().contains([' ', '{', '[']));
                    return match word {
                        Some(looks) => (at + looks, self.char(at + looks).map(char::len_utf8)),
                        None => (at + index, Some(1)),
                    };
                }
                c if like(c, ':') => looks = looks.or(Some(index)),
                _ => {}
            }
            before = Some(c);
        }
        (at + end, None)
    }

    fn plain(&mut self, column: usize, at: usize, first: bool, continues: bool) -> Read<usize> {
        let (end, colon) = self.colon(at);
        if let Some(length) = colon {
            return self.key(column, at, end, length);
        }
        let text = self.text.get(at..end).unwrap_or_default();
        if continues {
            return Ok(end);
        }
        let meant = key_meant(text, at);
        // A value has a line of its own only below a key or a dash without one, and deeper.
        let value = self.after == After::Open
            && (!first || self.levels.last().is_none_or(|level| column > level.column));
        if value {
            self.words = meant.map(|meant| (column, meant));
            self.after = After::Text(self.levels.last().map_or(0, |level| level.column));
            return Ok(end);
        }
        match meant {
            Some(meant) => {
                self.deeper_first(column, at)?;
                self.stop(meant)
            }
            None => Err(Stop),
        }
    }

    /// Nothing, or the words before that were meant as a key.
    fn deeper_first(&mut self, column: usize, at: usize) -> Read<()> {
        match self.words.take() {
            Some((words, meant)) if column >= words && at > meant.start => self.stop(meant),
            _ => Ok(()),
        }
    }

    /// Reads what belongs to a key that begins at `at` and whose colon is at `colon`.
    fn key(&mut self, column: usize, at: usize, colon: usize, length: usize) -> Read<usize> {
        let key = self.text.get(at..colon).unwrap_or_default().to_owned();
        self.deeper_first(column, at)?;
        let end = colon + length;
        let quoted = key.starts_with(['"', '\'', '{', '[']);
        if !quoted {
            for mistake in surely(&key, at, true, false) {
                match mistake.kind {
                    Kind::Odd(c) => self.odd(mistake.start, c)?,
                    _ => return self.stop(mistake),
                }
            }
        } else if self.char(end).is_some_and(|c| !c.is_whitespace() && !is_odd_space(c)) {
            let rest = self.rest(end).to_owned();
            return self.stop(Mistake::new(Kind::NoSpace(key, rest), at, end));
        }
        if length > 1 {
            let c = self.char(colon).unwrap_or(':');
            self.odd(colon, c)?;
        }
        self.enter(column, Of::Keys, at, &key)?;
        self.after = After::Whole;
        let value = self.gap(end, ':')?;
        self.value(column, value)
    }

    /// Reads the value of a key in `column`.
    fn value(&mut self, column: usize, at: usize) -> Read<usize> {
        if self.is_end(at) {
            self.after = After::Open;
            return Ok(at);
        }
        let c = self.char(at).unwrap_or(' ');
        match c {
            '"' | '\'' => {
                let end = self.quoted(at, c, Some(column))?;
                self.behind(end, at, c)
            }
            '{' | '[' => {
                let end = self.flow(at, Some(column))?;
                self.behind(end, at, self.closer_before(end))
            }
            '|' | '>' => self.block(column, at, c),
            '@' | '`' | '%' => self.reserved(at, c),
            '&' | '*' | '!' => self.mark(at, c),
            '}' | ']' => self.stop(Mistake::new(Kind::ClosesNothing(c), at, at + 1)),
            '-' if self.is_end(at + 1) => self.stop(Mistake::new(Kind::LoneDash, at, at + 1)),
            '-' if self.char(at + 1) == Some(' ') => self.stop(Mistake::new(Kind::ListBehindKey, at, at + 1)),
            _ => {
                if ['{', '[', '"', '\''].iter().any(|meant| like(c, *meant)) {
                    self.odd(at, c)?;
                    return Ok(at + self.rest(at).len());
                }
                let (end, colon) = self.colon(at);
                match colon {
                    Some(1) => {
                        let text = self.rest(at).trim_end().to_owned();
                        self.stop(Mistake::new(Kind::ColonInText(text.clone()), at, at + text.len()))
                    }
                    _ => {
                        self.after = After::Text(column);
                        Ok(end)
                    }
                }
            }
        }
    }

    /// A block of lines behind `|` or `>`.
    fn block(&mut self, column: usize, at: usize, c: char) -> Read<usize> {
        let header = self.rest(at + 1);
        let rest = header.trim_start_matches(['+', '-', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
        if !(rest.trim().is_empty() || rest.trim_start().starts_with('#')) {
            let end = at + 1 + header.trim_end().len();
            return self.stop(Mistake::new(Kind::BehindBlock(c), at, end));
        }
        let mut end = at;
        loop {
            let next = self.next_line(end);
            let line = self.rest(next);
            let indent = line.len() - line.trim_start_matches(' ').len();
            if next >= self.text.len() || (indent <= column && !line.trim().is_empty()) {
                return Ok(end);
            }
            end = next + line.len();
            if next == end && self.next_line(end) == end {
                return Ok(end);
            }
        }
    }

    fn closer_before(&self, end: usize) -> char {
        self.text.get(..end).and_then(|t| t.chars().next_back()).unwrap_or('}')
    }

    /// Nothing but a comment may stand behind a value that ended at `end` and was opened at `open`.
    fn behind(&mut self, end: usize, open: usize, closer: char) -> Read<usize> {
        self.after = After::Whole;
        let at = self.gap(end, closer)?;
        if self.is_end(at) {
            return Ok(at);
        }
        let written = self.text.get(open..end).unwrap_or_default();
        if matches!(closer, '"' | '\'') && written.contains('\n') {
            return self.stop(Mistake::new(Kind::Unclosed(closer), open, open + 1));
        }
        let rest = self.rest(at).trim_end().len();
        match self.char(at) {
            Some(c @ ('}' | ']')) => self.stop(Mistake::new(Kind::ClosesNothing(c), at, at + 1)),
            Some(c) if like(c, '}') || like(c, ']') => self.odd(at, c).and(Err(Stop)),
            _ => self.stop(Mistake::new(Kind::Behind(closer), at, at + rest).also(open, "it begins here")),
        }
    }

    /// Finds the level of a key or a dash in `column`.
    fn enter(&mut self, column: usize, of: Of, at: usize, key: &str) -> Read<()> {
        let level = Level { column, of, last: at };
        let around = self.levels.iter().take_while(|level| level.column <= column).count();
        let left = self.levels.split_off(around);
        let open = self.after == After::Open && left.is_empty();
        let under = |levels: &[Level]| {
            let under = levels.len().checked_sub(2).and_then(|index| levels.get(index));
            under.is_some_and(|under| under.column == column && under.of == of)
        };
        match self.levels.last().copied() {
            None if left.is_empty() => self.levels.push(level),
            Some(top) if top.column == column && top.of == of => {
                self.levels.pop();
                self.levels.push(level);
            }
            // A list may begin in the column of its key.
            Some(top) if open && (top.column < column || of == Of::Items) => self.levels.push(level),
            Some(top) if top.column == column && of == Of::Keys && under(&self.levels) => {
                self.levels.truncate(self.levels.len() - 2);
                self.levels.push(level);
            }
            _ => {
                // What stands nearest, of the same kind where there is one.
                let all = left.iter().rev().chain(self.levels.iter().rev());
                let beside = all.min_by_key(|level| (level.of != of, level.column.abs_diff(column))).copied();
                let deeper = beside.is_some_and(|beside| beside.column < column);
                let kind =
                    if deeper { Kind::Deeper(key.to_owned()) } else { Kind::Shallower(key.to_owned()) };
                let mistake = Mistake::new(kind, at, at + key.len());
                return self.stop(match beside {
                    Some(beside) => mistake.also(beside.last, "beside this"),
                    None => mistake,
                });
            }
        }
        Ok(())
    }
}
