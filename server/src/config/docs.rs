//! Writes `docs/config.md` from the table of keys.

use super::keys::KEYS;
use std::fmt::Write;

/// The page about all keys, as committed in `docs/config.md`.
#[must_use]
pub fn markdown() -> String {
    let mut page = String::from(HEAD);
    let mut section = None;
    for key in KEYS {
        if section != Some(key.section()) {
            section = Some(key.section());
            let title = match key.section() {
                "" => "(top)".to_owned(),
                name => format!("`[{name}]`"),
            };
            let _ = write!(page, "\n## {title}\n\n{TABLE_HEAD}");
        }
        let default = key.default.map_or("unset".to_owned(), |text| format!("`{text}`"));
        let _ = writeln!(
            page,
            "| `{}` | {} | {default} | `--{}` | `{}` | {} |",
            key.name,
            key.kind,
            key.flag,
            key.env(),
            key.doc
        );
    }
    page
}

const TABLE_HEAD: &str = "| key | value | default | flag | environment | what it does |\n\
                          |---|---|---|---|---|---|\n";

const HEAD: &str = "# Configuration

<!-- Made from the table of keys in server/src/config/keys.rs; a test compares this file.
     After a change there: NOVAX_BLESS=1 cargo nextest run -p novax config -->

A value comes from the last of these that names it:

1. the default below,
2. a TOML file: the one of `--config FILE`, else `novax.toml` in the working directory if it exists,
3. the environment: `NOVAX__SECTION__KEY`,
4. a flag of `novax serve`.

A key or variable that does not exist is an error that names the nearest one that does.
`novax config check` reads everything and lists every mistake at once; `novax config show --origin`
prints every value and where it came from. Secrets are printed as stars.

```toml
data = \"/var/lib/novax\"

[ocpp]
listen = \"0.0.0.0:9000\"
message_bytes_max = \"64KiB\"

[http]
listen = \"127.0.0.1:8080\"
```

Byte sizes take `KiB`, `MiB` and `GiB` in quotes, or a plain number.
";
