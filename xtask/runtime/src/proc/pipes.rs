//! A running program and our ends of its pipes. One `poll` loop reads and writes them: starting threads for that could fail.

use std::io::{ErrorKind, PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl, fstat};
use rustix::process::{
    Pid, RawPid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, test_kill_process_group, waitid,
};

/// How much is read at a time: the capacity of a pipe.
const CHUNK: usize = 64 << 10;
/// Polling intervals for a program that has closed its pipes or was sent a signal.
const SHORT: Duration = Duration::from_millis(2);
const LONG: Duration = Duration::from_millis(50);

/// Whether standard output and standard error share one pipe, which preserves their order, or have one each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streams {
    Apart,
    Together,
}

/// A program that was started as the leader of a process group.
pub struct Call {
    handle: duct::Handle,
    group: Pid,
    input: Option<(PipeWriter, Vec<u8>)>,
    /// Standard output and standard error while they are open.
    output: [Option<PipeReader>; 2],
    /// The inode numbers of the output pipes, by which the processes that have them open are found.
    pipes: Vec<u64>,
    pause: Duration,
}

impl Call {
    /// Starts a program, which must lead its own process group, with `input` on its standard input. duct would use threads to
    /// read and write its pipes, so the pipes are created here.
    ///
    /// # Errors
    /// Returns the system's error: program not found, no free process, no free descriptor.
    pub fn start(program: duct::Expression, input: Option<&[u8]>, streams: Streams) -> std::io::Result<Call> {
        let (stdout, theirs) = pipe()?;
        let (program, stderr) = match streams {
            Streams::Together => (program.stderr_to_stdout(), None),
            Streams::Apart => {
                let (stderr, theirs) = pipe()?;
                (program.stderr_file(theirs), Some(stderr))
            }
        };
        let program = program.stdout_file(theirs);
        let (program, input) = match input {
            None => (program.stdin_null(), None),
            Some(bytes) => {
                let (theirs, ours) = pipe()?;
                unblock(&ours)?;
                (program.stdin_file(theirs), Some((ours, bytes.to_vec())))
            }
        };
        let output = [Some(stdout), stderr];
        let mut pipes = Vec::new();
        for pipe in output.iter().flatten() {
            unblock(pipe)?;
            pipes.push(fstat(pipe)?.st_ino);
        }
        // Consumes the expression, which closes the program's ends of the pipes.
        let handle = program.start()?;
        let leader = handle.pids().first().and_then(|pid| Pid::from_raw(RawPid::try_from(*pid).ok()?));
        let group = leader.ok_or_else(|| std::io::Error::other("it has no process number"))?;
        Ok(Call { handle, group, input, output, pipes, pause: SHORT })
    }

    /// Waits up to `patience` until something can be read or written, and passes output to `take` with its stream number: 0 for
    /// standard output, 1 for standard error. Returns false if `take` did.
    pub fn pump(&mut self, patience: Duration, take: &mut impl FnMut(usize, &[u8]) -> bool) -> bool {
        if self.input.is_none() && self.is_closed() {
            // The program keeps running with its pipes closed, and `poll` does not report its exit.
            std::thread::sleep(self.pause.min(patience));
            self.pause = (self.pause * 2).min(LONG);
            return true;
        }
        let mut polled: Vec<PollFd<'_>> =
            self.output.iter().flatten().map(|pipe| PollFd::new(pipe, PollFlags::IN)).collect();
        polled.extend(self.input.iter().map(|(pipe, _)| PollFd::new(pipe, PollFlags::OUT)));
        // A signal ends the wait early; the caller checks for an interruption.
        let _ = poll(&mut polled, Timespec::try_from(patience).ok().as_ref());
        self.feed();
        let mut chunk = [0; CHUNK];
        for (number, stream) in self.output.iter_mut().enumerate() {
            let Some(pipe) = stream else { continue };
            match pipe.read(&mut chunk) {
                Ok(0) => *stream = None,
                Ok(count) if !take(number, &chunk[..count]) => return false,
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(_) => *stream = None,
            }
        }
        true
    }

    /// Writes to standard input, which the program may close before it has read everything.
    fn feed(&mut self) {
        let Some((pipe, rest)) = &mut self.input else { return };
        match pipe.write(rest) {
            Ok(count) => drop(rest.drain(..count)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return,
            Err(_) => rest.clear(),
        }
        if rest.is_empty() {
            self.input = None;
        }
    }

    fn is_closed(&self) -> bool {
        self.output.iter().all(Option::is_none)
    }

    /// Returns true if the program has exited. Its status stays unread, so that its pid and process group are not reused.
    pub fn has_exited(&self) -> bool {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        // If there is no such child, there is nothing to wait for.
        waitid(WaitId::Pid(self.group), look).map_or(true, |status| status.is_some())
    }

    /// Reads the remaining output after the program has exited, and returns its status. A process that it left behind with an
    /// open pipe is terminated after `linger`.
    pub fn close(
        mut self,
        linger: Duration,
        grace: Duration,
        take: &mut impl FnMut(usize, &[u8]) -> bool,
    ) -> std::io::Result<ExitStatus> {
        let end = Instant::now() + linger;
        self.input = None;
        while !self.is_closed() && Instant::now() < end {
            if !self.pump(LONG, take) {
                break;
            }
        }
        if !self.is_closed() {
            self.terminate_group(grace, take);
        }
        Ok(self.handle.wait()?.status)
    }

    /// Terminates the program and its children.
    pub fn terminate(self, grace: Duration) {
        let _ = self.terminate_with(grace, &mut |_, _| true);
    }

    /// Like [`Call::terminate`], but passes the remaining output to `take` and returns the status.
    pub fn terminate_with(
        mut self,
        grace: Duration,
        take: &mut impl FnMut(usize, &[u8]) -> bool,
    ) -> std::io::Result<ExitStatus> {
        self.input = None;
        self.terminate_group(grace, take);
        match self.handle.try_wait()? {
            Some(output) => Ok(output.status),
            // SIGKILL does not end a process in uninterruptible sleep.
            None => Err(std::io::Error::new(ErrorKind::TimedOut, "it could not be ended")),
        }
    }

    /// Sends SIGTERM to the group, and SIGKILL after `grace`. Also waits for grandchildren, such as docker's compose plugin,
    /// which may take longer than the program itself, and for a process of another session that has one of our pipes open.
    fn terminate_group(&mut self, grace: Duration, take: &mut impl FnMut(usize, &[u8]) -> bool) {
        self.signal(Signal::TERM);
        let mut end = Instant::now() + grace;
        let (mut pause, mut killed) = (SHORT, false);
        loop {
            self.pump(pause, take);
            pause = (pause * 2).min(LONG);
            if self.has_exited() && self.is_closed() && !is_group_alive(self.group) {
                return;
            }
            if Instant::now() < end {
                continue;
            }
            if killed {
                return;
            }
            self.signal(Signal::KILL);
            (killed, end) = (true, Instant::now() + grace);
        }
    }

    fn signal(&self, signal: Signal) {
        let _ = kill_process_group(self.group, signal);
        if !self.is_closed() {
            for process in processes_with_pipes(&self.pipes, self.group) {
                let _ = kill_process(process, signal);
            }
        }
    }
}

fn unblock(pipe: &impl AsFd) -> rustix::io::Result<()> {
    fcntl_setfl(pipe, fcntl_getfl(pipe)? | OFlags::NONBLOCK)
}

/// Returns true if a process of `group` is running. Zombies do not count: without an init process, orphans stay zombies.
fn is_group_alive(group: Pid) -> bool {
    if test_kill_process_group(group).is_err() {
        return false;
    }
    let Some(mut processes) = processes() else { return true };
    let lives = |(state, of): (String, RawPid)| of == group.as_raw_pid() && !["Z", "X"].contains(&state.as_str());
    processes.any(|process| stat(process).is_some_and(lives))
}

/// The processes outside `group` that have one of these pipes open. Those in the group already have the signal, and many
/// programs exit immediately at a second one. A process with our own executable was just forked for another call and has not
/// called exec yet.
fn processes_with_pipes(pipes: &[u64], group: Pid) -> Vec<Pid> {
    let ours = std::fs::read_link("/proc/self/exe").ok();
    let holds = |process: RawPid| {
        let open = std::fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
        let mut open = open.filter_map(|entry| std::fs::read_link(entry.path()).ok());
        open.any(|file| pipe_number(&file).is_some_and(|number| pipes.contains(&number)))
            && std::fs::read_link(format!("/proc/{process}/exe")).ok() != ours
    };
    let me = rustix::process::getpid().as_raw_pid();
    let holding = processes().into_iter().flatten().filter(|process| *process != me && holds(*process));
    let outside = |process: &RawPid| stat(*process).is_some_and(|(_, theirs)| theirs != group.as_raw_pid());
    holding.filter(outside).filter_map(Pid::from_raw).collect()
}

/// The state and the process group of a process.
fn stat(process: RawPid) -> Option<(String, RawPid)> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The fields after the name in parentheses: state, parent, group.
    let mut fields = stat.rsplit(')').next()?.split_whitespace();
    Some((fields.next()?.to_owned(), fields.nth(1)?.parse().ok()?))
}

/// The inode number in `pipe:[123]`.
fn pipe_number(file: &Path) -> Option<u64> {
    file.to_str()?.strip_prefix("pipe:[")?.strip_suffix(']')?.parse().ok()
}

/// The processes of this machine, if the system has `/proc`.
fn processes() -> Option<impl Iterator<Item = RawPid>> {
    let entries = std::fs::read_dir("/proc").ok().filter(|_| Path::new("/proc/self/stat").exists())?;
    Some(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()))
}
