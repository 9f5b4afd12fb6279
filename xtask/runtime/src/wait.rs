//! Waits for a condition: polls until it is true, until it can no longer become true, or until the deadline.

use std::time::{Duration, Instant};

use crate::proc;
use domain::failure::{Code, Failure};

/// Bounds of the pause between two polls, which is a tenth of the time waited so far: a change is noticed early, and long waits
/// poll rarely.
const MIN_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(3);

/// The result of one poll.
pub enum Poll<T> {
    /// The condition is true.
    Done(T),
    /// Not yet, with a description of what is missing. A new description is reported.
    Waiting(String),
}

/// Polls `look` until it is done. Reports what is missing through `say` whenever that changes.
///
/// # Errors
/// The error of `look`; [`Code::Timeout`] with the last description when `limit` passes; [`Code::Interrupted`], with a message
/// that only the wait was stopped.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut say: impl FnMut(&str),
    mut look: impl FnMut() -> anyhow::Result<Poll<T>>,
) -> anyhow::Result<T> {
    let begun = Instant::now();
    let (mut last, mut changed) = (String::new(), begun);
    loop {
        let words = match look().map_err(|error| stopped_waiting(error, what))? {
            Poll::Done(value) => return Ok(value),
            Poll::Waiting(words) => words,
        };
        if words != last {
            say(&words);
            (last, changed) = (words, Instant::now());
        }
        let pause = (begun.elapsed() / 10).clamp(MIN_PAUSE, MAX_PAUSE);
        if begun.elapsed() + pause > limit {
            let still = changed.elapsed().as_secs();
            return Err(Failure::new(
                Code::Timeout,
                format!("timed out after {} s waiting for {what}", limit.as_secs()),
            )
            .cause(format!("still {last} (unchanged for {still} s)"))
            .hint(match still * 2 > limit.as_secs() {
                true => "nothing has changed for most of this time: find the reason before waiting longer".into(),
                false => format!("the last change was {still} s ago: it may only need more time (--timeout)"),
            })
            .into());
        }
        sleep(pause, what).map_err(|failure| stopped_waiting(failure.into(), what))?;
    }
}

/// An interruption stops the wait, not the operation.
fn stopped_waiting(error: anyhow::Error, what: &str) -> anyhow::Error {
    let failure = Failure::of(&error);
    if failure.code != Code::Interrupted {
        return error;
    }
    let failure = Failure { message: format!("stopped waiting for {what}"), ..failure };
    failure.hint("the operation continues without this task; run the same command again to wait for it").into()
}

/// Sleeps, but wakes up early if the operator interrupts.
///
/// # Errors
/// [`Code::Interrupted`].
pub fn sleep(duration: Duration, doing: &str) -> Result<(), Failure> {
    let end = Instant::now() + duration;
    loop {
        if proc::is_interrupted() {
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
    fn interruption_stops_only_the_wait() {
        let look = || -> anyhow::Result<Poll<()>> { Err(Failure::new(Code::Interrupted, "interrupted").into()) };
        let error = until("cluster `c`", Duration::from_secs(10), |_| {}, look).unwrap_err();
        let failure = Failure::of(&error);
        assert_eq!((failure.code, failure.message.as_str()), (Code::Interrupted, "stopped waiting for cluster `c`"));
        assert!(!failure.hint.contains("half written"), "{failure}");
    }

    #[test]
    fn wait_reports_each_change_once() {
        let mut looks = ["a", "a", "b"].into_iter();
        let mut said = Vec::new();
        let value = until(
            "x",
            Duration::from_secs(10),
            |words| said.push(words.to_owned()),
            || Ok(looks.next().map_or(Poll::Done(7), |words| Poll::Waiting(words.to_owned()))),
        );
        assert_eq!(value.unwrap(), 7);
        assert_eq!(said, ["a", "b"]);
    }

    #[test]
    fn wait_times_out_with_the_last_state() {
        let look = || Ok(Poll::<()>::Waiting("waiting for machine m".to_owned()));
        let error = until("cluster c", Duration::from_millis(250), |_| {}, look).unwrap_err();
        let failure = Failure::of(&error);
        assert_eq!(failure.code, Code::Timeout);
        assert!(failure.cause.contains("machine m (unchanged for 0 s)"), "{failure}");
    }

    #[test]
    fn timeout_reports_the_time_of_the_last_change() {
        let hint = |until_when: Duration| {
            let begun = Instant::now();
            let look = || Ok(Poll::<()>::Waiting(format!("{:?}", begun.elapsed().min(until_when))));
            Failure::of(&until("x", Duration::from_secs(3), |_| {}, look).unwrap_err()).hint
        };
        assert!(hint(Duration::ZERO).contains("nothing has changed"));
        assert!(hint(Duration::from_secs(9)).contains("the last change was 0 s ago"));
    }
}
