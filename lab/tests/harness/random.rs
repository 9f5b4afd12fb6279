//! Reproducible cases for the fuzz tests, whose number and seed can be set in the environment.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// A random generator that returns the same values for the same seed.
pub struct Random(fastrand::Rng);

impl Random {
    fn new(seed: u64) -> Random {
        Random(fastrand::Rng::with_seed(seed))
    }

    pub fn next(&mut self, below: usize) -> usize {
        self.0.usize(..below.max(1))
    }

    pub fn pick<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.next(list.len())]
    }
}

/// Returns the number of cases and their generator, which is always the same unless FUZZ_SEED is set.
pub fn cases(what: &str, count: u64) -> (u64, Random) {
    let (seed, count) = (setting("FUZZ_SEED", 4), setting("FUZZ_COUNT", count));
    println!("{what}: FUZZ_SEED={seed} FUZZ_COUNT={count}");
    (count, Random::new(seed))
}

/// Reads a number from the environment.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Sends bytes and reads until the other side closes; `None` if it neither answers nor closes within 10 s.
pub fn exchange(addr: impl ToSocketAddrs, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // The other side may close before it has read everything.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
        _ => Some(answer),
    }
}
