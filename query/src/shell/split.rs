//! Where statements end: at a semicolon outside quotes, comments and dollar quotes.

/// Takes the first whole statement off the text: the statement without its semicolon, and the rest.
/// `None` when the text ends before the statement does.
pub(super) fn first_statement(text: &str) -> Option<(&str, &str)> {
    let end = end_of_statement(text)?;
    Some((&text[..end], &text[end + 1..]))
}

fn end_of_statement(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let step = match bytes[at] {
            b';' => return Some(at),
            b'\'' => quoted(rest, '\'', escapes_before(&text[..at]))?,
            b'"' => quoted(rest, '"', false)?,
            b'-' if rest.starts_with("--") => rest.find('\n')? + 1,
            b'/' if rest.starts_with("/*") => block_comment(rest)?,
            b'$' => match dollar_tag(rest, &text[..at]) {
                Some(tag) => tag.len() + rest[tag.len()..].find(tag)? + tag.len(),
                None => 1,
            },
            _ => 1,
        };
        at += step;
        while at < bytes.len() && !text.is_char_boundary(at) {
            at += 1;
        }
    }
    None
}

/// Whether the text before a quote makes it an `E'..'` string.
fn escapes_before(before: &str) -> bool {
    let mut last = before.bytes().rev();
    let letter = last.next().is_some_and(|b| b.eq_ignore_ascii_case(&b'e'));
    letter && !last.next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The length of a quoted text that begins here; a doubled quote is part of it.
fn quoted(text: &str, quote: char, escapes: bool) -> Option<usize> {
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if escapes && c == '\\' {
            chars.next();
        } else if c == quote && chars.next_if(|(_, next)| *next == quote).is_none() {
            return Some(at + quote.len_utf8());
        }
    }
    None
}

/// The length of a block comment that begins here; they nest.
fn block_comment(text: &str) -> Option<usize> {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(next) = text[at..].find(['*', '/']).map(|next| at + next) {
        let rest = &text[next..];
        at = next + 1;
        if rest.starts_with("/*") {
            depth += 1;
            at = next + 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at = next + 2;
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// `$$` or `$tag$`, when one begins here and is not part of a name or a parameter.
fn dollar_tag<'a>(text: &'a str, before: &str) -> Option<&'a str> {
    if before.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
        return None;
    }
    let end = text[1..].find('$')? + 2;
    let tag = &text[..end];
    let name = &tag[1..end - 1];
    let is_name = name.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    is_name.then_some(tag)
}

/// Whether there is nothing to run: blanks and comments alone.
pub(super) fn is_blank(text: &str) -> bool {
    let mut rest = text.trim_start();
    loop {
        if rest.starts_with("--") {
            rest = rest.split_once('\n').map_or("", |(_, rest)| rest).trim_start();
        } else if rest.starts_with("/*") {
            let Some(length) = block_comment(rest) else { return false };
            rest = rest[length..].trim_start();
        } else {
            return rest.is_empty();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_at_semicolons_outside_quotes() {
        for (text, expected) in [
            ("select 1; select 2", Some(("select 1", " select 2"))),
            ("select ';' ;x", Some(("select ';' ", "x"))),
            ("select 'it''s;';", Some(("select 'it''s;'", ""))),
            (r"select E'\';';", Some((r"select E'\';'", ""))),
            (r"select '\';", Some((r"select '\'", ""))),
            ("select \"a;b\";", Some(("select \"a;b\"", ""))),
            ("select 1 -- no; end\n;", Some(("select 1 -- no; end\n", ""))),
            ("select /* ; /* ; */ ; */ 1;", Some(("select /* ; /* ; */ ; */ 1", ""))),
            ("select $$;$$;", Some(("select $$;$$", ""))),
            ("select $a$;$$;$a$;", Some(("select $a$;$$;$a$", ""))),
            ("select $1;", Some(("select $1", ""))),
            ("select 'ä;ö';", Some(("select 'ä;ö'", ""))),
            ("select 'open;", None),
            ("select 1", None),
            ("/* open ;", None),
        ] {
            assert_eq!(first_statement(text), expected, "{text}");
        }
    }

    #[test]
    fn comments_alone_are_blank() {
        assert!(is_blank(" -- x\n /* y */ "));
        assert!(!is_blank("-- x\nselect 1"));
    }
}
