//! A program on its own terminal, and the answers typed there.

use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::sandbox::Sandbox;

/// A conversation on a terminal: what was shown, and the exit status.
pub struct TerminalSession {
    pub code: i32,
    pub shown: String,
}

impl TerminalSession {
    /// Runs `command` on its own terminal, and types each answer when its question is shown.
    pub fn with(command: &mut Command, answers: &[(&str, &str)]) -> TerminalSession {
        TerminalSession::sized(command, answers, (0, 0))
    }

    /// Like [`TerminalSession::with`], on a terminal with this many lines and columns.
    fn sized(command: &mut Command, answers: &[(&str, &str)], (ws_row, ws_col): (u16, u16)) -> TerminalSession {
        // A child that held this side would never see it closed.
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("a terminal to use");
        tcsetwinsize(&master, Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 }).expect("a size");
        let name = ptsname(&master, Vec::new()).expect("it has a name").into_string().expect("of ASCII");
        let side = || Stdio::from(fs::OpenOptions::new().read(true).write(true).open(&name).expect("its other side"));
        let mut child = command.stdin(side()).stdout(side()).stderr(side()).spawn().expect("the runner starts");
        let mut keyboard = fs::File::from(master);
        let mut screen = keyboard.try_clone().expect("two handles");
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut part = [0; 4096];
            // Reading fails once the other side is closed.
            while let Ok(count @ 1..) = screen.read(&mut part) {
                if sender.send(part[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        let (mut shown, end) = (Vec::new(), Instant::now() + Duration::from_secs(120));
        let mut answers = answers.iter();
        let mut waiting = answers.next();
        let mut seen = 0;
        let code = loop {
            shown.extend(receiver.recv_timeout(Duration::from_millis(20)).unwrap_or_default());
            let text = String::from_utf8_lossy(&shown[seen..]).into_owned();
            if let Some((_, answer)) = waiting.filter(|(question, _)| text.contains(question)) {
                seen = shown.len();
                if text.contains("not shown") {
                    // The terminal turns off echo after it shows the question.
                    std::thread::sleep(Duration::from_millis(100));
                }
                keyboard.write_all(format!("{answer}\n").as_bytes()).expect("typed");
                waiting = answers.next();
            }
            if let Some(status) = child.try_wait().expect("it can be asked") {
                break status.code().unwrap_or(-1);
            }
            if Instant::now() >= end {
                child.kill().expect("it is running");
                panic!("no end: {}", String::from_utf8_lossy(&shown));
            }
        };
        // The last output may not have arrived yet.
        while let Ok(part) = receiver.recv_timeout(Duration::from_millis(300)) {
            shown.extend(part);
        }
        let shown = String::from_utf8_lossy(&shown).into_owned();
        assert!(waiting.is_none(), "never asked {:?}:\n{shown}", waiting.map(|(question, _)| question));
        TerminalSession { code, shown }
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> TerminalSession {
        assert_eq!(self.code, code, "{}", self.shown);
        self
    }

    #[track_caller]
    pub fn says(self, words: &[&str]) -> TerminalSession {
        words.iter().for_each(|word| assert!(self.shown.contains(word), "{word:?} is not shown:\n{}", self.shown));
        self
    }
}

/// Every wait for machines uses the same view: with four machines on a terminal of twelve lines, and of five lines.
#[test]
fn wait_has_a_line_for_each_machine_on_a_terminal() {
    let lab = Sandbox::with("--clock 60");
    lab.provider();
    lab.class("small");
    let on = |line: &str, size: (u16, u16)| {
        TerminalSession::sized(lab.command(line.split(' ')).env("TERM", "xterm"), &[], size).exits(0)
    };
    let create = "cluster-create demo --control-planes 1 --workers 3 --yes";
    let step = ["└── demo-workers  ", "step 1 of 5 (prepare), "];
    // The cursor moves up over four machines, two machine sets and the cluster.
    on(create, (12, 90)).says(&step).says(&["\u{1b}[7A"]);
    let short = on("cluster-scale demo --set workers=7 --yes", (5, 60)).says(&["and ", " not finished", "\u{1b}[3A"]);
    assert!(!short.shown.contains("\u{1b}[4A"), "five lines are full: {}", short.shown);
    let shown = on("cluster-status demo --watch --timeout 5s", (12, 90));
    assert!(shown.shown.matches("watching cluster `demo`").count() > 1, "{}", shown.shown);
    // `--heal` shows them while its step runs and while the step takes effect.
    lab.run("stack-down --yes").exits(0);
    on("cluster-explain demo --heal --yes", (30, 90))
        .says(&["└── demo-workers", "waiting for the step to take effect"]);
    on("cluster-delete demo --yes --allow-destroy demo", (12, 90));
}

/// Ctrl-D ends a prompt as Ctrl-C does. The terminal itself echoes only the line feed that is typed after it.
#[test]
fn error_after_an_aborted_prompt_has_its_own_line() {
    let lab = Sandbox::with("");
    lab.provider();
    let mut command = lab.command(["machineclass-create"]);
    let session = TerminalSession::with(&mut command, &[("Name of the machine class: ", "\u{4}")]).exits(130);
    let after = session.shown.split_once("Name of the machine class: ").expect("it was asked").1;
    assert!(after.starts_with("\r\n\r\nerror: interrupted while asking"), "{after:?}");
}
