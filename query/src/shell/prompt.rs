//! Reading lines from a person: history, completion, colours.

use super::split::{first_statement, is_blank};
use reedline::{
    ColumnarMenu, Completer, CompletionResult, Emacs, FileBackedHistory, KeyCode, KeyModifiers,
    MenuBuilder, Prompt, PromptEditMode, PromptHistorySearch, Reedline, ReedlineEvent,
    ReedlineMenu, Span, Suggestion, ValidationResult, Validator, default_emacs_keybindings,
};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

const HISTORY_LINES_MAX: usize = 10_000;
/// The most suggestions of one completion.
const SUGGESTIONS_MAX: usize = 100;

const KEYWORDS: [&str; 44] = [
    "select",
    "from",
    "where",
    "group by",
    "order by",
    "limit",
    "offset",
    "join",
    "left join",
    "inner join",
    "cross join",
    "on",
    "using",
    "and",
    "or",
    "not",
    "in",
    "between",
    "like",
    "is null",
    "is not null",
    "as",
    "with",
    "union all",
    "distinct",
    "having",
    "case",
    "when",
    "then",
    "else",
    "end",
    "asc",
    "desc",
    "over",
    "partition by",
    "explain",
    "explain analyze",
    "show",
    "set",
    "now()",
    "interval",
    "count(*)",
    "sum(",
    "date_bin(",
];
const COMMANDS: [&str; 14] = [
    "\\?",
    "\\d",
    "\\dt",
    "\\dn",
    "\\l",
    "\\x",
    "\\timing",
    "\\watch",
    "\\format",
    "\\g",
    "\\i",
    "\\q",
    "\\conninfo",
    "\\r",
];

/// Names of tables and columns, filled after the connection stands.
pub(super) type Names = Arc<RwLock<BTreeSet<String>>>;

/// Whether what is typed so far can be run.
pub(super) fn is_complete(text: &str) -> bool {
    let trimmed = text.trim();
    trimmed.starts_with('\\')
        || is_blank(trimmed)
        || first_statement(trimmed).is_some_and(|(_, rest)| is_complete_rest(rest))
        || trimmed.lines().last().is_some_and(ends_in_command)
}

fn is_complete_rest(rest: &str) -> bool {
    is_blank(rest) || is_complete(rest)
}

/// `select 1 \watch 2`: a command ends a statement as a semicolon does.
fn ends_in_command(line: &str) -> bool {
    ["\\g", "\\gx", "\\watch"]
        .iter()
        .any(|command| line.split_whitespace().any(|word| word == *command))
}

struct Statements;

impl Validator for Statements {
    fn validate(&self, line: &str) -> ValidationResult {
        if is_complete(line) { ValidationResult::Complete } else { ValidationResult::Incomplete }
    }
}

struct Words(Names);

impl Completer for Words {
    fn complete(&mut self, line: &str, pos: usize) -> CompletionResult {
        let (start, found) = complete(line, pos, &self.0);
        let suggestions: Vec<Suggestion> = found
            .into_iter()
            .map(|value| Suggestion {
                value,
                span: Span::new(start, pos),
                append_whitespace: false,
                ..Suggestion::default()
            })
            .collect();
        CompletionResult::fresh(suggestions)
    }
}

/// What the word before `pos` could become, and where the word starts.
fn complete(line: &str, pos: usize, names: &Names) -> (usize, Vec<String>) {
    let before = line.get(..pos).unwrap_or(line);
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '\\';
    let start = before.char_indices().rev().take_while(|(_, c)| is_word(*c)).last();
    let start = start.map_or(before.len(), |(at, _)| at);
    let word = before[start..].to_lowercase();
    if word.is_empty() {
        return (start, Vec::new());
    }
    if word.starts_with('\\') {
        let commands = COMMANDS.iter().filter(|command| command.starts_with(&word));
        return (start, commands.map(|command| (*command).to_owned()).collect());
    }
    let names = names.read().unwrap_or_else(PoisonError::into_inner);
    let names = names.iter().filter(|name| name.starts_with(&word)).cloned();
    let keywords = KEYWORDS.iter().filter(|keyword| keyword.starts_with(&word));
    let keywords = keywords.map(|keyword| (*keyword).to_owned());
    (start, names.chain(keywords).take(SUGGESTIONS_MAX).collect())
}

/// `novax=>`, and `novax->` while a statement is open.
#[derive(Clone, Debug)]
pub(super) struct Arrow;

impl Prompt for Arrow {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        "novax".into()
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        "".into()
    }

    fn render_prompt_indicator(&self, _: PromptEditMode) -> Cow<'_, str> {
        "=> ".into()
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        "novax-> ".into()
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        format!("(search: {}) ", search.term).into()
    }
}

/// The line editor.
pub(super) fn editor(names: Names, history: Option<PathBuf>) -> Reedline {
    let menu = ColumnarMenu::default().with_name("words").with_columns(4);
    let mut keys = default_emacs_keybindings();
    let menu_or_next = vec![ReedlineEvent::Menu("words".into()), ReedlineEvent::MenuNext];
    keys.add_binding(KeyModifiers::NONE, KeyCode::Tab, ReedlineEvent::UntilFound(menu_or_next));
    let editor = Reedline::create()
        .with_completer(Box::new(Words(names)))
        .with_menu(ReedlineMenu::EngineCompleter(Box::new(menu)))
        .with_edit_mode(Box::new(Emacs::new(keys)))
        .with_validator(Box::new(Statements))
        .with_quick_completions(true);
    // A history that cannot be kept is no reason not to work.
    match history.and_then(|path| FileBackedHistory::with_file(HISTORY_LINES_MAX, path).ok()) {
        Some(history) => editor.with_history(Box::new(history)),
        None => editor,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enter_runs_only_whole_statements() {
        for (text, expected) in [
            ("select 1;", true),
            ("select 1", false),
            ("select ';", false),
            ("select 1; select", false),
            ("select 1; select 2;", true),
            ("\\d", true),
            ("", true),
            ("-- nothing", true),
            ("select 1 \\watch 2", true),
            ("select 1 \\gx", true),
        ] {
            assert_eq!(is_complete(text), expected, "{text}");
        }
    }

    #[test]
    fn words_are_completed_from_tables_columns_keywords_and_commands() {
        let names: Names =
            Arc::new(RwLock::new(["stations", "station", "status"].map(str::to_owned).into()));
        let check = |line: &str, expected: &[&str]| {
            assert_eq!(complete(line, line.len(), &names).1, expected, "{line}");
        };
        check("select sta", &["station", "stations", "status"]);
        check("select * fr", &["from"]);
        check("\\ti", &["\\timing"]);
        check("select * from ", &[]);
        assert_eq!(complete("select STAT x", 11, &names).0, 7);
    }
}
