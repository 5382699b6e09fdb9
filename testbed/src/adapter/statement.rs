//! The statements the testbed knows. Invariant: what is not understood whole is refused with SQLSTATE 42601 or 0A000;
//! no part of a statement is skipped silently.

use super::SqlError;
use super::catalog::{Column, ColumnType, Row, Value};
use super::lexer::{Token, tokenize};

#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    /// `SELECT * FROM table`
    SelectTable {
        table: String,
    },
    /// `SELECT literal`
    SelectValue(Value),
    SelectVersion,
    /// `SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_name = 'name'`
    FindTable {
        name: String,
    },
    /// `None` is `DEFAULT`.
    Set {
        name: String,
        value: Option<String>,
    },
    Show {
        name: String,
    },
    ResetAll,
    Begin,
    Commit,
    Rollback,
    /// `None` is `ALTER SYSTEM RESET`.
    AlterSystem {
        name: String,
        value: Option<String>,
    },
    CreateTable {
        name: String,
        columns: Vec<Column>,
        if_not_exists: bool,
    },
    DropTable {
        name: String,
        if_exists: bool,
    },
    CreateIndex {
        table: String,
        cluster: String,
    },
    Insert {
        table: String,
        rows: Vec<Row>,
    },
    Grant,
    Discard,
    Deallocate,
}

impl Statement {
    /// The value of the label `statement_type` of `mz_query_total`.
    pub fn kind(&self) -> &'static str {
        match self {
            Statement::SelectTable { .. }
            | Statement::SelectValue(_)
            | Statement::SelectVersion
            | Statement::FindTable { .. } => "select",
            Statement::Set { .. } => "set_variable",
            Statement::Show { .. } => "show",
            Statement::ResetAll => "reset_variable",
            Statement::Begin => "start_transaction",
            Statement::Commit => "commit",
            Statement::Rollback => "rollback",
            Statement::AlterSystem { value: Some(_), .. } => "alter_system_set",
            Statement::AlterSystem { value: None, .. } => "alter_system_reset",
            Statement::CreateTable { .. } => "create_table",
            Statement::DropTable { .. } => "drop_objects",
            Statement::CreateIndex { .. } => "create_index",
            Statement::Insert { .. } => "insert",
            Statement::Grant => "grant_privileges",
            Statement::Discard => "discard",
            Statement::Deallocate => "deallocate",
        }
    }

    /// True if only `mz_system` may do it.
    pub fn needs_system_user(&self) -> bool {
        matches!(self, Statement::AlterSystem { .. })
    }
}

/// All statements of a text, separated by semicolons; empty ones are left out.
#[inline(never)]
pub fn parse(sql: &str) -> Result<Vec<Statement>, SqlError> {
    let tokens = tokenize(sql)?;
    let parts = tokens.split(|token| *token == Token::Symbol(';')).filter(|part| !part.is_empty());
    parts.map(|part| Parser { tokens: part }.statement()).collect()
}

struct Parser<'a> {
    tokens: &'a [Token],
}

impl Parser<'_> {
    fn statement(mut self) -> Result<Statement, SqlError> {
        let first = self.word()?;
        let statement = match first.as_str() {
            "select" => self.select()?,
            "set" => self.set()?,
            "show" => self.show()?,
            "reset" => self.reset()?,
            "begin" | "start" | "commit" | "end" | "rollback" | "abort" => self.transaction(&first)?,
            "alter" => self.alter_system()?,
            "create" => self.create()?,
            "drop" => self.drop_table()?,
            "insert" => self.insert()?,
            "grant" => self.rest_is(Statement::Grant),
            "discard" => self.rest_is(Statement::Discard),
            "deallocate" => self.rest_is(Statement::Deallocate),
            _ => return Err(SqlError::new("0A000", format!("the testbed does not know {:?}", first.to_uppercase()))),
        };
        match self.tokens.first() {
            None => Ok(statement),
            Some(token) => Err(SqlError::syntax(format!("unexpected {token:?} at the end of the statement"))),
        }
    }

    fn rest_is(&mut self, statement: Statement) -> Statement {
        self.tokens = &[];
        statement
    }

    fn next(&mut self) -> Result<Token, SqlError> {
        let (first, rest) = self.tokens.split_first().ok_or_else(|| SqlError::syntax("unexpected end of statement"))?;
        self.tokens = rest;
        Ok(first.clone())
    }

    fn word(&mut self) -> Result<String, SqlError> {
        match self.next()? {
            Token::Word(word) => Ok(word),
            other => Err(SqlError::syntax(format!("expected a word, found {other:?}"))),
        }
    }

    fn accept_word(&mut self, wanted: &str) -> bool {
        let found = matches!(self.tokens.first(), Some(Token::Word(word)) if word == wanted);
        if found {
            self.tokens = &self.tokens[1..];
        }
        found
    }

    fn accept_words(&mut self, wanted: &[&str]) -> bool {
        let start = self.tokens;
        let found = wanted.iter().all(|word| self.accept_word(word));
        if !found {
            self.tokens = start;
        }
        found
    }

    fn accept_symbol(&mut self, wanted: char) -> bool {
        let found = self.tokens.first() == Some(&Token::Symbol(wanted));
        if found {
            self.tokens = &self.tokens[1..];
        }
        found
    }

    fn expect_word(&mut self, wanted: &str) -> Result<(), SqlError> {
        if self.accept_word(wanted) { Ok(()) } else { Err(SqlError::syntax(format!("expected {wanted}"))) }
    }

    fn expect_symbol(&mut self, wanted: char) -> Result<(), SqlError> {
        if self.accept_symbol(wanted) { Ok(()) } else { Err(SqlError::syntax(format!("expected {wanted:?}"))) }
    }

    /// `name`, `schema.name` or `database.schema.name`: there is but one schema, so the last part counts.
    fn object_name(&mut self) -> Result<String, SqlError> {
        let mut name = self.word()?;
        while self.accept_symbol('.') {
            name = self.word()?;
        }
        Ok(name)
    }

    fn select(&mut self) -> Result<Statement, SqlError> {
        if self.accept_symbol('*') {
            self.expect_word("from")?;
            return Ok(Statement::SelectTable { table: self.object_name()? });
        }
        if self.accept_word("version") {
            self.expect_symbol('(')?;
            self.expect_symbol(')')?;
            return Ok(Statement::SelectVersion);
        }
        if self.accept_word("table_name") {
            return self.find_table();
        }
        match self.literal()? {
            Value::Int8(wide) => Ok(Statement::SelectValue(i32::try_from(wide).map_or(Value::Int8(wide), Value::Int4))),
            other => Ok(Statement::SelectValue(other)),
        }
    }

    fn find_table(&mut self) -> Result<Statement, SqlError> {
        for word in ["from", "information_schema"] {
            self.expect_word(word)?;
        }
        self.expect_symbol('.')?;
        for word in ["tables", "where", "table_schema"] {
            self.expect_word(word)?;
        }
        self.expect_symbol('=')?;
        if self.literal()? != Value::Text("public".to_owned()) {
            return Err(SqlError::new("0A000", "the testbed has one schema, public"));
        }
        for word in ["and", "table_name"] {
            self.expect_word(word)?;
        }
        self.expect_symbol('=')?;
        match self.literal()? {
            Value::Text(name) => Ok(Statement::FindTable { name }),
            other => Err(SqlError::syntax(format!("expected the name of a table, found {other:?}"))),
        }
    }

    fn literal(&mut self) -> Result<Value, SqlError> {
        let negative = self.accept_symbol('-');
        match self.next()? {
            Token::Number(digits) => {
                let wide: i64 = digits.parse().map_err(|_| SqlError::syntax(format!("{digits} is not an integer")))?;
                Ok(Value::Int8(if negative { -wide } else { wide }))
            }
            Token::Text(text) if !negative => Ok(Value::Text(text)),
            Token::Word(word) if !negative && word == "null" => Ok(Value::Null),
            other => Err(SqlError::syntax(format!("expected a literal, found {other:?}"))),
        }
    }

    fn set(&mut self) -> Result<Statement, SqlError> {
        if self.accept_words(&["session", "characteristics", "as", "transaction"]) || self.accept_word("transaction") {
            self.expect_word("isolation")?;
            self.expect_word("level")?;
            return Ok(Statement::Set { name: "transaction_isolation".to_owned(), value: Some(self.setting_value()?) });
        }
        if self.accept_words(&["time", "zone"]) {
            return Ok(Statement::Set { name: "timezone".to_owned(), value: Some(self.setting_value()?) });
        }
        let _scope = self.accept_word("session") || self.accept_word("local");
        let (name, value) = self.assignment()?;
        Ok(Statement::Set { name, value })
    }

    fn assignment(&mut self) -> Result<(String, Option<String>), SqlError> {
        let name = self.word()?;
        if !self.accept_symbol('=') {
            self.expect_word("to")?;
        }
        if self.accept_word("default") {
            return Ok((name, None));
        }
        Ok((name, Some(self.setting_value()?)))
    }

    /// Everything up to the end: words, numbers and texts, in one string.
    fn setting_value(&mut self) -> Result<String, SqlError> {
        let mut value = String::new();
        while !self.tokens.is_empty() {
            let part = match self.next()? {
                Token::Word(text) | Token::Text(text) | Token::Number(text) => text,
                Token::Symbol(',') => {
                    value.push(',');
                    continue;
                }
                other => return Err(SqlError::syntax(format!("unexpected {other:?} in a value"))),
            };
            if !value.is_empty() {
                value.push(' ');
            }
            value.push_str(&part);
        }
        if value.is_empty() { Err(SqlError::syntax("expected a value")) } else { Ok(value) }
    }

    fn show(&mut self) -> Result<Statement, SqlError> {
        if self.accept_words(&["transaction", "isolation", "level"]) {
            return Ok(Statement::Show { name: "transaction_isolation".to_owned() });
        }
        Ok(Statement::Show { name: self.word()? })
    }

    fn reset(&mut self) -> Result<Statement, SqlError> {
        match self.word()?.as_str() {
            "all" => Ok(Statement::ResetAll),
            name => Ok(Statement::Set { name: name.to_owned(), value: None }),
        }
    }

    fn transaction(&mut self, first: &str) -> Result<Statement, SqlError> {
        // Isolation levels and access modes of BEGIN change nothing here: every statement reads at a time of its own.
        match first {
            "begin" | "start" => Ok(self.rest_is(Statement::Begin)),
            "commit" | "end" => Ok(self.rest_is(Statement::Commit)),
            _ => Ok(self.rest_is(Statement::Rollback)),
        }
    }

    fn alter_system(&mut self) -> Result<Statement, SqlError> {
        self.expect_word("system")?;
        if self.accept_word("reset") {
            return Ok(Statement::AlterSystem { name: self.word()?, value: None });
        }
        self.expect_word("set")?;
        let (name, value) = self.assignment()?;
        Ok(Statement::AlterSystem { name, value })
    }

    fn create(&mut self) -> Result<Statement, SqlError> {
        if self.accept_word("table") {
            let if_not_exists = self.accept_words(&["if", "not", "exists"]);
            let name = self.object_name()?;
            return Ok(Statement::CreateTable { name, columns: self.columns()?, if_not_exists });
        }
        self.expect_word("default")?;
        self.expect_word("index")?;
        let named = self.accept_words(&["in", "cluster"]);
        let cluster = if named { self.word()? } else { super::catalog::CLUSTER.to_owned() };
        self.expect_word("on")?;
        Ok(Statement::CreateIndex { table: self.object_name()?, cluster })
    }

    fn columns(&mut self) -> Result<Vec<Column>, SqlError> {
        self.expect_symbol('(')?;
        let mut columns = Vec::new();
        loop {
            let name = self.word()?;
            let kind = match self.word()?.as_str() {
                "text" => ColumnType::Text,
                "int" | "int4" | "integer" => ColumnType::Int4,
                "int8" | "bigint" => ColumnType::Int8,
                other => return Err(SqlError::new("0A000", format!("the testbed has no type {other:?}"))),
            };
            columns.push(Column { name, kind });
            if !self.accept_symbol(',') {
                self.expect_symbol(')')?;
                return Ok(columns);
            }
        }
    }

    fn drop_table(&mut self) -> Result<Statement, SqlError> {
        self.expect_word("table")?;
        let if_exists = self.accept_words(&["if", "exists"]);
        Ok(Statement::DropTable { name: self.object_name()?, if_exists })
    }

    fn insert(&mut self) -> Result<Statement, SqlError> {
        self.expect_word("into")?;
        let table = self.object_name()?;
        self.expect_word("values")?;
        let mut rows = Vec::new();
        loop {
            self.expect_symbol('(')?;
            let mut row = vec![self.literal()?];
            while self.accept_symbol(',') {
                row.push(self.literal()?);
            }
            self.expect_symbol(')')?;
            rows.push(row);
            if !self.accept_symbol(',') {
                return Ok(Statement::Insert { table, rows });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(sql: &str) -> Statement {
        let mut statements = parse(sql).unwrap();
        assert_eq!(statements.len(), 1, "{sql}");
        statements.remove(0)
    }

    #[test]
    fn the_set_up_of_a_benchmark_is_understood() {
        let set =
            |name: &str, value: &str| Statement::AlterSystem { name: name.to_owned(), value: Some(value.to_owned()) };
        assert_eq!(
            one("ALTER SYSTEM SET enable_frontend_peek_sequencing = true"),
            set("enable_frontend_peek_sequencing", "true")
        );
        assert_eq!(
            one("alter system set statement_logging_max_sample_rate to 0;"),
            set("statement_logging_max_sample_rate", "0")
        );
        let index = Statement::CreateIndex { table: "t".to_owned(), cluster: "quickstart".to_owned() };
        assert_eq!(one("CREATE DEFAULT INDEX IN CLUSTER quickstart ON t"), index);
        assert_eq!(one("GRANT SELECT ON TABLE t TO materialize"), Statement::Grant);
        let Statement::CreateTable { columns, .. } = one("CREATE TABLE t (id text, value int4)") else { panic!() };
        assert_eq!(columns.iter().map(|column| column.kind).collect::<Vec<_>>(), [ColumnType::Text, ColumnType::Int4]);
        let rows = vec![vec![Value::Text("a".to_owned()), Value::Int8(-1)]];
        assert_eq!(one("INSERT INTO t VALUES ('a', -1)"), Statement::Insert { table: "t".to_owned(), rows });
    }

    #[test]
    fn selects_are_understood_in_any_case_and_with_a_schema() {
        let expected = Statement::SelectTable { table: "t".to_owned() };
        for sql in ["select * from t", "SELECT * FROM public.t;", " Select*From \"t\" ;; "] {
            assert_eq!(one(sql), expected, "{sql}");
        }
        assert_eq!(one("select 1"), Statement::SelectValue(Value::Int4(1)));
        assert_eq!(one("select version()"), Statement::SelectVersion);
        let look =
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_name = 't'";
        assert_eq!(one(look), Statement::FindTable { name: "t".to_owned() });
    }

    #[test]
    fn isolation_can_be_set_in_each_of_the_usual_ways() {
        let expected =
            |value: &str| Statement::Set { name: "transaction_isolation".to_owned(), value: Some(value.to_owned()) };
        assert_eq!(one("SET transaction_isolation = 'serializable'"), expected("serializable"));
        assert_eq!(one("SET TRANSACTION ISOLATION LEVEL STRICT SERIALIZABLE"), expected("strict serializable"));
        let long = "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE";
        assert_eq!(one(long), expected("serializable"));
    }

    #[test]
    fn several_statements_come_apart_and_empty_ones_vanish() {
        assert_eq!(parse("begin; select 1;; commit").unwrap().len(), 3);
        assert_eq!(parse(" ; -- nothing\n ").unwrap(), []);
    }

    #[test]
    fn what_is_not_understood_whole_is_refused() {
        for (sql, code) in [
            ("select * from t where id = 'a'", "42601"),
            ("vacuum", "0A000"),
            ("set a", "42601"),
            ("create table x (a point)", "0A000"),
            ("insert into t values ('a'", "42601"),
        ] {
            assert_eq!(parse(sql).unwrap_err().code, code, "{sql}");
        }
    }
}
