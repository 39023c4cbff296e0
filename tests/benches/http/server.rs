//! Servers as processes of their own: this very program with other arguments.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kern::Agent;
use kern::db::SqliteDb;
use kern::models::{ScriptedModel, turn};
use kern::os::AgentOS;
use tokio::net::TcpListener;

use crate::bare;

/// The first argument of a server's process.
pub(crate) const SERVE: &str = "serve";

/// A server, killed when this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// From when its process was asked for until it had answered the first request.
    pub(crate) started_in: Duration,
}

impl Server {
    pub(crate) fn kern(file: &Path) -> Self {
        Self::start(&["kern".as_ref(), file])
    }

    pub(crate) fn bare(lists: &Path, decisions: &Path) -> Self {
        Self::start(&["bare".as_ref(), lists, decisions])
    }

    fn start(arguments: &[&Path]) -> Self {
        let program = std::env::current_exe().expect("this program is a file");
        let started = Instant::now();
        let mut child = Command::new(program)
            .arg(SERVE)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it is started");
        let mut line = String::new();
        let output = child.stdout.take().expect("its output is piped");
        BufReader::new(output).read_line(&mut line).expect("it says where it is served");
        let address = line.trim_end().parse().expect("it says where it is served");
        let mut stream = TcpStream::connect(address).expect("it takes connections");
        let request = "GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        Self { child, address, started_in: started.elapsed() }
    }

    /// Memory that it holds, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it lives");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory is told");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("it is a number") << 10
    }
}

impl Server {
    /// Time that it has spent on processors so far.
    pub(crate) fn worked(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it lives");
        let (_, fields) = stat.rsplit_once(") ").expect("its name is in parentheses");
        let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().expect("it is a number"));
        // A tick is a hundredth of a second on every system that has this file.
        Duration::from_millis(ticks.sum::<u64>() * 10)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves what the arguments say, until it is killed.
pub(crate) async fn serve(arguments: &[String]) {
    match arguments {
        [kind, file] if kind == "kern" => {
            let db = SqliteDb::open(file).await.expect("the file opens");
            let model = ScriptedModel::new([turn().text("done")]);
            let agent = Agent::builder().id("bench").model(model).db(db).build().expect("the agent is whole");
            let os = AgentOS::builder().agent(agent).build().expect("it is whole");
            let server = os.start("127.0.0.1:0").await.expect("it is served");
            say(server.address());
            std::future::pending::<()>().await;
        }
        [kind, lists, decisions] if kind == "bare" => {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
            say(listener.local_addr().expect("it has an address"));
            bare::serve(listener, lists.as_ref(), decisions.as_ref()).await;
        }
        _ => panic!("nobody serves {arguments:?}"),
    }
}

fn say(address: SocketAddr) {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{address}").and_then(|()| output.flush()).expect("the benchmark reads");
}
