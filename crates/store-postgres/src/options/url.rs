//! Options as a URL.

use super::{Options, PORT, SslMode};

impl Options {
    /// Reads `postgres://USER:PASSWORD@HOST:PORT/DATABASE?key=value&…`, percent-decoded. Several
    /// `HOST:PORT` are separated by commas. Keys: `schema`, `sslmode` (`disable`, `prefer`,
    /// `require`, `verify-full`), `ca_file`, `pool_max`, `statement_timeout_ms`,
    /// `connect_timeout_ms`.
    ///
    /// # Errors
    /// Text that names the part at fault and says what would be right; no value that may be secret
    /// is in it.
    pub fn from_url(url: &str) -> Result<Self, String> {
        let rest = url
            .strip_prefix("postgres://")
            .or_else(|| url.strip_prefix("postgresql://"))
            .ok_or("scheme: must be postgres:// or postgresql://")?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, dbname) = rest.split_once('/').unwrap_or((rest, ""));
        let (userinfo, hosts) = authority
            .rsplit_once('@')
            .ok_or("user: is missing; write postgres://USER@HOST/DATABASE")?;
        let (user, password) = match userinfo.split_once(':') {
            Some((user, password)) => (user, Some(decoded("password", password)?)),
            None => (userinfo, None),
        };
        let mut options = Options {
            hosts: hosts.split(',').map(host).collect::<Result<_, _>>()?,
            user: decoded("user", user)?,
            password,
            dbname: decoded("database", dbname)?,
            schema: "fds".into(),
            sslmode: SslMode::Prefer,
            ca_file: None,
            pool_max: 4,
            statement_timeout_ms: 30_000,
            connect_timeout_ms: 5_000,
            exclusive: true,
            create: true,
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            set(&mut options, key, value)?;
        }
        options.check()?;
        Ok(options)
    }
}

fn host(text: &str) -> Result<(String, u16), String> {
    // An IPv6 address stands in brackets: its colons part no port.
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (name, after) = rest.split_once(']').ok_or("host: has [ without ]")?;
            let port = match after {
                "" => None,
                after => Some(after.strip_prefix(':').ok_or("host: has more behind its ]")?),
            };
            (name, port)
        }
        None => match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        },
    };
    let port = port.map_or(Ok(PORT), str::parse).ok().filter(|port| *port > 0);
    Ok((decoded("host", name)?, port.ok_or("port: must be 1 to 65535")?))
}

fn set(options: &mut Options, key: &str, value: &str) -> Result<(), String> {
    let number = |key: &str| value.parse().map_err(|_| format!("{key}: must be a whole number"));
    match key {
        "schema" => options.schema = decoded("schema", value)?,
        "sslmode" => {
            options.sslmode = match value {
                "disable" => SslMode::Disable,
                "prefer" => SslMode::Prefer,
                "require" => SslMode::Require,
                "verify-full" => SslMode::VerifyFull,
                _ => return Err("sslmode: must be disable, prefer, require or verify-full".into()),
            }
        }
        "ca_file" => options.ca_file = Some(decoded("ca_file", value)?.into()),
        "pool_max" => {
            options.pool_max = usize::try_from(number(key)?).unwrap_or(usize::MAX);
        }
        "statement_timeout_ms" => options.statement_timeout_ms = number(key)?,
        "connect_timeout_ms" => options.connect_timeout_ms = number(key)?,
        _ => {
            let shown: String = key.chars().take(40).collect();
            return Err(format!(
                "{shown}: is no option; known are schema, sslmode, ca_file, pool_max, \
                 statement_timeout_ms, connect_timeout_ms"
            ));
        }
    }
    Ok(())
}

/// Resolves `%41` and the like. The error never holds the text: it may be a password.
fn decoded(part: &str, text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte.unwrap_or(b'-')).to_digit(16);
                let pair = digit(rest.next()).zip(digit(rest.next()));
                pair.and_then(|(high, low)| u8::try_from(high * 16 + low).ok()).ok_or_else(
                    || format!("{part}: has a % that two hexadecimal digits do not follow"),
                )?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| format!("{part}: is not UTF-8 once decoded"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str, part: &str) {
        let error = Options::from_url(url).unwrap_err();
        assert!(error.starts_with(&format!("{part}: ")), "{url}: {error}");
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn a_whole_url_is_read_with_its_escapes() {
        let options = Options::from_url(
            "postgresql://us%40er:p%3Aa%2Fs@s%20w@db-1:6000,[::1],%2Fvar%2Frun:7/my%2Fdb?schema=a_1\
             &sslmode=verify-full&pool_max=9&statement_timeout_ms=7&connect_timeout_ms=8&ca_file=%2Fca",
        );
        let options = options.unwrap();
        let hosts =
            [("db-1".to_owned(), 6000), ("::1".to_owned(), 5432), ("/var/run".to_owned(), 7)];
        assert_eq!(options.hosts, hosts);
        assert_eq!((&*options.user, options.password.as_deref()), ("us@er", Some("p:a/s@s w")));
        assert_eq!((&*options.dbname, &*options.schema), ("my/db", "a_1"));
        assert_eq!((options.sslmode, options.pool_max), (SslMode::VerifyFull, 9));
        assert_eq!((options.statement_timeout_ms, options.connect_timeout_ms), (7, 8));
        assert_eq!(options.ca_file.as_deref(), Some(std::path::Path::new("/ca")));
    }

    #[test]
    fn what_is_not_named_has_a_default() {
        let options = Options::from_url("postgres://me@db/forebay").unwrap();
        assert_eq!(options.hosts, [("db".to_owned(), 5432)]);
        assert_eq!((options.password, &*options.schema), (None, "fds"));
        assert_eq!((options.sslmode, options.pool_max), (SslMode::Prefer, 4));
        assert_eq!((options.statement_timeout_ms, options.connect_timeout_ms), (30_000, 5_000));
    }

    #[test]
    fn the_part_that_is_wrong_is_named() {
        refused("mysql://me@db/forebay", "scheme");
        refused("postgres://db/forebay", "user");
        refused("postgres://:secret@db/forebay", "user");
        refused("postgres://me:secret%4@db/forebay", "password");
        refused("postgres://me:secret%ff@db/forebay", "password");
        refused("postgres://me:secret@/forebay", "host");
        refused("postgres://me:secret@db", "database");
        refused("postgres://me:secret@db:0/forebay", "port");
        refused("postgres://me:secret@db:70000/forebay", "port");
        refused("postgres://me:secret@[::1/forebay", "host");
        refused("postgres://me:secret@db/forebay?schema=public", "schema");
        refused("postgres://me:secret@db/forebay?sslmode=verify-ca", "sslmode");
        refused("postgres://me:secret@db/forebay?ca_file=x", "ca_file");
        refused("postgres://me:secret@db/forebay?pool_max=0", "pool_max");
        refused("postgres://me:secret@db/forebay?pool_max=-1", "pool_max");
        refused("postgres://me:secret@db/forebay?statement_timeout_ms=0", "statement_timeout_ms");
        refused(
            "postgres://me:secret@db/forebay?connect_timeout_ms=3000000000",
            "connect_timeout_ms",
        );
        refused("postgres://me:secret@db/forebay?colour=red", "colour");
    }

    #[test]
    fn what_is_shown_of_options_holds_no_password() {
        let options = Options::from_url("postgres://me:secret@db/forebay").unwrap();
        assert!(!format!("{options:?} {options}").contains("secret"));
    }
}
