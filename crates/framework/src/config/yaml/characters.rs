//! Characters that look like those of YAML's own, or like nothing, and are others.

/// What a character looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Odd {
    /// A space of another kind, with its name.
    Space(&'static str),
    /// Nothing: nobody sees it.
    Unseen(&'static str),
    /// Another character, with the name of this one.
    Like(char, &'static str),
}

/// What is odd about a character; `None` where it is what it looks like, as far as YAML minds.
pub(super) fn odd(c: char) -> Option<Odd> {
    Some(match c {
        '\u{a0}' => Odd::Space("a no-break space"),
        '\u{202f}' => Odd::Space("a narrow no-break space"),
        '\u{3000}' => Odd::Space("a full-width space"),
        '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{205f}' => Odd::Space("a space of another width"),
        '\u{2028}' | '\u{2029}' => Odd::Space("a line separator"),
        '\u{200b}' => Odd::Unseen("a zero-width space"),
        '\u{200c}' | '\u{200d}' => Odd::Unseen("a zero-width joiner"),
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            Odd::Unseen("a mark of the reading direction")
        }
        '\u{2060}' => Odd::Unseen("a word joiner"),
        '\u{feff}' => Odd::Unseen("a byte order mark"),
        '\u{ad}' => Odd::Unseen("a soft hyphen"),
        '：' | '﹕' | '∶' | '꞉' => Odd::Like(':', "a full-width colon"),
        '，' | '﹐' => Odd::Like(',', "a full-width comma"),
        '｛' => Odd::Like('{', "a full-width brace"),
        '｝' => Odd::Like('}', "a full-width brace"),
        '［' => Odd::Like('[', "a full-width bracket"),
        '］' => Odd::Like(']', "a full-width bracket"),
        '＃' => Odd::Like('#', "a full-width number sign"),
        '＂' | '“' | '”' | '„' | '‟' => Odd::Like('"', "a typographic quote"),
        '＇' | '‘' | '’' | '‚' | '‛' => Odd::Like('\'', "a typographic quote"),
        '－' | '﹣' => Odd::Like('-', "a full-width hyphen"),
        '–' | '—' | '−' | '‐' | '‑' | '•' | '·' | '●' => {
            Odd::Like('-', "a dash of another kind")
        }
        _ => return None,
    })
}

/// True for a character that stands for `meant` in the eyes of who typed it.
pub(super) fn like(c: char, meant: char) -> bool {
    matches!(odd(c), Some(Odd::Like(looks, _)) if looks == meant)
}

/// True for a space that is none to YAML.
pub(super) fn is_odd_space(c: char) -> bool {
    matches!(odd(c), Some(Odd::Space(_)))
}

/// True for what is no part of any text, wherever it stands: it came along when something was copied.
pub(super) fn is_litter(c: char) -> bool {
    matches!(c, '\u{200b}' | '\u{2060}' | '\u{feff}')
}
