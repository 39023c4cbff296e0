//! Poolers in front of the server. These tests need `pgbouncer`.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kern_db::{Error, IntoDb as _, PostgresDb};
use kern_tests::drive;
use kern_tests::folder::Folder;
use kern_tests::postgres::{server, unprivileged, unused_port};

/// A PgBouncer, which ends with this.
struct Pooler {
    process: Child,
    folder: Folder,
    port: u16,
}

impl Pooler {
    fn start(mode: &str) -> Self {
        let port = unused_port();
        let folder = Folder::new();
        // It does not run as root.
        let open = Command::new("chmod").arg("755").arg(folder.file("")).status().unwrap();
        assert!(open.success());
        std::fs::write(folder.file("users"), "\"kern\" \"\"\n").unwrap();
        let server = server().folder().display();
        let text = format!(
            "[databases]\n* = host={server} port=5432 user=kern\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = {mode}\nignore_startup_parameters = \
             extra_float_digits,options\nserver_idle_timeout = 1\n",
            folder.file("users").display()
        );
        std::fs::write(folder.file("settings"), text).unwrap();
        // Debian has it where an ordinary user's path does not lead.
        let debian = Path::new("/usr/sbin/pgbouncer");
        let mut command = unprivileged(if debian.is_file() { debian } else { Path::new("pgbouncer") });
        command.arg("-q").arg(folder.file("settings")).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("this test needs `pgbouncer`");
        Self { process, folder, port }
    }

    fn address(&self) -> String {
        format!("postgres://kern@127.0.0.1:{}/postgres", self.port)
    }

    async fn open(&self) -> Result<PostgresDb, Error> {
        // It may take longer to start than a store waits for a server.
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            match PostgresDb::builder(self.address()).max_connections(4).open().await {
                Err(error) if error.code() == "store_unavailable" && Instant::now() < until => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                opened => return opened,
            }
        }
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_file(self.folder.file("settings"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_lends_sessions_by_the_transaction_is_refused() {
    for mode in ["transaction", "statement"] {
        let refused = Pooler::start(mode).open().await.unwrap_err();
        let said = refused.to_string();
        assert!(refused.code() == "invalid" && said.contains("pool_mode = session"), "{mode}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_lends_them_by_the_session_is_none_of_kerns_business_until_it_changes_its_mind() {
    let pooler = Pooler::start("session");
    let db = pooler.open().await.unwrap().into_db();
    let run_id = drive::approved(&db).await;
    // It is told to lend them by the transaction, which is refused before anything is done on another's session.
    let settings = std::fs::read_to_string(pooler.folder.file("settings")).unwrap();
    std::fs::write(pooler.folder.file("settings"), settings.replace("= session", "= transaction")).unwrap();
    let told = Command::new("kill").args(["-s", "HUP", &pooler.process.id().to_string()]).status().unwrap();
    assert!(told.success());
    // An open connection keeps its session; a new one shares one.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut refused = 0;
    for _ in 0..50 {
        let asking = (0..8).map(|_| {
            let (db, run_id) = (db.clone(), run_id.clone());
            tokio::spawn(async move { db.get_run(&run_id).await })
        });
        for asked in asking.collect::<Vec<_>>() {
            match asked.await.unwrap() {
                Ok(run) => assert_eq!(run.run_id, run_id),
                Err(Error::Unavailable { source, .. }) if source.to_string().contains("pool_mode") => refused += 1,
                Err(error) => panic!("{error:?}"),
            }
        }
        if refused > 0 {
            return;
        }
    }
    panic!("sessions cross, and no caller is told");
}
