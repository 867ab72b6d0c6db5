//! The web pages of operators, embedded in the binary.
//!
//! Plain HTML, CSS and ES modules under `assets/`: what is in the folder is what the browser gets, no build
//! step stands between.
//!
//! **Invariants**
//! * An asset never changes while the process runs, and its tag changes with its bytes.
//! * Assets hold no data of the node: they may be served to anybody.
//! * Nothing is loaded from another origin.

use std::sync::LazyLock;

/// A file of the console, ready to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asset {
    /// The bytes.
    pub body: &'static [u8],
    /// Its media type.
    pub content_type: &'static str,
    /// A strong entity tag, quotes included: equal tags, equal bytes.
    pub etag: &'static str,
}

/// Path, media type, bytes.
type Source = (&'static str, &'static str, &'static [u8]);

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

const SOURCES: [Source; 8] = [
    ("/", HTML, include_bytes!("../assets/index.html")),
    ("/style.css", CSS, include_bytes!("../assets/style.css")),
    ("/app.js", SCRIPT, include_bytes!("../assets/app.js")),
    ("/api.js", SCRIPT, include_bytes!("../assets/api.js")),
    ("/chart.js", SCRIPT, include_bytes!("../assets/chart.js")),
    ("/tables.js", SCRIPT, include_bytes!("../assets/tables.js")),
    ("/format.js", SCRIPT, include_bytes!("../assets/format.js")),
    ("/favicon.svg", "image/svg+xml", include_bytes!("../assets/favicon.svg")),
];

/// The paths of all assets.
pub const PATHS: [&str; SOURCES.len()] = {
    let mut paths = [""; SOURCES.len()];
    let mut at = 0;
    while at < SOURCES.len() {
        paths[at] = SOURCES[at].0;
        at += 1;
    }
    paths
};

static ETAGS: LazyLock<[String; SOURCES.len()]> =
    LazyLock::new(|| SOURCES.map(|(_, _, body)| format!("\"{:016x}\"", hash(body))));

/// The file at a path, if there is one.
#[must_use]
pub fn asset(path: &str) -> Option<Asset> {
    let at = PATHS.iter().position(|known| *known == path)?;
    let (_, content_type, body) = SOURCES[at];
    Some(Asset { body, content_type, etag: &ETAGS[at] })
}

/// FNV-1a: tells builds apart, guards against nobody.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn text(path: &str) -> &'static str {
        let asset = asset(path).unwrap_or_else(|| panic!("{path} is an asset"));
        std::str::from_utf8(asset.body).expect("assets are text")
    }

    #[test]
    fn every_path_is_an_asset_with_a_tag_of_its_own() {
        let tags: BTreeSet<_> =
            PATHS.iter().map(|path| asset(path).expect("listed").etag).collect();
        assert_eq!(tags.len(), PATHS.len());
        assert!(tags.iter().all(|tag| tag.starts_with('"') && tag.ends_with('"')));
        assert_eq!(asset("/nothing.js"), None);
        assert_eq!(asset(""), None);
    }

    #[test]
    fn whatever_a_page_or_module_loads_is_embedded() {
        for path in PATHS {
            for (before, after) in [("src=\"", '"'), ("href=\"/", '"'), ("from \"./", '"')] {
                for part in text(path).split(before).skip(1) {
                    let name = part.split(after).next().unwrap_or_default();
                    let name = format!("/{}", name.trim_start_matches('/'));
                    assert!(asset(&name).is_some(), "{path} loads {name}");
                }
            }
        }
    }

    #[test]
    fn nothing_comes_from_another_origin() {
        for path in PATHS {
            let text = text(path).replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains("http://") && !text.contains("https://"), "{path}");
            assert!(!text.contains("src=\"//"), "{path}");
        }
    }

    #[test]
    fn the_page_has_no_inline_script_or_style() {
        // The policy it is served with forbids them: they would not run.
        let page = text("/");
        assert!(
            !page.contains("<style") && !page.contains(" style=") && !page.contains(" onclick=")
        );
        assert_eq!(
            page.matches("<script").count(),
            page.matches("<script type=\"module\" src=").count()
        );
    }
}
