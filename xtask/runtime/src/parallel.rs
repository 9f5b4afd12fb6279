//! Runs jobs in parallel. One function without type parameters manages the threads, so that it is compiled only once
//! (docs/benchmarks.md).

use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

/// A job that [`run_all`] runs.
pub type Job<'a, T> = Box<dyn FnOnce() -> T + Send + 'a>;

/// The stack size of the main thread, for which the limits on nesting in files were chosen.
const STACK: usize = 8 << 20;

/// No limit on parallel jobs.
pub const NO_LIMIT: usize = usize::MAX;

/// Runs the jobs, at most `most` at a time, and returns their results in the order of the jobs.
pub fn run_all<T: Send>(jobs: Vec<Job<'_, T>>, most: usize) -> Vec<T> {
    let results: Vec<Mutex<Option<T>>> = jobs.iter().map(|_| Mutex::new(None)).collect();
    let keep = |(job, result)| -> Job<'_, ()> {
        let (job, result): (Job<'_, T>, &Mutex<Option<T>>) = (job, result);
        Box::new(move || *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(job()))
    };
    run_workers(jobs.into_iter().zip(&results).map(keep).collect(), most);
    results.into_iter().filter_map(|result| result.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
}

/// Runs `work` on each item in parallel, at most `most` at a time, and returns the results in the order of the items.
pub fn map_all<I: Send, T: Send>(
    items: impl IntoIterator<Item = I>,
    most: usize,
    work: impl Fn(I) -> T + Sync,
) -> Vec<T> {
    let work = &work;
    run_all(items.into_iter().map(|item| -> Job<'_, T> { Box::new(move || work(item)) }).collect(), most)
}

/// Runs two jobs of different types in parallel.
pub fn run_both<A: Send, B: Send>(one: impl FnOnce() -> A + Send, other: impl FnOnce() -> B + Send) -> (A, B) {
    let (mut first, mut second) = (None, None);
    run_workers(vec![Box::new(|| first = Some(one())), Box::new(|| second = Some(other()))], NO_LIMIT);
    match (first, second) {
        (Some(first), Some(second)) => (first, second),
        _ => unreachable!("every job has run"),
    }
}

/// Runs `work`, and `look` after each `pause` until it is done.
pub fn run_with_ticks<T: Send>(pause: Duration, work: impl FnOnce() -> T + Send, mut look: impl FnMut() + Send) -> T {
    let (ends, end) = mpsc::channel::<()>();
    let looks = move || {
        while end.recv_timeout(pause) == Err(mpsc::RecvTimeoutError::Timeout) {
            look();
        }
    };
    // Dropped even if `work` panics, which ends the other job.
    let work = move || {
        let _ends = ends;
        work()
    };
    run_both(work, looks).0
}

fn run_workers(jobs: Vec<Job<'_, ()>>, most: usize) {
    let workers = jobs.len().min(most);
    let queue = Mutex::new(jobs.into_iter());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let worker = || {
        while let Some(job) = next() {
            job();
        }
    };
    // If a job panics, the scope panics too, and the results of the others are lost. If no thread can be started (`ulimit -u`,
    // a limit on tasks), the threads that run, including this one, do all the work.
    std::thread::scope(|scope| {
        for _ in 1..workers {
            if std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, worker).is_err() {
                break;
            }
        }
        worker();
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn run_both_returns_both_results() {
        let meet = Barrier::new(2);
        let (number, text) = run_both(
            || {
                meet.wait();
                1
            },
            || {
                meet.wait();
                "two".to_owned()
            },
        );
        assert_eq!((number, text.as_str()), (1, "two"));
    }

    #[test]
    fn parallel_results_keep_job_order() {
        let meet = Barrier::new(3);
        let job = |number: usize| {
            // A single thread would wait for the others indefinitely.
            meet.wait();
            number
        };
        assert_eq!(map_all([1, 2, 3], 8, job), [1, 2, 3]);
    }

    #[test]
    fn ticks_end_with_the_work() {
        let looks = AtomicUsize::new(0);
        let work = || {
            while looks.load(Ordering::SeqCst) < 2 {
                std::thread::yield_now();
            }
            7
        };
        let look = || _ = looks.fetch_add(1, Ordering::SeqCst);
        assert_eq!(run_with_ticks(Duration::from_millis(1), work, look), 7);
    }

    #[test]
    fn parallel_jobs_are_limited() {
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let job = |_| {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(std::time::Duration::from_millis(2));
            running.fetch_sub(1, Ordering::SeqCst);
        };
        assert_eq!(map_all(0..20, 3, job).len(), 20);
        assert!(most.load(Ordering::SeqCst) <= 3);
    }
}
