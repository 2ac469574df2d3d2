//! The grammar that the URLs of buffers and stores share: `SCHEME:PLACE?OPTION=VALUE&…`.
//!
//! The place is taken as it is written, up to the first `?`. Each backend reads its own place and its own
//! options with the readers here, so that every backend refuses a wrong value in the same words.
//!
//! What it deliberately does not do: it knows no backend, opens nothing and reads no environment.

use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use crate::{Class, Classify};

/// One mebibyte, in bytes.
pub const MIB: u64 = 1 << 20;
/// The largest whole number of an option, so that a unit times it fits into 64 bits.
pub const NUMBER_MAX: u64 = 1_000_000_000_000;

/// A URL that names no buffer or no store: one sentence that says what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

impl Classify for Error {
    fn class(&self) -> Class {
        Class::Rejected
    }
}

/// A URL in its parts.
#[derive(Clone)]
pub struct Url<'a> {
    role: &'static str,
    text: &'a str,
    scheme: &'a str,
    place: &'a str,
    options: Vec<(&'a str, &'a str)>,
}

/// The servers that a place names: `//USER:PASSWORD@HOST:PORT,HOST/REST`, as it is written.
#[derive(Clone, Copy)]
pub struct Servers<'a> {
    /// User and password; the password is empty where none is written.
    pub login: Option<(&'a str, &'a str)>,
    hosts: &'a str,
    /// What stands behind the first `/`.
    pub rest: &'a str,
}

impl<'a> Servers<'a> {
    /// The hosts, each with its port, or with `default` where none is written. The brackets of an address stay.
    /// `None` if one of them cannot be read.
    #[must_use]
    pub fn hosts(&self, default: u16) -> Option<Vec<(&'a str, u16)>> {
        self.hosts.split(',').map(|host| host_and_port(host, default)).collect()
    }

    /// The host, where one without a port is named or none is.
    #[must_use]
    pub fn host(&self) -> &'a str {
        self.hosts
    }
}

impl<'a> Url<'a> {
    /// Splits `url`. `role` is what it names, as the first word of each error: `buffer` or `store`. `built_in`
    /// lists the schemes, as [`listed`] does.
    ///
    /// # Errors
    /// If it has no scheme, or a login that holds an unencoded `/` or `?`. No part of the login is shown.
    pub fn split(role: &'static str, url: &'a str, built_in: &str) -> Result<Self, Error> {
        let Some((scheme, rest)) = url.split_once(':') else {
            let shown = redacted(url);
            let problem = format!("{role}: \"{shown}\" names no backend; {built_in} built in");
            return Err(Error(problem));
        };
        let login = login_end(url).and_then(|end| Some(url[..end].split_once("://")?.1));
        if login.is_some_and(|login| login.contains(['/', '?'])) {
            let problem = "cannot read the URL: its login holds an unencoded character; percent-encode it \
                           (/ is %2F, ? is %3F, @ is %40)";
            return Err(Error(format!("{role}: {problem}")));
        }
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let options = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
        Ok(Self { role, text: url, scheme, place, options })
    }

    /// All of it, as it is written: it may hold a password.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// What stands before the first `:`.
    #[must_use]
    pub fn scheme(&self) -> &'a str {
        self.scheme
    }

    /// What stands between the scheme and the first `?`.
    #[must_use]
    pub fn place(&self) -> &'a str {
        self.place
    }

    /// The options, in order.
    pub fn options(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.options.iter().copied()
    }

    /// The first option of this name, as it is written.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&'a str> {
        self.options().find(|(option, _)| *option == name).map(|(_, text)| text)
    }

    /// The place as a path. `journal:///srv/x` is the habit of other URLs, and means `/srv/x` here as well.
    ///
    /// # Errors
    /// If there is none.
    pub fn path(&self) -> Result<PathBuf, Error> {
        let Self { role, scheme, place, .. } = self;
        if place.is_empty() {
            let example = format!("{scheme}:./data/{role}");
            return Err(self.error(format!("{scheme}: names no path; write e.g. {example}")));
        }
        Ok(PathBuf::from(place.strip_prefix("//").unwrap_or(place)))
    }

    /// The place as the servers that it names; `None` if it does not begin with `//`.
    #[must_use]
    pub fn servers(&self) -> Option<Servers<'a>> {
        let place = self.place.strip_prefix("//")?;
        let (authority, rest) = place.split_once('/').unwrap_or((place, ""));
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (Some(login.split_once(':').unwrap_or((login, ""))), hosts),
            None => (None, authority),
        };
        Some(Servers { login, hosts, rest })
    }

    /// An error about this URL, with what the URL names in front.
    pub fn error(&self, problem: impl Display) -> Error {
        Error(format!("{}: {problem}", self.role))
    }

    /// The error for an option that is not among `known`.
    #[must_use]
    pub fn no_option(&self, option: &str, known: &[&str]) -> Error {
        let known = known.join(", ");
        self.error(format!("the URL has no option \"{option}\"; there are {known}"))
    }

    /// The error for a scheme that no backend has. `later` are the schemes of backends that are planned.
    #[must_use]
    pub fn no_backend(&self, built_in: &str, later: &[&str]) -> Error {
        let scheme = self.scheme;
        self.error(match later.contains(&scheme) {
            true => format!("{scheme}: is not built into this version yet; {built_in}"),
            false => format!("there is no backend {scheme}: ; {built_in} built in"),
        })
    }

    /// Reads a whole number from `min` to [`NUMBER_MAX`]. Digits may be grouped with `_`.
    ///
    /// # Errors
    /// If it is none.
    pub fn number<T>(&self, option: &str, text: &str, min: T) -> Result<T, Error>
    where
        T: FromStr + PartialOrd + Display + TryInto<u64> + Copy,
    {
        let fits = |n: &T| *n >= min && (*n).try_into().is_ok_and(|n: u64| n <= NUMBER_MAX);
        text.replace('_', "").parse().ok().filter(fits).ok_or_else(|| {
            let right = format!("it must be a whole number of at least {min}");
            self.error(format!("{option} is \"{text}\"; {right}"))
        })
    }

    /// Reads a whole number from 1 to `max`.
    ///
    /// # Errors
    /// If it is none.
    pub fn small(&self, option: &str, text: &str, max: u16) -> Result<u16, Error> {
        let number: u64 = self.number(option, text, 1)?;
        let fits = u16::try_from(number).ok().filter(|number| *number <= max);
        fits.ok_or_else(|| self.error(format!("{option} is {number}; it must be 1 to {max}")))
    }

    /// Reads one of two words.
    ///
    /// # Errors
    /// If it is neither.
    pub fn one_of<T>(&self, option: &str, text: &str, choices: [(&str, T); 2]) -> Result<T, Error> {
        let words = choices.each_ref().map(|(word, _)| format!("\"{word}\"")).join(" or ");
        let chosen = choices.into_iter().find(|(word, _)| *word == text);
        let wrong = || self.error(format!("{option} is \"{text}\"; it must be {words}"));
        chosen.map(|(_, choice)| choice).ok_or_else(wrong)
    }

    /// Text with its `%XX` read. `what` is the text's name in an error.
    ///
    /// # Errors
    /// If a `%` is not followed by two hexadecimal digits, or the bytes are not UTF-8.
    pub fn decoded(&self, text: &str, what: &str) -> Result<String, Error> {
        let wrong = || self.error(format!("{what} holds a % that is not followed by two digits"));
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.as_bytes();
        while let Some((&first, after)) = rest.split_first() {
            rest = after;
            if first != b'%' {
                bytes.push(first);
                continue;
            }
            let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
            let digits = digits.filter(|two| two.bytes().all(|digit| digit.is_ascii_hexdigit()));
            let byte = digits.and_then(|two| u8::from_str_radix(two, 16).ok()).ok_or_else(wrong)?;
            bytes.push(byte);
            rest = &after[2..];
        }
        String::from_utf8(bytes).map_err(|_| wrong())
    }
}

/// Schemes as a clause: `journal:, redis: and memory: are`.
#[must_use]
pub fn listed(schemes: &[&str]) -> String {
    let schemes: Vec<_> = schemes.iter().map(|scheme| format!("{scheme}:")).collect();
    match schemes.as_slice() {
        [] => "none are".to_owned(),
        [one] => format!("{one} is"),
        [first @ .., last] => format!("{} and {last} are", first.join(", ")),
    }
}

/// `host`, `host:port` or `[address]:port`, with `default` where no port is written. The brackets of an
/// address stay.
fn host_and_port(text: &str, default: u16) -> Option<(&str, u16)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
        _ => (text, default),
    };
    (!host.trim_matches(['[', ']']).is_empty()).then_some((host, port))
}

/// The URL with its secrets hidden: `redis://user:***@host/0`, `kafka://host/t?sasl.password=***`.
#[must_use]
pub fn redacted(url: &str) -> String {
    let (login, rest) = match login_end(url) {
        Some(end) => (without_password(&url[..end]), &url[end..]),
        None => (String::new(), url),
    };
    let Some((place, query)) = rest.split_once('?') else { return login + rest };
    let hidden = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}=***"),
        _ => pair.to_owned(),
    };
    format!("{login}{place}?{}", query.split('&').map(hidden).collect::<Vec<_>>().join("&"))
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["password", "secret", "token", "jaas", "key.pem"].iter().any(|word| name.contains(word))
}

/// `scheme://user:***` of `scheme://user:password`.
fn without_password(login: &str) -> String {
    let (scheme, login) = login.split_once("://").expect("a login stands behind ://");
    match login.split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:***"),
        None => format!("{scheme}://{login}"),
    }
}

/// Where the login of a URL ends: at the last `@` of its place. A password may hold an unencoded `/`,
/// `?` or `@`, and then no part of it may be shown, nor be taken for a host.
fn login_end(url: &str) -> Option<usize> {
    let start = url.find("://")? + "://".len();
    let rest = &url[start..];
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = place.split('/').next().filter(|authority| !authority.is_empty())?;
    if let Some(at) = place.rfind('@') {
        return Some(start + at);
    }
    // An @ behind the ? belongs to an option, unless what is before the ? can be no host and port, or
    // no option has begun.
    let at = query.rfind('@')?;
    let no_option = !query[..at].contains('=');
    let no_port = authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.ends_with(']') && port.parse::<u16>().is_err());
    (no_option || no_port).then_some(start + place.len() + "?".len() + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(url: &str) -> Url<'_> {
        Url::split("buffer", url, "a: is").unwrap()
    }

    fn refused<T: std::fmt::Debug>(got: Result<T, Error>, expect: &str) {
        assert_eq!(got.unwrap_err().to_string(), expect);
    }

    #[test]
    fn a_url_is_split_at_its_first_marks() {
        let url = split("journal:///srv/b:c?sync=os&&note&size=1_000?x=y");
        assert_eq!((url.scheme(), url.place()), ("journal", "///srv/b:c"));
        assert_eq!(url.path().unwrap(), PathBuf::from("/srv/b:c"));
        let options: Vec<_> = url.options().collect();
        assert_eq!(options, [("sync", "os"), ("note", ""), ("size", "1_000?x=y")]);
        assert_eq!((url.option("sync"), url.option("none")), (Some("os"), None));
        let expect = "store: sqlite: names no path; write e.g. sqlite:./data/store";
        refused(Url::split("store", "sqlite:", "").unwrap().path(), expect);
        let expect = "store: \"data.db\" names no backend; a: and b: are built in";
        refused(Url::split("store", "data.db", &listed(&["a", "b"])).map(drop), expect);
    }

    #[test]
    fn each_kind_of_value_is_read_or_refused_with_what_would_be_right() {
        let url = split("a:");
        assert_eq!(url.number("n", "5_000", 1_u64), Ok(5_000));
        let expect = "buffer: n is \"0\"; it must be a whole number of at least 1";
        refused(url.number("n", "0", 1_u64), expect);
        assert_eq!(url.number("n", "1_000_000_000_000", 1_u64), Ok(NUMBER_MAX));
        assert!(url.number("n", "1_000_000_000_001", 1_u64).is_err());
        assert!(url.number("n", "-1", 0_i64).is_err());
        assert_eq!(url.small("n", "256", 256), Ok(256));
        refused(url.small("n", "257", 256), "buffer: n is 257; it must be 1 to 256");
        let choices = [("yes", true), ("no", false)];
        assert_eq!(url.one_of("o", "no", choices), Ok(false));
        let expect = "buffer: o is \"maybe\"; it must be \"yes\" or \"no\"";
        refused(url.one_of("o", "maybe", choices), expect);
        assert_eq!(url.decoded("p%40s%c3%a9", "x"), Ok("p@sé".to_owned()));
        for wrong in ["%", "%4", "%+4", "%ff"] {
            let expect = "buffer: x holds a % that is not followed by two digits";
            refused(url.decoded(wrong, "x"), expect);
        }
        let expect = "buffer: the URL has no option \"cap\"; there are capacity, lease_ms";
        assert_eq!(url.no_option("cap", &["capacity", "lease_ms"]).to_string(), expect);
    }

    #[test]
    fn a_scheme_without_a_backend_says_which_there_are() {
        let built_in = listed(&["a", "b", "c"]);
        let expect = "buffer: there is no backend d: ; a:, b: and c: are built in";
        assert_eq!(split("d:x").no_backend(&built_in, &["e"]).to_string(), expect);
        let expect = "buffer: e: is not built into this version yet; a:, b: and c: are";
        assert_eq!(split("e:x").no_backend(&built_in, &["e"]).to_string(), expect);
    }

    #[test]
    fn a_host_is_read_with_its_port_or_the_default() {
        assert_eq!(host_and_port("h", 1), Some(("h", 1)));
        assert_eq!(host_and_port("h:2", 1), Some(("h", 2)));
        assert_eq!(host_and_port("[::1]:2", 1), Some(("[::1]", 2)));
        assert_eq!(host_and_port("[::1]", 1), Some(("[::1]", 1)));
        for wrong in ["", ":2", "h:port", "h:65536", "[]", "[]:2"] {
            assert_eq!(host_and_port(wrong, 1), None, "{wrong}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        assert_eq!(redacted("redis://u:s3cret@h:1/0?a=b"), "redis://u:***@h:1/0?a=b");
        assert_eq!(redacted("postgres://u:p@ss@h"), "postgres://u:***@h");
        assert_eq!(redacted("postgres://u@h/db"), "postgres://u@h/db");
        assert_eq!(redacted("journal:./a@b:c"), "journal:./a@b:c");
        assert_eq!(redacted("journal:///srv/a:b@c?sync=os"), "journal:///srv/a:b@c?sync=os");
        assert_eq!(redacted("kafka://h:1/t?sasl.username=a@b"), "kafka://h:1/t?sasl.username=a@b");
        assert_eq!(
            redacted("kafka://[::1]/t?sasl.username=a@b"),
            "kafka://[::1]/t?sasl.username=a@b"
        );
        assert_eq!(
            redacted("kafka://h/t?ssl.key.password=a@b"),
            "kafka://h/t?ssl.key.password=***"
        );
        assert_eq!(redacted("memory:?"), "memory:?");
    }

    #[test]
    fn no_part_of_an_unencoded_password_is_shown_or_taken_for_a_host() {
        let logins = ["postgres://app:p@ss/w0rd@h", "redis://app:p/w0rd@h", "kafka://app:p?w0rd@h"];
        for login in logins.into_iter().chain(["rediss://app:p/w0?rd@h", "postgres://a:7?w0rd@h"]) {
            let scheme = login.split_once(':').unwrap().0;
            let user = if login.contains("app") { "app" } else { "a" };
            let url = format!("{login}:1/shop?list=q");
            assert_eq!(redacted(&url), format!("{scheme}://{user}:***@h:1/shop?list=q"));
            let expect = "buffer: cannot read the URL: its login holds an unencoded character; \
                          percent-encode it (/ is %2F, ? is %3F, @ is %40)";
            refused(Url::split("buffer", &url, "").map(drop), expect);
        }
    }
}
