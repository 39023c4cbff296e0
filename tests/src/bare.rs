//! The limit that the benchmark of an approval cycle is held against: the same rows, written by five bare commits.
//!
//! The rows are those of a real cycle, in tables with the same columns, keys and indexes and the same durability. What
//! kern adds is left out: no reading, no checking, no hashing, no triggers, no other thread.

use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

/// The columns of a row, and its values.
type Row = (String, Vec<String>, Vec<Value>);

/// One statement of a commit.
enum Write {
    Insert(Row),
    /// All columns of the row, by the ones that name it.
    Update(Row, &'static [&'static str]),
}

/// A file with the same tables, and the five commits of one cycle.
pub struct Bare {
    connection: Connection,
    commits: Vec<Vec<Write>>,
    run_id: String,
    round: u64,
}

impl Bare {
    /// Reads the rows of a run's cycle with one approved call, and makes a file beside it.
    ///
    /// # Panics
    ///
    /// When the files cannot be used, or the cycle is another one.
    #[must_use]
    pub fn of(file: &Path, run_id: &str, beside: &Path) -> Self {
        let source = Connection::open(file).expect("the store's file can be read");
        let connection = Connection::open(beside).expect("a file can be made");
        connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")
            .expect("the file takes the store's settings");
        let mut tables = source
            .prepare("SELECT sql FROM sqlite_master WHERE type IN ('table', 'index') AND sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY type DESC")
            .expect("the schema can be read");
        for sql in tables.query_map((), |row| row.get::<_, String>(0)).expect("the schema can be read") {
            connection.execute_batch(&sql.expect("a schema is text")).expect("the tables can be made");
        }
        let rows = |table: &str, filter: &str| rows(&source, table, filter, run_id);
        let audit = |actions: &str| {
            rows("kern_audit", &format!("run_id = ?1 AND action IN ({actions}) ORDER BY seq"))
                .into_iter()
                .map(Write::Insert)
        };
        let told = |topics: &str| {
            rows("kern_outbox", &format!("run_id = ?1 AND topic IN ({topics})")).into_iter().map(Write::Insert)
        };
        let one = |table: &str| rows(table, "run_id = ?1").pop().expect("the cycle left a row");
        let vote = rows("kern_votes", "approval_id IN (SELECT id FROM kern_approvals WHERE run_id = ?1)");
        let run = |write: fn(Row, &'static [&'static str]) -> Write| write(one("kern_runs"), &["run_id"]);
        let execution = || Write::Update(one("kern_executions"), &["id"]);

        let mut pause = vec![Write::Insert(one("kern_runs")), Write::Insert(one("kern_calls"))];
        pause.push(Write::Insert(one("kern_approvals")));
        pause.extend(audit("'run_started', 'run_paused', 'requested'"));
        pause.extend(told("'run.paused', 'approval.requested'"));
        let mut resolve = vec![Write::Update(one("kern_approvals"), &["id"])];
        resolve.extend(vote.into_iter().map(Write::Insert));
        resolve.push(Write::Insert(one("kern_executions")));
        resolve.extend(audit("'voted', 'approved', 'ready'"));
        resolve.extend(told("'approval.approved'"));
        let mut claim = vec![run(Write::Update), execution()];
        claim.extend(audit("'run_claimed', 'executing'"));
        claim.extend(told("'execution.executing'"));
        let mut finish = vec![execution()];
        finish.extend(audit("'succeeded'"));
        finish.extend(told("'execution.finished'"));
        let mut complete = vec![run(Write::Update)];
        complete.extend(audit("'run_completed'"));
        complete.extend(told("'run.ended'"));
        let commits = vec![pause, resolve, claim, finish, complete];
        let written: usize = commits.iter().flatten().filter(|write| matches!(write, Write::Insert(_))).count();
        let count = |table: &str| rows(table, "run_id = ?1").len();
        let left = ["kern_runs", "kern_calls", "kern_approvals", "kern_executions", "kern_audit", "kern_outbox"];
        let all: usize = left.into_iter().map(count).sum::<usize>() + 1;
        assert_eq!(written, all, "every row of the cycle is written, and each once");
        drop(tables);
        Self { connection, commits, run_id: run_id.to_owned(), round: 0 }
    }

    /// Writes the rows of one more cycle, in five commits.
    ///
    /// # Panics
    ///
    /// When the file cannot be written.
    pub fn five_commits(&mut self) {
        self.cycle(|_| true, |_| ());
    }

    /// Writes the rows of one more cycle, in five commits, without those of the audit log.
    ///
    /// # Panics
    ///
    /// When the file cannot be written.
    pub fn five_commits_without_log(&mut self) {
        self.cycle(|table| table != "kern_audit", |_| ());
    }

    /// Writes the rows of one more cycle, in five commits, and reads the head of the audit log in each, as an append does.
    ///
    /// # Panics
    ///
    /// When the file cannot be written.
    pub fn five_commits_with_head(&mut self) {
        self.cycle(
            |_| true,
            |connection| {
                let mut head = connection
                    .prepare_cached("SELECT * FROM kern_audit ORDER BY seq DESC LIMIT 1")
                    .expect("the tables are the store's");
                let _: Option<i64> = head.query_row((), |row| row.get(0)).ok();
            },
        );
    }

    fn cycle(&mut self, keeps: fn(&str) -> bool, first: fn(&Connection)) {
        self.round += 1;
        let round = format!("{:012}", self.round);
        for commit in &self.commits {
            self.connection.execute_batch("BEGIN IMMEDIATE").expect("nobody else writes here");
            first(&self.connection);
            for write in commit {
                let (Write::Insert((table, ..)) | Write::Update((table, ..), _)) = write;
                if keeps(table) {
                    self.write(write, &round);
                }
            }
            self.connection.execute_batch("COMMIT").expect("the disk takes it");
        }
    }

    /// Writes one row under ids of its own: as long as the real ones, and in the order of time as they are.
    fn write(&self, write: &Write, round: &str) {
        let (Write::Insert((table, columns, values)) | Write::Update((table, columns, values), _)) = write;
        let own = |(column, value): (&String, &Value)| match value {
            _ if column == "seq" => Value::Null,
            Value::Text(text) if is_id(column) => Value::Text(format!("{round}{}", &text[text.len().min(12)..])),
            value => value.clone(),
        };
        let mut values: Vec<Value> = columns.iter().zip(values).map(own).collect();
        let sql = match write {
            Write::Insert(_) => {
                let places = vec!["?"; columns.len()].join(", ");
                format!("INSERT INTO {table} ({}) VALUES ({places})", columns.join(", "))
            }
            Write::Update(_, key) => {
                let named: Vec<Value> = key
                    .iter()
                    .map(|key| {
                        values[columns.iter().position(|column| column == key).expect("a key is a column")].clone()
                    })
                    .collect();
                values.extend(named);
                let set: Vec<String> = columns.iter().map(|column| format!("{column} = ?")).collect();
                let key: Vec<String> = key.iter().map(|column| format!("{column} = ?")).collect();
                format!("UPDATE {table} SET {} WHERE {}", set.join(", "), key.join(" AND "))
            }
        };
        let mut statement = self.connection.prepare_cached(&sql).expect("the tables are the store's");
        statement.execute(params_from_iter(values)).expect("the row fits");
    }

    /// The run whose rows these are.
    #[must_use]
    pub fn run_id(&self) -> &str {
        &self.run_id
    }
}

fn is_id(column: &str) -> bool {
    matches!(column, "id" | "run_id" | "approval_id" | "execution_id")
}

fn rows(source: &Connection, table: &str, filter: &str, run_id: &str) -> Vec<Row> {
    let mut statement =
        source.prepare(&format!("SELECT * FROM {table} WHERE {filter}")).expect("the store has this table");
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let found = statement.query_map([run_id], |row| (0..columns.len()).map(|place| row.get(place)).collect());
    let found: rusqlite::Result<Vec<Vec<Value>>> = found.expect("the rows can be read").collect();
    found.expect("the rows can be read").into_iter().map(|values| (table.to_owned(), columns.clone(), values)).collect()
}
