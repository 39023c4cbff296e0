//! `kern approvals watch`.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command};

use kern_tests::command::Kern;
use kern_tests::steps::{Store, required};
use serde_json::Value;

/// Lines of a child's output, each as JSON.
struct Watch {
    child: Child,
    lines: Option<Lines<BufReader<ChildStdout>>>,
}

impl Watch {
    fn start(kern: &Kern) -> Self {
        let mut child = kern.start(&["approvals", "watch", "--interval", "0.05", "--json"]);
        let lines = Some(BufReader::new(child.stdout.take().unwrap()).lines());
        Self { child, lines }
    }

    fn next(&mut self) -> (String, Value) {
        let line = self.lines.as_mut().and_then(Lines::next).expect("it goes on").unwrap();
        let approval: Value = serde_json::from_str(&line).unwrap();
        (approval["id"].as_str().unwrap().to_owned(), approval)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn one_more(store: &Store) -> String {
    let run_id = store.paused(&[required()]).await;
    store.approval(&run_id).await.id.to_string()
}

#[tokio::test]
async fn what_waits_is_shown_first_and_then_each_new_one_once() {
    let store = Store::on_a_file().await;
    let kern = Kern::on(store.file());
    let decided = one_more(&store).await;
    assert_eq!(kern.run(&["approvals", "reject", &decided, "--yes", "--by", "bob"]).code, 0);
    let (first, second) = (one_more(&store).await, one_more(&store).await);
    let mut watch = Watch::start(&kern);
    assert_eq!(watch.next().0, first);
    assert_eq!(watch.next().0, second);
    for _ in 0..5 {
        let id = one_more(&store).await;
        let (found, approval) = watch.next();
        assert_eq!((found, approval["status"].as_str()), (id, Some("pending")));
    }
    let approval = store.get_approval(&first.as_str().into()).await.unwrap().unwrap();
    assert_eq!(approval.status.as_str(), "pending", "to look changes nothing");

    let interrupted = Command::new("kill").args(["-INT", &watch.child.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    assert_eq!(watch.child.wait().unwrap().code(), Some(0));
    assert!(watch.lines.as_mut().unwrap().next().is_none(), "nothing came twice");
}

#[tokio::test]
async fn it_ends_quietly_when_nobody_reads_any_more() {
    let store = Store::on_a_file().await;
    let kern = Kern::on(store.file());
    one_more(&store).await;
    let mut watch = Watch::start(&kern);
    watch.next();
    watch.lines = None;
    let child = &mut watch.child;
    one_more(&store).await;
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
    assert_eq!(said, "");
}

#[tokio::test]
async fn on_a_terminal_it_says_what_it_does_and_ends_with_ctrl_c() {
    let store = Store::on_a_file().await;
    let kern = Kern::on(store.file()).env("TEST_COLUMNS", "200");
    let said = kern.on_a_terminal(&["approvals", "watch"], "Ctrl-C ends this.", &[], "\u{3}");
    assert_eq!((said.code, said.out.contains("nothing waits")), (0, true), "{said:?}");
    let id = one_more(&store).await;
    let said = kern.on_a_terminal(&["approvals", "watch"], &id, &[], "\u{3}");
    assert!(said.code == 0 && said.out.contains("1 call waits") && said.out.contains("asked by ana"), "{said:?}");
}
