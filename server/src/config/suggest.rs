//! "Did you mean": the known name nearest to an unknown one.

/// The candidate a person most likely meant, if any is near enough.
///
/// A candidate whose last segment is the text wins (the section was forgotten or is wrong);
/// otherwise the smallest edit distance, at most a third of the text.
#[must_use]
pub(super) fn nearest<'a>(
    text: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let distance = if last(candidate) == last(text) { 0 } else { distance(text, candidate) };
        if distance <= (text.len() / 3).max(2) && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace, swap neighbours) from one text to the other, without case.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<u8> = a.bytes().map(|byte| byte.to_ascii_lowercase()).collect();
    let b: Vec<u8> = b.bytes().map(|byte| byte.to_ascii_lowercase()).collect();
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replace.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_mistype_finds_what_they_meant() {
        let names = || ["data", "ocpp.listen", "ocpp.heartbeat_s", "http.api_key"].into_iter();
        for (text, expected) in [
            ("ocpp.listne", Some("ocpp.listen")),
            ("ocpp.heartbeat", Some("ocpp.heartbeat_s")),
            ("heartbeat_s", Some("ocpp.heartbeat_s")),
            ("server.api_key", Some("http.api_key")),
            ("OCPP.LISTEN", Some("ocpp.listen")),
            ("dta", Some("data")),
            ("weather", None),
        ] {
            assert_eq!(nearest(text, names()), expected, "{text}");
        }
    }

    #[test]
    fn a_swap_is_one_edit() {
        assert_eq!(distance("listen", "lisetn"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
