//! A PostgreSQL server of a test program's own, started from the installed binaries: nothing of it is left behind, also when
//! the program is killed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use kern_db::PostgresDb;
use tokio_postgres::{Client, Config, NoTls};

use crate::folder::unique;

/// The database that every server has from the start.
pub const DATABASE: &str = "postgres";
/// Settings that make a server quick that outlives no power cut.
pub const QUICK: &[&str] = &["fsync=off", "full_page_writes=off", "synchronous_commit=on", "shared_buffers=32MB"];
/// Who the tests are to the server.
const USER: &str = "kern";

/// An error with all its causes.
#[must_use]
pub fn told(error: &kern_db::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Finds a port for a server that binds it later.
///
/// Ports below the range from which the system takes those of clients: a connection of another test would otherwise take the
/// port before the server does.
///
/// # Panics
///
/// When none is free.
#[must_use]
pub fn unused_port() -> u16 {
    const FIRST: u32 = 20_000;
    const PORTS: u32 = 12_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Each test program begins elsewhere.
    let begin = std::process::id().wrapping_mul(37);
    (0..PORTS)
        .map(|_| FIRST + begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % PORTS)
        .filter_map(|port| u16::try_from(port).ok())
        .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a port is free")
}

/// A server. Its folder and it are gone when this is dropped, or this process ends in whatever way.
#[derive(Debug)]
pub struct Server {
    folder: PathBuf,
    programs: PathBuf,
    /// Waits until nobody holds the other end of its input, and cleans up.
    watcher: Child,
    next: AtomicU64,
    port: u16,
}

/// The server that all tests of a program share.
///
/// # Panics
///
/// When it does not start.
#[must_use]
pub fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(QUICK))
}

/// Whether this is root, as whom no server runs.
fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("there is an `id`");
    String::from_utf8_lossy(&id.stdout).trim() == "0"
}

/// Where `initdb` and its like are: on the path, or where Debian has them, the newest.
fn programs() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("initdb")).find(|file| file.is_file());
    if let Some(file) = on_path.and_then(|file| file.canonicalize().ok())
        && let Some(folder) = file.parent()
        && folder.join("pg_ctl").is_file()
    {
        return folder.to_owned();
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, folder)| folder.join("initdb").is_file())
        .collect();
    found.sort();
    let newest = found.pop();
    newest.expect("PostgreSQL's server is installed: apt-get install postgresql, or put its `initdb` on the PATH").1
}

/// A command as somebody the server runs as.
pub fn unprivileged(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
    command
}

fn succeed(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("the program is there");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Server {
    /// Starts one with these settings.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    pub fn start(settings: &[&str]) -> Self {
        let server = Self::in_a_folder();
        let data = server.folder.join("data");
        let mut initdb = unprivileged(&server.programs.join("initdb"));
        initdb.arg("-D").arg(&data).args(["-U", USER, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]);
        succeed(&mut initdb);
        let own = ["listen_addresses=''", "max_connections=300", "logging_collector=off", "timezone='UTC'"];
        let folder = format!("unix_socket_directories='{}'", server.folder.display());
        let settings: Vec<&str> = own.iter().chain(settings).copied().chain([folder.as_str()]).collect();
        server.configure(&settings);
        server.control(&["-w", "-t", "60", "start"]);
        server
    }

    /// Starts a copy of another server that follows it, as its only standby.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    pub fn follow(&self) -> Self {
        let copy = Self::in_a_folder();
        let mut backup = unprivileged(&self.programs.join("pg_basebackup"));
        backup.arg("-D").arg(copy.folder.join("data")).arg("-h").arg(&self.folder);
        backup.args(["-p", &self.port.to_string(), "-U", USER, "-R", "-X", "stream", "-c", "fast", "--no-sync"]);
        succeed(&mut backup);
        copy.configure(&[&format!("unix_socket_directories='{}'", copy.folder.display())]);
        copy.control(&["-w", "-t", "60", "start"]);
        copy
    }

    /// Copies the whole server while it runs, with `pg_basebackup`.
    ///
    /// # Panics
    ///
    /// When it cannot be copied.
    pub fn back_up(&self) {
        let copy = self.folder.join("copy");
        let _ = std::fs::remove_dir_all(&copy);
        let mut backup = unprivileged(&self.programs.join("pg_basebackup"));
        backup.arg("-D").arg(copy).arg("-h").arg(&self.folder);
        backup.args(["-p", &self.port.to_string(), "-U", USER, "-X", "stream", "-c", "fast", "--no-sync"]);
        succeed(&mut backup);
    }

    /// Puts the copy that was made last in the place of the server's data, and starts it.
    ///
    /// # Panics
    ///
    /// When the server does not come back.
    pub fn put_back(&self) {
        self.stop("immediate");
        let data = self.folder.join("data");
        std::fs::remove_dir_all(&data).expect("the data is there");
        std::fs::rename(self.folder.join("copy"), data).expect("the copy is there");
        self.go_on();
    }

    /// Writes a database into a file, with `pg_dump`.
    ///
    /// # Panics
    ///
    /// When it cannot be written.
    pub fn dump(&self, database: &str) {
        let mut dump = unprivileged(&self.programs.join("pg_dump"));
        dump.arg("-Fc").arg("-f").arg(self.folder.join("dump")).arg("-h").arg(&self.folder);
        dump.args(["-p", &self.port.to_string(), "-U", USER, database]);
        succeed(&mut dump);
    }

    /// Reads the file that was written last into an empty database, with `pg_restore`.
    ///
    /// # Panics
    ///
    /// When it cannot be read.
    pub fn read_in(&self, database: &str) {
        let mut restore = unprivileged(&self.programs.join("pg_restore"));
        restore.arg("-h").arg(&self.folder).args(["-p", &self.port.to_string(), "-U", USER, "-e", "-d", database]);
        succeed(restore.arg(self.folder.join("dump")));
    }

    /// The address of a database, for the user whose server it is.
    #[must_use]
    pub fn address(&self, database: &str) -> String {
        self.address_as(USER, database)
    }

    /// Makes a database with nothing in it, in the place of one of that name if there is one.
    ///
    /// # Panics
    ///
    /// When it cannot be made.
    pub async fn make_database(&self, name: &str) {
        let admin = self.connect(DATABASE).await;
        admin.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await.expect("it can be dropped");
        admin.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("it can be made");
    }

    /// Makes a standby the primary.
    ///
    /// # Panics
    ///
    /// When it does not become one.
    pub fn promote(&self) {
        self.control(&["-w", "-t", "60", "promote"]);
    }

    /// Stops the server. `immediate` is as if it had crashed.
    ///
    /// # Panics
    ///
    /// When it does not stop.
    pub fn stop(&self, mode: &str) {
        self.control(&["-w", "-t", "60", "-m", mode, "stop"]);
    }

    /// Adds lines to its settings. Later ones count.
    fn configure(&self, settings: &[&str]) {
        let conf = self.folder.join("data").join("postgresql.conf");
        let mut text = std::fs::read_to_string(&conf).expect("initdb has written it");
        for setting in settings {
            text.push_str(setting);
            text.push('\n');
        }
        std::fs::write(&conf, text).expect("the settings can be written");
    }

    /// A folder, and what cleans up after it.
    fn in_a_folder() -> Self {
        let folder = std::env::temp_dir().join(unique("kern-pg"));
        std::fs::create_dir(&folder).expect("the place for temporary files can be written");
        let programs = programs();
        // Started before the server: whatever happens from here on, somebody cleans up.
        let script = r#"cd /; read -r _; "$@" -m immediate stop >/dev/null 2>&1; rm -rf "$KERN_FOLDER""#;
        let stop = unprivileged(&programs.join("pg_ctl"));
        let mut watcher = Command::new("sh");
        watcher.args(["-c", script, "sh"]).arg(stop.get_program()).args(stop.get_args());
        watcher.arg("-D").arg(folder.join("data")).env("KERN_FOLDER", &folder);
        watcher.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // Ctrl-C is for the tests; it hears of their end.
        std::os::unix::process::CommandExt::process_group(&mut watcher, 0);
        let watcher = watcher.spawn().expect("there is a shell");
        if is_root() {
            succeed(Command::new("chown").arg("postgres").arg(&folder));
        }
        Self { folder, programs, watcher, next: AtomicU64::new(0), port: 5432 }
    }

    /// Starts one that speaks TLS on a port of this machine.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    pub fn start_with_tls(key: &Path, certificate: &Path) -> Self {
        let port = unused_port();
        // The server takes a key only if it is its own.
        succeed(Command::new("chmod").arg("600").arg(key));
        if is_root() {
            succeed(Command::new("chown").arg("postgres").arg(key));
        }
        let file = |path: &Path| path.display().to_string();
        let (key, certificate) =
            (format!("ssl_key_file='{}'", file(key)), format!("ssl_cert_file='{}'", file(certificate)));
        let port_is = format!("port={port}");
        let mut server =
            Self::start(&["fsync=off", "ssl=on", &key, &certificate, "listen_addresses='127.0.0.1'", &port_is]);
        server.port = port;
        server
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs `pg_ctl`.
    fn control(&self, arguments: &[&str]) {
        let mut control = unprivileged(&self.programs.join("pg_ctl"));
        control.arg("-D").arg(self.folder.join("data")).arg("-l").arg(self.folder.join("log")).args(arguments);
        let output = control.stdin(Stdio::null()).output().expect("the program is there");
        assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), self.log());
    }

    /// Stops the server and starts it again. `immediate` is as if it had crashed.
    ///
    /// # Panics
    ///
    /// When it does not come back.
    pub fn restart(&self, mode: &str) {
        self.control(&["-w", "-t", "60", "-m", mode, "restart"]);
    }

    /// Starts the server again.
    ///
    /// # Panics
    ///
    /// When it does not come back.
    pub fn go_on(&self) {
        self.control(&["-w", "-t", "60", "start"]);
    }

    /// What the server has said.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// The folder of its socket.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The address of a database, for a user.
    #[must_use]
    pub fn address_as(&self, user: &str, database: &str) -> String {
        let folder = self.folder.display().to_string().replace('/', "%2F");
        format!("postgres://{user}@{folder}/{database}")
    }

    /// A connection to a database that is not kern's, as the user whose server it is.
    ///
    /// # Panics
    ///
    /// When there is none to be had.
    pub async fn connect(&self, database: &str) -> Client {
        self.connect_as(USER, database).await
    }

    /// The same for another user.
    ///
    /// # Panics
    ///
    /// When there is none to be had.
    pub async fn connect_as(&self, user: &str, database: &str) -> Client {
        let mut config = Config::new();
        config.host_path(&self.folder).port(self.port).user(user).dbname(database);
        let (client, connection) = config.connect(NoTls).await.expect("the server takes a connection");
        tokio::spawn(connection);
        client
    }

    /// A place with nothing in it: a schema of the server's one database, which costs a tenth of a database. Everything
    /// that kern makes is in it, its locks included.
    ///
    /// # Panics
    ///
    /// When it cannot be made.
    pub async fn database(&'static self) -> Database {
        let name = format!("test_{}", self.next.fetch_add(1, Ordering::Relaxed));
        let made = self.connect(DATABASE).await.batch_execute(&format!("CREATE SCHEMA {name}")).await;
        made.expect("a schema can be made");
        Database { server: self, name }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.watcher.stdin.take());
        // It cleans up whether somebody waits for it or not.
        let _ = self.watcher.wait();
    }
}

/// The place of one test.
#[derive(Debug)]
pub struct Database {
    server: &'static Server,
    name: String,
}

impl Database {
    /// The server it is on.
    #[must_use]
    pub fn server(&self) -> &'static Server {
        self.server
    }

    /// The name of its schema, and what its connections call themselves.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> String {
        self.address_as(USER)
    }

    /// Its address for another user.
    #[must_use]
    pub fn address_as(&self, user: &str) -> String {
        let Self { server, name } = self;
        let address = server.address_as(user, DATABASE);
        format!("{address}?application_name={name}&options=-c%20search_path%3D{name}")
    }

    /// Opens it as a store, as another process would.
    ///
    /// # Panics
    ///
    /// When it does not open.
    pub async fn open(&self) -> PostgresDb {
        self.open_with(Duration::from_secs(5), 4).await
    }

    /// Opens it with another timeout for locks, and another number of connections.
    ///
    /// # Panics
    ///
    /// When it does not open.
    pub async fn open_with(&self, busy: Duration, connections: usize) -> PostgresDb {
        let opened = PostgresDb::builder(self.address()).busy_timeout(busy).max_connections(connections).open().await;
        opened.expect("a fresh database opens")
    }

    /// A connection that is not kern's.
    ///
    /// # Panics
    ///
    /// When there is none to be had.
    pub async fn raw(&self) -> Client {
        self.raw_as(USER).await
    }

    /// The same for another user.
    ///
    /// # Panics
    ///
    /// When there is none to be had.
    pub async fn raw_as(&self, user: &str) -> Client {
        let client = self.server.connect_as(user, DATABASE).await;
        client.batch_execute(&format!("SET search_path = {}", self.name)).await.expect("the path can be set");
        client
    }

    /// Ends the connections that kern has to it, and says how many there were.
    ///
    /// # Panics
    ///
    /// When the server does not do it.
    pub async fn terminate(&self) -> u64 {
        let admin = self.server.connect(DATABASE).await;
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1";
        admin.execute(sql, &[&self.name]).await.expect("the owner of the server may end connections")
    }
}
