//! Rust source without its comments and texts, so that a word in it is code.

/// Source whose comments, strings and characters are blanks; lines stay where they are.
pub(crate) struct Code(Vec<char>);

impl Code {
    pub(crate) fn of(source: &str) -> Self {
        let source: Vec<char> = source.chars().collect();
        let mut code = Vec::with_capacity(source.len());
        while code.len() < source.len() {
            let at = code.len();
            let end = at + text_length(&source[at..], at.checked_sub(1).map(|before| source[before]));
            if end == at {
                code.push(source[at]);
            } else {
                code.extend(
                    source[at..end].iter().map(|character| if *character == '\n' { '\n' } else { ' ' }),
                );
            }
        }
        Self(code)
    }

    /// The same with every item under `#[cfg(test)]` blanked.
    pub(crate) fn without_tests(mut self) -> Self {
        let mark: Vec<char> = "#[cfg(test)]".chars().collect();
        let mut at = 0;
        while let Some(found) = find(&self.0[at..], &mark) {
            let begin = at + found;
            let end = begin + mark.len() + item_length(&self.0[begin + mark.len()..]);
            for character in &mut self.0[begin..end] {
                if *character != '\n' {
                    *character = ' ';
                }
            }
            at = end;
        }
        self
    }

    /// The first names of all paths that start at the crate's root, with their lines: `crate::NAME`,
    /// `crate::{NAME, ...}`, and `super::super::NAME` where that climbs out of a file that is `depth` modules
    /// deep.
    pub(crate) fn rooms_used(&self, depth: usize) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        let climb = "super::".repeat(depth);
        for start in ["crate::", climb.as_str()] {
            let mark: Vec<char> = start.chars().collect();
            let mut at = 0;
            while let Some(offset) = find(&self.0[at..], &mark) {
                let begin = at + offset;
                at = begin + mark.len();
                let inside_word = begin > 0 && is_word(self.0[begin - 1]);
                if !inside_word {
                    let line = self.line_of(begin);
                    found.extend(first_names(&self.0[at..]).into_iter().map(|name| (line, name)));
                }
            }
        }
        found
    }

    /// The lines on which `text` stands.
    pub(crate) fn lines_with(&self, text: &str) -> impl Iterator<Item = usize> {
        let code: String = self.0.iter().collect();
        let lines: Vec<usize> =
            code.lines().enumerate().filter(|(_, line)| line.contains(text)).map(|(at, _)| at + 1).collect();
        lines.into_iter()
    }

    fn line_of(&self, at: usize) -> usize {
        1 + self.0[..at].iter().filter(|character| **character == '\n').count()
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn find(code: &[char], mark: &[char]) -> Option<usize> {
    code.windows(mark.len()).position(|window| window == mark)
}

/// How long the comment, string or character is that begins here; 0 if none does. `before` is the character
/// in front.
fn text_length(rest: &[char], before: Option<char>) -> usize {
    let next = rest.get(1).copied();
    match rest[0] {
        '/' if next == Some('/') => {
            rest.iter().position(|character| *character == '\n').unwrap_or(rest.len())
        }
        '/' if next == Some('*') => block_comment(rest),
        '"' => quoted(rest, '"'),
        'r' if !before.is_some_and(|before| is_word(before) && before != 'b') => raw_string(rest),
        // A character, or the name of a lifetime, which has no second quote.
        '\'' if next == Some('\\') || rest.get(2) == Some(&'\'') => quoted(rest, '\''),
        _ => 0,
    }
}

fn block_comment(rest: &[char]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at + 1 < rest.len() {
        match (rest[at], rest[at + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// `r"..."` or `r#"..."#` with any number of `#`; 0 for a name that only begins with r.
fn raw_string(rest: &[char]) -> usize {
    let hashes = rest[1..].iter().take_while(|character| **character == '#').count();
    if rest.get(1 + hashes) != Some(&'"') {
        return 0;
    }
    let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let text = 2 + hashes;
    find(&rest[text..], &close).map_or(rest.len(), |end| text + end + close.len())
}

/// How far the item goes that begins here: to its `;` or to the brace that closes its body.
fn item_length(rest: &[char]) -> usize {
    let mut depth = 0;
    for (at, character) in rest.iter().enumerate() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return at + 1,
            _ => continue,
        }
        // `use a::{b, c};` closes a brace too, and ends at its semicolon.
        if depth == 0 && rest.get(at + 1) != Some(&';') {
            return at + 1;
        }
    }
    rest.len()
}

/// The names that a path goes on with: one, or those of a `{...}` at its first level.
fn first_names(rest: &[char]) -> Vec<String> {
    let word = |from: &[char]| from.iter().copied().take_while(|character| is_word(*character)).collect();
    if rest.first() != Some(&'{') {
        return vec![word(rest)];
    }
    let mut names: Vec<String> = Vec::new();
    let mut depth = 0;
    let mut name_may_begin = false;
    for (at, character) in rest.iter().enumerate() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && name_may_begin && is_word(*character) {
            names.push(word(&rest[at..]));
            name_may_begin = false;
        }
        name_may_begin |= depth == 1 && matches!(character, '{' | ',');
    }
    names
}

#[test]
fn texts_are_blanked_and_code_is_kept() {
    let code = |source: &str| Code::of(source).0.into_iter().collect::<String>();
    assert_eq!(code("a // b\nc"), "a     \nc");
    assert_eq!(code("a /* b /* c */ d */ e"), "a                   e");
    assert_eq!(code(r#"f("a\"b", 'c', '"', '\'', x)"#), r"f(      ,    ,    ,     , x)");
    assert_eq!(code(r##"f(r#"a"b"#, br"c", for_r"d")"##), r"f(        , b    , for_r   )");
    assert_eq!(code("fn f<'a>(x: &'a str) {}"), "fn f<'a>(x: &'a str) {}");
    assert_eq!(code("\"never closed"), " ".repeat(13));
}

#[test]
fn items_of_tests_are_blanked() {
    let code = |source: &str| Code::of(source).without_tests().0.into_iter().collect::<String>();
    assert_eq!(code("#[cfg(test)]\nmod t { fn f() {} }\nx").trim(), "x");
    assert_eq!(code("#[cfg(test)] mod t; x").trim(), "x");
    assert_eq!(code("#[cfg(test)] use a::{b, c}; x").trim(), "x");
}
