//! Waiting for something to become true: poll until it is, until it can no longer be, or until the deadline.

use std::time::{Duration, Instant};

use crate::proc;
use domain::failure::{Code, Failure};

/// The pause between two looks is a tenth of the time waited so far, so that the end is never noticed much too late and
/// a program with minutes of work ahead is not asked all the time; within these bounds.
const FASTEST: Duration = Duration::from_millis(100);
const SLOWEST: Duration = Duration::from_secs(3);

/// What one look saw.
pub enum Look<T> {
    /// It is so.
    Done(T),
    /// Not yet: what is being waited for, in words. A change of words resets the pace.
    Waiting(String),
}

/// Looks again and again until `look` is done, and says through `say` what is being waited for whenever that changes.
///
/// # Errors
/// What `look` fails with; [`Code::Timeout`] with the last words when `limit` passes; [`Code::Interrupted`], which says that
/// only the wait has ended.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut say: impl FnMut(&str),
    mut look: impl FnMut() -> anyhow::Result<Look<T>>,
) -> anyhow::Result<T> {
    let begun = Instant::now();
    let mut last = String::new();
    loop {
        let words = match look().map_err(|error| given_up(error, what))? {
            Look::Done(value) => return Ok(value),
            Look::Waiting(words) => words,
        };
        if words != last {
            say(&words);
            last = words;
        }
        let pause = (begun.elapsed() / 10).clamp(FASTEST, SLOWEST);
        if begun.elapsed() + pause > limit {
            return Err(Failure::new(Code::Timeout, format!("{what}: not there after {} s", limit.as_secs()))
                .cause(format!("still {last}"))
                .hint("nothing has failed so far: look again, or wait longer with --timeout")
                .into());
        }
        sleep(pause, what).map_err(|failure| given_up(failure.into(), what))?;
    }
}

/// An interruption ends the wait, and nothing of what is waited for.
fn given_up(error: anyhow::Error, what: &str) -> anyhow::Error {
    let failure = Failure::of(&error);
    if failure.code != Code::Interrupted {
        return error;
    }
    let failure = Failure { message: format!("stopped waiting for {what}"), ..failure };
    failure.hint("what was begun goes on without this task; run the same command again to wait for it").into()
}

/// Sleeps, and wakes early when the operator interrupts.
///
/// # Errors
/// [`Code::Interrupted`].
pub fn sleep(duration: Duration, doing: &str) -> Result<(), Failure> {
    let end = Instant::now() + duration;
    loop {
        if proc::interrupted() {
            return Err(proc::interruption(doing));
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(Duration::from_millis(25)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interruption_ends_the_wait_alone() {
        let look = || -> anyhow::Result<Look<()>> { Err(Failure::new(Code::Interrupted, "interrupted").into()) };
        let error = until("cluster `c`", Duration::from_secs(10), |_| {}, look).unwrap_err();
        let failure = Failure::of(&error);
        assert_eq!((failure.code, failure.message.as_str()), (Code::Interrupted, "stopped waiting for cluster `c`"));
        assert!(!failure.hint.contains("half written"), "{failure}");
    }

    #[test]
    fn it_says_each_change_once_and_returns_the_value() {
        let mut looks = ["a", "a", "b"].into_iter();
        let mut said = Vec::new();
        let value = until(
            "x",
            Duration::from_secs(10),
            |words| said.push(words.to_owned()),
            || Ok(looks.next().map_or(Look::Done(7), |words| Look::Waiting(words.to_owned()))),
        );
        assert_eq!(value.unwrap(), 7);
        assert_eq!(said, ["a", "b"]);
    }

    #[test]
    fn it_gives_up_and_says_what_it_waited_for() {
        let look = || Ok(Look::<()>::Waiting("waiting for machine m".to_owned()));
        let error = until("cluster c", Duration::from_millis(250), |_| {}, look).unwrap_err();
        let failure = Failure::of(&error);
        assert_eq!(failure.code, Code::Timeout);
        assert!(failure.cause.contains("machine m"), "{failure}");
    }
}
