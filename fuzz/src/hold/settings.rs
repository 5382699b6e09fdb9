//! Settings of connections, and password files. Invariant: no text that is shown holds a password, and an address
//! that is shown is understood again.

use super::{memory_file, text};
use crate::connection::{Address, shown_argument, shown_connection, shown_url, without_secrets};
use crate::feed::Feed;
use std::os::unix::fs::PermissionsExt;

/// Nothing else that an input holds is spelt so.
const SECRET: &str = "S3CR3TXQ";

/// A connection string or URL; the letters `@@` stand for a password.
pub fn address(bytes: &[u8]) {
    let text = text(bytes).replace("@@", SECRET);
    // Files that a string names are the user's own; no argument and no variable holds a NUL.
    if text.contains('\0')
        || text.contains("service")
        || text.contains("/dev")
        || text.contains("/proc")
        || text.contains("file")
    {
        return;
    }
    let nothing = |name: &str| (name == "PGSYSCONFDIR").then(|| "/nonexistent".to_string());
    let shown = [shown_connection(&text), shown_url(&text), shown_argument(&text), without_secrets(&text)];
    match Address::parse_in(&text, &nothing) {
        Err(why) => assert!(!why.to_string().contains(SECRET) || !is_secret_alone(&text), "{text:?}: {why}"),
        Ok(address) => {
            let again = Address::parse_in(&address.shown(), &nothing);
            let again = again.unwrap_or_else(|why| panic!("{text:?} as {:?}: {why}", address.shown()));
            let parts = |of: &Address| (of.endpoint.clone(), of.user.clone(), of.database.clone());
            assert_eq!(parts(&again), parts(&address), "{text:?} as {:?}", address.shown());
            let password = address.password().map(|password| super::text(password.expose()).into_owned());
            let elsewhere = [&address.user, &address.database, &address.application].map(|part| part.contains(SECRET));
            let secret = password.is_some_and(|password| password.contains(SECRET)) && !elsewhere.contains(&true);
            if secret && text.matches(SECRET).count() == 1 {
                assert!(!address.shown().contains(SECRET) && !shown[0].contains(SECRET), "{text:?}: {shown:?}");
            }
        }
    }
}

/// Whether the only secret is the value of a password, in a string that is cut into words.
fn is_secret_alone(text: &str) -> bool {
    text.matches(SECRET).count() == 1 && text.contains(&format!("password={SECRET}"))
}

/// A password file of any bytes, and one whose entries are escaped as libpq wants them.
pub fn passfile(bytes: &[u8]) {
    let looked = |bytes: &[u8], text: &str| {
        let path = memory_file("pgpass", bytes);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
        let file = path.display().to_string();
        let variable = |name: &str| match name {
            "PGPASSFILE" => Some(file.clone()),
            "PGSYSCONFDIR" => Some("/nonexistent".into()),
            _ => None,
        };
        let address = Address::parse_in(text, &variable).expect("a sound address");
        address.password().map(|password| password.expose().to_vec())
    };
    let asked = "host=db port=5433 dbname=app user=me";
    if let Some(password) = looked(bytes, asked) {
        assert!(!password.is_empty() && password.len() <= bytes.len());
    }
    let mut feed = Feed(bytes);
    let length = usize::from(feed.byte() % 16);
    let password: Vec<u8> = feed.take(length).iter().copied().filter(|byte| !b"\n\r\0".contains(byte)).collect();
    let escaped = |text: &[u8]| -> Vec<u8> {
        text.iter().flat_map(|byte| if b":\\".contains(byte) { vec![b'\\', *byte] } else { vec![*byte] }).collect()
    };
    let other: Vec<u8> = feed.0.iter().copied().filter(|byte| !b"\n\r".contains(byte)).collect();
    let line = [b"x", &escaped(&other)[..], b":5433:app:me:wrong\n*:5433:app:me:", &escaped(&password), b"\n"].concat();
    let expected = Some(password).filter(|password| !password.is_empty());
    assert_eq!(looked(&line, asked), expected, "{:?}", text(&line));
}
