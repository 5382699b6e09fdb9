//! All settings of one connection with their origins. Invariant: libpq's precedence, the string before the service file
//! before the environment before the defaults; and every value that is here is followed, or was refused by its name.

use super::conninfo::{self, Pairs, showable};
use super::keywords::{self, KEYWORDS, Keyword, Rule};
use super::{Secret, SettingError, service};
use std::collections::BTreeMap;

/// Reads a variable of the environment.
pub type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Text,
    Service(String),
    Environment(&'static str),
}

impl Origin {
    /// Behind a setting's name in a message.
    pub fn told(&self) -> String {
        match self {
            Origin::Text => String::new(),
            Origin::Service(name) => format!(" (of service {name})"),
            Origin::Environment(variable) => format!(" (of {variable})"),
        }
    }
}

/// No `Debug`: passwords are among the values.
struct Given {
    value: String,
    origin: Origin,
}

/// The settings of one connection.
pub struct Settings<'a> {
    given: BTreeMap<&'static str, Given>,
    pub variable: Variable<'a>,
}

impl<'a> Settings<'a> {
    /// Reads a connection string, the service that it or the environment names, and the environment.
    ///
    /// # Errors
    /// A string that cannot be cut into settings, a setting that libpq does not know or that wireprof does
    /// not support, or a service that is not there.
    pub fn gather(text: &str, variable: Variable<'a>) -> Result<Self, SettingError> {
        let mut settings = Settings { given: BTreeMap::new(), variable };
        settings.take_text(conninfo::parse(text)?)?;
        let service = settings.stated("service").map(String::from).or_else(|| variable("PGSERVICE"));
        if let Some(name) = service.filter(|name| !name.is_empty()) {
            let file = settings.get("servicefile").map(String::from);
            for (keyword, value) in service::read(&name, file.as_deref(), variable)? {
                let origin = Origin::Service(name.clone());
                settings.given.entry(keyword.name).or_insert(Given { value, origin });
            }
        }
        for keyword in KEYWORDS {
            let Some((name, value)) = keyword.variable.and_then(|name| Some((name, variable(name)?))) else { continue };
            let origin = Origin::Environment(name);
            settings.given.entry(keyword.name).or_insert(Given { value, origin });
        }
        if variable("PGREQUIRESSL").is_some_and(|value| value.starts_with('1')) {
            let origin = Origin::Environment("PGREQUIRESSL");
            settings.given.entry("sslmode").or_insert(Given { value: "require".into(), origin });
        }
        settings.check()?;
        Ok(settings)
    }

    /// The last of several counts, as with libpq, but what protects the connection must not be contradicted.
    fn take_text(&mut self, pairs: Pairs) -> Result<(), SettingError> {
        for (at, (name, value)) in pairs.iter().enumerate() {
            let Some(keyword) = keywords::find(name) else {
                return Err(unknown(name, &pairs[..at].to_vec()));
            };
            let given = Given { value: value.clone(), origin: Origin::Text };
            let before = self.given.insert(keyword.name, given);
            if before.is_some_and(|before| keyword.protects() && before.value != *value) {
                return Err(SettingError(format!("{name} is given twice with different values; keep one of them")));
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), SettingError> {
        for (name, given) in self.given.iter().filter(|(_, given)| !given.value.is_empty()) {
            match keywords::find(name).map(|keyword| keyword.rule) {
                Some(Rule::Only(values, remedy)) if !values.contains(&given.value.as_str()) => {
                    return Err(self.unsupported(name, remedy));
                }
                Some(Rule::RefusedSecret) => {
                    return Err(SettingError(format!("{name} is not supported; leave it out")));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A value that is not empty.
    ///
    /// # Panics
    /// Where a secret is asked for as if it were none.
    pub fn get(&self, name: &str) -> Option<&str> {
        assert!(keywords::find(name).is_some_and(|keyword| !keyword.is_secret()), "{name} is no open setting");
        self.given.get(name).map(|given| given.value.as_str()).filter(|value| !value.is_empty())
    }

    /// A value even if it is empty.
    pub fn stated(&self, name: &str) -> Option<&str> {
        self.get(name).or_else(|| self.given.get(name).map(|_| ""))
    }

    /// A password that is not empty.
    pub fn secret(&self, name: &str) -> Option<Secret> {
        self.given.get(name).filter(|given| !given.value.is_empty()).map(|given| Secret::new(given.value.as_bytes()))
    }

    /// Where a setting comes from; the string, where it is not given.
    pub fn origin(&self, name: &str) -> Origin {
        self.given.get(name).map_or(Origin::Text, |given| given.origin.clone())
    }

    /// `sslmode=x (of PGSSLMODE) is not supported; remedy`.
    pub fn unsupported(&self, name: &str, remedy: &str) -> SettingError {
        let value = self.stated(name).unwrap_or_default();
        SettingError(format!("{name}={}{} is not supported; {remedy}", showable(value), self.origin(name).told()))
    }

    /// An error about a setting, with its origin but without its value.
    pub fn wrong(&self, name: &str, cause: impl std::fmt::Display) -> SettingError {
        SettingError(format!("{name}{} {cause}", self.origin(name).told()))
    }

    /// A whole number, blanks around it permitted.
    ///
    /// # Errors
    /// The value is no whole number.
    pub fn number(&self, name: &str) -> Result<Option<i32>, SettingError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.trim().parse();
        number.map(Some).map_err(|_| self.wrong(name, "is no whole number; correct it, or leave it out"))
    }
}

/// A name that libpq does not know either.
pub fn unknown(name: &str, before: &Pairs) -> SettingError {
    let similar = KEYWORDS.iter().find(|keyword| keyword.name.eq_ignore_ascii_case(name));
    let hint = similar.map(|keyword: &Keyword| format!(": names are in small letters, `{}`", keyword.name));
    let name = conninfo::nameable(name, before).or(similar.map(|keyword| keyword.name));
    let name = name.map_or("a name in it".into(), |name| format!("`{name}`"));
    SettingError::syntax(format!("{name} is no setting of libpq{}", hint.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gathered<'a>(text: &str, variable: Variable<'a>) -> Result<Settings<'a>, String> {
        Settings::gather(text, variable).map_err(|error| error.to_string())
    }

    #[test]
    fn the_string_comes_before_the_service_and_the_service_before_the_environment() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[app]\nhost=service\nport=1\nsslmode=require\n").unwrap();
        let variable = |name: &str| match name {
            "PGSERVICEFILE" => Some(file.path().display().to_string()),
            "PGHOST" | "PGUSER" => Some("environment".into()),
            "PGPORT" => Some("2".into()),
            "PGSSLMODE" => Some("disable".into()),
            _ => None,
        };
        let settings = gathered("service=app port=3", &variable).ok().unwrap();
        let values = ["host", "port", "user", "sslmode"].map(|name| settings.get(name).unwrap());
        assert_eq!(values, ["service", "3", "environment", "require"]);
        assert_eq!(settings.origin("host"), Origin::Service("app".into()));
        assert_eq!(settings.origin("user").told(), " (of PGUSER)");
    }

    #[test]
    fn every_setting_that_is_not_followed_is_refused_by_its_name_wherever_it_stands() {
        for keyword in KEYWORDS {
            if matches!(keyword.rule, Rule::Followed | Rule::Secret | Rule::Moot) {
                continue;
            }
            let told = gathered(&format!("{}=S3CR=x", keyword.name), &|_| None).err().unwrap();
            assert!(told.starts_with(keyword.name) && !told.contains("S3CR"), "{told}");
            let told = gathered(
                &format!("postgres://h?%{:02x}{}=z9", keyword.name.as_bytes()[0], &keyword.name[1..]),
                &|_| None,
            );
            assert!(told.err().unwrap().starts_with(keyword.name));
            let Some(variable) = keyword.variable else { continue };
            let told = gathered("host=h", &|name| (name == variable).then(|| "z9".into())).err().unwrap();
            assert_eq!(told.split(" is not supported").next().unwrap(), format!("{}=z9 (of {variable})", keyword.name));
        }
    }

    #[test]
    fn what_protects_the_connection_is_not_contradicted_and_unknown_names_are_refused() {
        let refusal = |text: &str| gathered(text, &|_| None).err().unwrap();
        assert!(refusal("sslmode=require sslmode=disable").starts_with("sslmode is given twice"));
        assert!(refusal("postgres://h?sslmode=disable&%73slmode=require").starts_with("sslmode is given twice"));
        assert!(refusal("SSLMODE=require").contains("`sslmode` is no setting of libpq: names are in small letters"));
        assert!(refusal("postgres://h?pasword=S3CR").contains("`pasword` is no setting"));
        assert!(!refusal("password=a S3CR=x").contains("S3CR"));
        let last = gathered("port=1 sslmode=require port=2 sslmode=require", &|_| None).ok().unwrap();
        assert_eq!(last.get("port"), Some("2"));
    }
}
