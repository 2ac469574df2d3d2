//! What the verbs say of arguments that they do not know.

pub(crate) fn unknown(verb: &str, arg: &str) -> String {
    format!("{verb} does not know `{arg}`; see `cargo xtask {verb} --help`")
}
