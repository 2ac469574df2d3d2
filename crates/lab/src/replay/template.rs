//! Text made of columns: `terminal-{terminal_id}`, `400000{customer_id:010}`.

/// The widest a column can be padded to.
const WIDTH_MAX: usize = 64;

/// Literal text and columns, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// A column, padded with zeros in front to at least `width` characters. Wider values are an
    /// error where a width was given: cutting them would make two of them the same.
    Column {
        name: String,
        width: usize,
    },
}

impl Template {
    pub(super) fn column(name: &str) -> Self {
        Self(vec![Part::Column { name: name.to_owned(), width: 0 }])
    }

    pub(super) fn constant(text: &str) -> Self {
        Self(vec![Part::Literal(text.to_owned())])
    }

    /// Reads a template. `{{` and `}}` stand for braces.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                literal.push_str(brace);
                rest = after;
                continue;
            }
            let inside = rest.split_once('}').filter(|_| brace == "{");
            let Some((column, after)) = inside else {
                return Err(format!(
                    "{text:?} has a lone {brace}; write {brace}{brace} for a brace"
                ));
            };
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(part(column)?);
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self(parts))
    }

    /// The columns it is made of.
    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Column { name, .. } => Some(name.as_str()),
            Part::Literal(_) => None,
        })
    }

    /// Appends the text to `out`; `value` gives a column's, or why it has none.
    pub(super) fn fill<'v>(
        &self,
        mut value: impl FnMut(&str) -> Result<std::borrow::Cow<'v, str>, String>,
        out: &mut String,
    ) -> Result<(), String> {
        for part in &self.0 {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Column { name, width } => {
                    let value = value(name)?;
                    let chars = value.chars().count();
                    if *width > 0 && chars > *width {
                        return Err(format!("column {name} is wider than {width} characters"));
                    }
                    out.extend(std::iter::repeat_n('0', width.saturating_sub(chars)));
                    out.push_str(&value);
                }
            }
        }
        Ok(())
    }
}

fn part(column: &str) -> Result<Part, String> {
    let (name, width) = column.split_once(':').unwrap_or((column, "0"));
    let width = width.strip_prefix('0').map(|digits| if digits.is_empty() { "0" } else { digits });
    let width = width.and_then(|digits| digits.parse().ok()).filter(|&width| width <= WIDTH_MAX);
    match width {
        Some(width) if !name.is_empty() => Ok(Part::Column { name: name.to_owned(), width }),
        _ => Err(format!(
            "{{{column}}} is not a column; write {{name}}, or {{name:010}} to pad with zeros to 10 \
             (at most {WIDTH_MAX})"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, expected: Result<&str, ()>) {
        let value = |name: &str| match name {
            "id" => Ok("4961".into()),
            name => Err(format!("no {name}")),
        };
        let mut out = String::new();
        let filled = Template::parse(template).and_then(|template| template.fill(value, &mut out));
        assert_eq!(filled.map(|()| out.as_str()).map_err(|_| ()), expected, "{template}");
    }

    #[test]
    fn columns_are_filled_in_and_padded() {
        check("terminal-{id}", Ok("terminal-4961"));
        check("400000{id:010}", Ok("4000000000004961"));
        check("{id}{id:05}", Ok("496104961"));
        check("plain", Ok("plain"));
        check("{{{id}}}", Ok("{4961}"));
        check("", Ok(""));
    }

    #[test]
    fn a_value_wider_than_its_padding_is_refused_not_cut() {
        check("{id:04}", Ok("4961"));
        check("{id:03}", Err(()));
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for template in ["{id", "id}", "{}", "{id:x}", "{id:10}", "{id:065}", "{missing}"] {
            check(template, Err(()));
        }
    }
}
