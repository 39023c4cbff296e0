//! The full test command, `tests/run`, on a machine where an installation fails: it stops there, before it builds anything.
//!
//! The command finds only what these tests put in its `PATH`. Each program there is a script that succeeds and does nothing,
//! except for the few tools that the command itself is written with.

#![cfg(unix)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use kern_tests::folder::Folder;

/// The tools that the command is written with, as they are on this machine.
const REAL: &[&str] = &["bash", "cat", "cmp", "cp", "dirname", "ln", "mkdir", "sed"];
/// Everything that the command looks for before it installs anything.
const PRESENT: &[&str] = &[
    "apt-get",
    "cargo",
    "cc",
    "chromedriver",
    "chromium",
    "id",
    "initdb",
    "npm",
    "openssl",
    "pgbouncer",
    "python3",
    "setpriv",
];

/// A machine: the programs that the command finds.
struct Machine {
    folder: Folder,
}

/// How the command ended on it.
struct Ended {
    code: Option<i32>,
    output: String,
    errors: String,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { folder: Folder::new() };
        fs::create_dir(machine.folder.file("bin")).expect("the folder can be made");
        for tool in REAL {
            let path = std::env::var_os("PATH").expect("there is a PATH");
            let real = std::env::split_paths(&path).map(|folder| folder.join(tool)).find(|file| file.is_file());
            symlink(real.expect("the tool is on this machine"), machine.program(tool)).expect("it can be linked");
        }
        PRESENT.iter().for_each(|name| machine.script(name, "exit 0"));
        machine
    }

    fn program(&self, name: &str) -> std::path::PathBuf {
        self.folder.file("bin").join(name)
    }

    fn script(&self, name: &str, does: &str) {
        let file = self.program(name);
        fs::write(&file, format!("#!/bin/sh\n{does}\n")).expect("the script can be written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("it can be made executable");
    }

    /// Makes the user an ordinary one, or root.
    fn user(self, id: u32) -> Self {
        self.script("id", &format!("echo {id}"));
        self
    }

    fn without(self, name: &str) -> Self {
        fs::remove_file(self.program(name)).expect("it was there");
        self
    }

    fn with(self, name: &str, does: &str) -> Self {
        self.script(name, does);
        self
    }

    /// The place for what the command builds. It does not exist before.
    fn target(&self) -> std::path::PathBuf {
        self.folder.file("target")
    }

    fn run(&self) -> Ended {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace");
        let ended = Command::new(self.program("bash"))
            .arg(root.join("tests/run"))
            .env_clear()
            .env("PATH", self.folder.file("bin"))
            .env("CARGO_TARGET_DIR", self.target())
            .env("KERN_SHARED", self.folder.file("no-recordings"))
            .output()
            .expect("bash can be started");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the command writes text");
        Ended { code: ended.status.code(), output: text(ended.stdout), errors: text(ended.stderr) }
    }
}

impl Ended {
    /// The command has installed nothing it needs: it stopped with 2, and names the reason last.
    #[track_caller]
    fn stopped(&self, reason: &str) {
        assert_eq!(self.code, Some(2), "{}{}", self.output, self.errors);
        let last = self.errors.lines().last();
        assert_eq!(last, Some(format!("tests/run: {reason}").as_str()), "{}", self.output);
        // It said so before it started.
        assert!(self.output.contains("tests/run, before it starts:"), "{}", self.output);
        assert!(!self.output.contains("=== format"), "it went on: {}", self.output);
    }
}

#[test]
fn a_package_that_cannot_be_installed_stops_the_command() {
    let machine = Machine::new().user(0).without("openssl").with("apt-get", "[ \"$1\" = update ]");
    let ended = machine.run();
    ended.stopped("apt-get could not install openssl");
    assert!(ended.output.contains("Packages of the system, with apt-get, into /usr: openssl."), "{}", ended.output);
    assert!(!machine.target().exists(), "nothing is written before the packages are there");
}

#[test]
fn a_list_of_packages_that_cannot_be_loaded_stops_the_command() {
    let machine = Machine::new().user(0).without("openssl").with("apt-get", "exit 100");
    machine.run().stopped("apt-get update failed: nothing was installed");
}

#[test]
fn an_ordinary_user_is_told_how_to_install_what_is_missing() {
    let machine = Machine::new().user(1000).without("openssl");
    let called = machine.folder.file("called");
    let machine = machine.with("apt-get", &format!("echo called >{}", called.display()));
    let ended = machine.run();
    ended.stopped("nothing can be tested without openssl: install them first");
    assert!(ended.output.contains("sudo apt-get install --no-install-recommends openssl"), "{}", ended.output);
    assert!(!called.exists(), "an ordinary user installs no packages");
}

#[test]
fn clients_that_cannot_be_installed_stop_the_command() {
    // Python is there with all that is asked of it, and makes no environment.
    let machine = Machine::new().user(1000).with("python3", "[ \"$1\" = -c ]");
    let venv = machine.target().join("tmp/outside");
    let ended = machine.run();
    ended.stopped(&format!("python3 could not make {}", venv.display()));
    assert!(ended.output.contains("Clients of others, with pip, into "), "{}", ended.output);
}

#[test]
fn a_package_of_npm_that_cannot_be_installed_stops_the_command() {
    let pip = "case \"$2\" in venv) mkdir -p \"$4/bin\"; ln -s \"$0\" \"$4/bin/python\";; esac";
    let machine = Machine::new().user(1000).with("npm", "exit 1").with("python3", pip);
    let axe = include_str!("browser/accessible.rs")
        .split("const AXE: &str = \"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    machine.run().stopped(&format!("npm could not install {}", axe.expect("the version is named there")));
}
