//! What is a secret: told by the names of keys, and by the look of texts. Pure. Errs on the side of hiding.

mod quotes;

pub(crate) use self::quotes::{quotes_value, unquoted};

/// What stands for a secret.
pub(crate) const MASK: &str = "***";

/// What a secret is called: a key counts if its last word ends in one of these, in the singular or the plural.
const SECRETS: [&str; 7] = ["password", "passwd", "passphrase", "secret", "token", "credential", "apikey"];

/// Short for it, where it is a word for itself.
const SHORT: [&str; 2] = ["pass", "pwd"];

/// Whether a key of this name holds a secret.
pub(crate) fn is_secret(key: &str) -> bool {
    let words = words(key);
    let last = words.last().map_or("", String::as_str);
    let one = last.strip_suffix('s').unwrap_or(last);
    SECRETS.iter().any(|secret| one.ends_with(secret)) || SHORT.contains(&last) || one == "key"
}

/// `db_api-key` and `dbApiKey` are three words each.
fn words(key: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut after_small = false;
    for letter in key.chars() {
        let is_gap = !letter.is_alphanumeric();
        if is_gap || (letter.is_uppercase() && after_small) {
            words.push(String::new());
        }
        if !is_gap && let Some(word) = words.last_mut() {
            word.extend(letter.to_lowercase());
        }
        after_small = letter.is_lowercase() || letter.is_numeric();
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A text without the user of a URL, and without what follows `password=` and the like. Passwords that are not
/// encoded may hold anything, so all up to the last `@` counts as the user, and all to the end as the password.
pub(crate) fn without_secrets(text: &str) -> String {
    let text = match (text.find("://"), text.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => format!("{}://{MASK}{}", &text[..scheme], &text[at..]),
        _ => text.to_owned(),
    };
    match text.match_indices('=').map(|(at, _)| at).find(|at| is_secret(&text[..*at])) {
        Some(at) => format!("{}={MASK}", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_secret_by_its_last_word() {
        for key in [
            "password",
            "db_password",
            "dbpassword",
            "DB_PASSWORD",
            "dbPassword",
            "passwords",
            "secret",
            "client-secret",
            "token",
            "auth_token",
            "accessToken",
            "tokens",
            "api_key",
            "api-key",
            "apiKey",
            "apikey",
            "ssh_keys",
            "key",
            "keys",
            "signing_key",
            "passphrase",
            "credentials",
            "smtp_pass",
        ] {
            assert!(is_secret(key), "{key}");
        }
        for key in
            ["", "monkey", "hotkeys", "key_file", "token_lifetime", "secret_path", "bypass", "compass", "_"]
        {
            assert!(!is_secret(key), "{key}");
        }
    }

    #[test]
    fn a_text_loses_the_user_of_its_url_and_its_passwords() {
        for (text, shown) in [
            ("redis://cache:6379/0", "redis://cache:6379/0"),
            ("redis://:hunter2@cache", "redis://***@cache"),
            ("postgres://u:p/a@ss@db:1/shop?sslmode=require", "postgres://***@db:1/shop?sslmode=require"),
            ("nats://a:b@one,nats://c:d@two", "nats://***@two"),
            ("https://db?user=u&password=p&x=y", "https://db?user=u&password=***"),
            ("host=db password = 'a b' user=u", "host=db password =***"),
            ("Server=db;Pwd=1;AccessToken=t", "Server=db;Pwd=***"),
            ("Server=db;AccessToken=t", "Server=db;AccessToken=***"),
            ("https://maps?key=hunter2", "https://maps?key=***"),
            ("the key=hunter2", "the key=***"),
            ("é=1", "é=1"),
            ("é™token=1", "é™token=***"),
            ("a@b", "a@b"),
            ("1 + 1 = 2", "1 + 1 = 2"),
        ] {
            assert_eq!(without_secrets(text), shown);
        }
    }
}
